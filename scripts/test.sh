#!/usr/bin/env bash
# Installs what the tests need and runs them.
#
#   scripts/test.sh         all: formatting, lints, types of the page, unit,
#                           property, fuzz corpora, black box, browser, API, soak
#   scripts/test.sh quick   formatting, lints, unit tests, types of the page
set -euo pipefail

quick=false
case "$#:${1:-}" in
  0:) ;;
  1:quick) quick=true ;;
  1:*) printf "test: unknown argument '%s'; expected quick or nothing\n" "$1" >&2; exit 1 ;;
  *) printf 'test: %s arguments (%s); expected quick or nothing\n' "$#" "$*" >&2; exit 1 ;;
esac

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
scripts/setup.sh --tests
command -v cargo >/dev/null || PATH="$HOME/.cargo/bin:$PATH"
# Where rustup cannot get the pinned toolchain, the machine's own will do.
cargo --version >/dev/null 2>&1 || export RUSTUP_TOOLCHAIN=${RUSTUP_TOOLCHAIN:-stable}

# Incremental data is half of what a first build writes: only where there is
# some already, or where a next build follows soon.
target=${CARGO_TARGET_DIR:-$root/target}
$quick || [ -d "$target/debug/incremental" ] || export CARGO_INCREMENTAL=${CARGO_INCREMENTAL:-0}
printf 'test: %s cores, %s of memory, %s of disk free\n' "$(nproc)" \
  "$(free -h | awk '/^Mem:/ {print $2}')" "$(df -h --output=avail . | tail -n 1 | xargs)"

step() { printf "\n== %s (%d s)\n" "$*" "$SECONDS"; }

step 'formatting'
cargo fmt --all --check
if $quick; then
  step 'lints'
  cargo clippy --locked --all-targets -- --deny warnings
  step 'unit tests'
  cargo test --locked --lib
  step 'types of the page'
  scripts/check-page.sh
  exit
fi
step 'shell scripts'
for script in scripts/*.sh demo/*.sh .ci/run; do bash -n "$script"; done
step 'types of the page'
scripts/check-page.sh
step 'lints, and builds of what the tests run'
# As cargo clippy does it, but the wings are compiled at the same time: a check of
# its own would compile every dependency a second time.
export RUSTC_WORKSPACE_WRAPPER=clippy-driver CLIPPY_ARGS=-D__CLIPPY_HACKERY__warnings
cargo test --locked --no-run --all-targets

failed=
step 'tests in the browser'
cargo test --locked --no-fail-fast --test browser || failed=yes
# The tests have built the server already.
export WATCHTOWER=$target/debug/watchtower
step 'the other tests; beside them the API by its description, and a soak, shortened'
# Both wait more than they compute.
beside=$(mktemp)
{
  CHECK_API_ARGS='--seed 1 --phases coverage,fuzzing' scripts/check-api.sh 60 && scripts/soak.sh --short
} >"$beside" 2>&1 &
trap 'rm -f "$beside"' EXIT
others=()
for file in tests/*.rs tests/*/main.rs; do
  name=${file#tests/} name=${name%/main.rs} name=${name%.rs}
  [ "$name" = browser ] || others+=(--test "$name")
done
cargo test --locked --no-fail-fast --lib --bins "${others[@]}" || failed=yes
cargo test --locked --no-fail-fast --doc || failed=yes
step 'the API by its description, and a soak, shortened'
wait "$!" || failed=yes
cat "$beside"
[ -z "$failed" ]
