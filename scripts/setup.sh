#!/usr/bin/env bash
# Installs what Watchtower needs to build and run on Debian or Ubuntu: apt
# packages (as root, or by sudo) and the OCR model.
#
#   scripts/setup.sh           to build and run
#   scripts/setup.sh --tests   to run the tests too
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

say() { printf 'setup: %s\n' "$*"; }
die() { printf 'setup: %s\n' "$*" >&2; exit 1; }

packages=(
  # to build: FFmpeg's libraries, and clang for their bindings
  gcc libc6-dev make pkg-config clang libclang-dev
  libavcodec-dev libavformat-dev libavutil-dev libavfilter-dev libavdevice-dev libswscale-dev libswresample-dev
  # to run: certificates for Gemini, pip for the OCR model, tmux for the panes
  ca-certificates python3 python3-pip curl tmux
)
tests=
case ${1:-} in
  '') ;;
  --tests)
    tests=yes
    # publishers and viewers of the black-box tests
    packages+=(ffmpeg gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-good
      gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly gstreamer1.0-libav procps
      chromium chromium-driver python3-aiortc
      # receivers of the sinks' and of Web Push's tests
      rsyslog rsyslog-gnutls nats-server openssl)
    ;;
  *) die "unknown argument '$1'; expected --tests or nothing" ;;
esac

# Another Node's npm serves as well as Debian's, which can't stand beside it.
[ -z "$tests" ] || command -v npm >/dev/null || packages+=(nodejs npm)

command -v apt-get >/dev/null || die "only Debian and Ubuntu are supported (no apt-get here); install by hand: ${packages[*]}"

missing=()
for package in "${packages[@]}"; do
  status=$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null || true)
  [ "$status" = installed ] || missing+=("$package")
done
# A pip of another Python serves as well as Debian's.
if python3 -m pip --version >/dev/null 2>&1; then
  kept=()
  for package in "${missing[@]}"; do [ "$package" = python3-pip ] || kept+=("$package"); done
  missing=("${kept[@]}")
fi

if [ ${#missing[@]} -gt 0 ]; then
  as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || die "not root and no sudo; as root: apt-get install ${missing[*]}"
    as_root=(sudo)
  fi
  say "installing ${missing[*]}"
  "${as_root[@]}" apt-get update -qq
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

command -v cargo >/dev/null || [ -x "$HOME/.cargo/bin/cargo" ] || die "Rust is missing: install it with rustup (https://rustup.rs), version 1.94 or newer"

"$root/scripts/fetch-models.sh"
[ -z "$tests" ] || "$root/scripts/fetch-judges.sh"
say "all dependencies installed"
