#!/usr/bin/env bash
# Installs what the tests need and runs them all: formatting, lints, types of
# the page, unit, property, fuzz corpora, black box, browser.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
scripts/setup.sh --tests
command -v cargo >/dev/null || PATH="$HOME/.cargo/bin:$PATH"

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
export WATCHTOWER=${CARGO_TARGET_DIR:-$root/target}/debug/watchtower
step 'soak, shortened'
scripts/soak.sh --short
