#!/usr/bin/env bash
# Installs what is missing, builds, and starts Watchtower.
#
#   scripts/start.sh           waits for Zoom or OBS
#   scripts/start.sh --demo    streams the sample in demo/ into itself
#
# In a terminal with tmux the server and one pane per analyst open
# (scripts/panes.sh); else everything goes to the standard output. Ctrl-C ends it.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"

say() { printf 'start: %s\n' "$*"; }
die() { printf 'start: %s\n' "$*" >&2; exit 1; }

demo=false
case ${1:-} in
  '') ;;
  --demo) demo=true ;;
  *) die "unknown argument '$1'; expected --demo or nothing" ;;
esac

# NAME DEFAULT: what the server itself would read, from environment or .env.
setting() {
  local value=${!1:-}
  if [ -z "$value" ] && [ -r .env ]; then
    value=$(sed -n "s/^[[:space:]]*\(export[[:space:]]\+\)\?$1=//p" .env | tail -n 1 | tr -d "\"'\r" | sed 's/[[:space:]]*$//')
  fi
  printf '%s' "${value:-$2}"
}

scripts/setup.sh
command -v cargo >/dev/null || PATH="$HOME/.cargo/bin:$PATH"
# Where rustup cannot get the pinned toolchain, the machine's own will do.
cargo --version >/dev/null 2>&1 || export RUSTUP_TOOLCHAIN=${RUSTUP_TOOLCHAIN:-stable}
say "building (minutes the first time)"
# Half the time of a release; the OCR and the media path are optimised alike.
cargo build --profile start --locked
watchtower="${CARGO_TARGET_DIR:-$root/target}/start/watchtower"

new_key=
if $demo; then
  # The sample comes from this machine, so nobody else needs to get in.
  WATCHTOWER_RTMP=$(setting WATCHTOWER_RTMP 127.0.0.1:1935)
  export WATCHTOWER_RTMP
elif [ -z "$(setting WATCHTOWER_STREAM_KEY '')" ]; then
  new_key=$(od -An -N 24 -tx1 /dev/urandom | tr -d ' \n')
  # Never readable by others, not even for a moment.
  (umask 077; touch .env)
  chmod 600 .env
  sed -i '/^[[:space:]]*WATCHTOWER_STREAM_KEY=[[:space:]]*$/d' .env
  [ -z "$(tail -c 1 .env)" ] || echo >>.env
  printf 'WATCHTOWER_STREAM_KEY=%s\n' "$new_key" >>.env
fi

rtmp=$(setting WATCHTOWER_RTMP 0.0.0.0:1935)
logs=$(setting WATCHTOWER_LOGS logs)
port=${rtmp##*:}
local_rtmp=127.0.0.1:$port
case $rtmp in 0.0.0.0:* | '[::]':*) ;; *) local_rtmp=$rtmp ;; esac

if [ -n "$new_key" ]; then
  addresses=$(hostname -I 2>/dev/null | tr ' ' '\n' | grep . | paste -sd ' ' || true)
  cat <<TEXT

A stream key was made and written to .env (mode 0600). It is shown only now.

  Zoom, "Live Streaming" -> "Custom Live Streaming Service":
    Stream URL   rtmp://HOST:$port/live/team
    Stream key   $new_key
    Page URL     any https address; Zoom insists on one
  OBS, Settings -> Stream -> Service "Custom...":
    Server       rtmp://HOST:$port/live/team
    Stream key   $new_key

HOST is this machine. Zoom pushes from its cloud, so there it must be a public
address, a forwarded port or a TCP tunnel; OBS in the same network may use
one of: ${addresses:-127.0.0.1}

TEXT
  if [ -t 0 ] && [ -t 1 ]; then
    read -r -p "Press Enter when you have copied it. " _
  fi
fi

publish=("$watchtower" publish demo/demo.mp4 --to "rtmp://$local_rtmp/live/demo" --loop)

if [ -t 0 ] && [ -t 1 ] && command -v tmux >/dev/null; then
  if $demo; then
    exec scripts/panes.sh "$watchtower" "${publish[@]}"
  fi
  exec scripts/panes.sh "$watchtower"
fi

# The server writes here what it is: whoever else holds a port can't. Nothing is
# asked of the network, and the token is shown to nobody.
told=$(mktemp -d)
trap 'rm -rf "$told"' EXIT
export WATCHTOWER_READY_FILE=$told/ready

is_ready() { # ALIVE...: waits for the server that was started, while the command holds
  for _ in $(seq 300); do
    [ ! -f "$WATCHTOWER_READY_FILE" ] || return 0
    "$@" || return 1
    sleep 0.1
  done
  return 1
}

said() { # NAME: what it wrote, a value a line
  sed -n "s/^$1=//p" "$WATCHTOWER_READY_FILE"
}

# Process groups of their own: Ctrl-C reaches this script alone, which passes it
# on once (the server takes a second signal as "at once").
set -m
"$watchtower" serve &
server=$!
sample=
stopping=false
stop() {
  stopping=true
  [ -z "$sample" ] || kill -TERM "$sample" 2>/dev/null || true
  kill -TERM "$server" 2>/dev/null || true
}
trap stop INT TERM
if $demo && is_ready kill -0 "$server" 2>/dev/null; then
  say "streaming demo/demo.mp4; findings show below and in $logs/, the picture at $(said http)/"
  "${publish[@]}" &
  sample=$!
fi
code=0
wait "$server" || code=$?
if $stopping; then
  # The signal only interrupted the wait.
  code=0
  wait "$server" || code=$?
fi
if [ -n "$sample" ]; then
  kill -TERM "$sample" 2>/dev/null || true
  wait "$sample" 2>/dev/null || true
fi
exit "$code"
