#!/usr/bin/env bash
# Installs what the tests need and runs them all: formatting, lints, types of
# the page, unit, property, fuzz corpora, black box, browser.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
scripts/setup.sh --tests
command -v cargo >/dev/null || PATH="$HOME/.cargo/bin:$PATH"

# What a rebuild would go faster by is half of what a first build writes: only
# where there is some of it already.
target=${CARGO_TARGET_DIR:-$root/target}
[ -d "$target/debug/incremental" ] || export CARGO_INCREMENTAL=${CARGO_INCREMENTAL:-0}
printf 'test: %s cores, %s of memory, %s of disk free\n' "$(nproc)" \
  "$(free -h | awk '/^Mem:/ {print $2}')" "$(df -h --output=avail . | tail -n 1 | xargs)"

step() { printf '\n== %s\n' "$*"; }

step 'formatting'
cargo fmt --check
step 'lints'
cargo clippy --locked --all-targets -- --deny warnings
step 'shell scripts'
for script in scripts/*.sh demo/*.sh .ci/run; do bash -n "$script"; done
step 'types of the page'
scripts/check-page.sh
step 'tests'
cargo test --locked --no-fail-fast
# The tests have built the server already.
export WATCHTOWER=$target/debug/watchtower
step 'the API by its description'
CHECK_API_ARGS='--seed 1 --phases coverage,fuzzing' scripts/check-api.sh 60
step 'soak, shortened'
scripts/soak.sh --short
