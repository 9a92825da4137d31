#!/usr/bin/env bash
# Lets schemathesis call the API of a real server as its description says, and
# as it does not, with the token and on demo data.
#
#   scripts/check-api.sh [SECONDS]     60 unless said
#
# Fails when an answer is not as described, or the server ends. WATCHTOWER names
# the binary; by default the one cargo builds. scripts/setup.sh --tests gets
# schemathesis.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"

say() { printf 'check-api: %s\n' "$*"; }
die() { printf 'check-api: %s\n' "$*" >&2; exit 1; }

seconds=${1:-60}
[[ $seconds =~ ^[1-9][0-9]*$ ]] || die "unknown argument '$seconds'; expected seconds or nothing"
target=${CARGO_TARGET_DIR:-$root/target}
[ -d "$target/tmp/schemathesis" ] || die 'schemathesis is missing: scripts/setup.sh --tests gets it'
if [ -z "${WATCHTOWER:-}" ]; then
  cargo build --locked --quiet
  WATCHTOWER=$target/debug/watchtower
fi

work=$(mktemp -d)
server= sample=
cleanup() {
  for process in $sample $server; do kill -TERM "$process" 2>/dev/null && wait "$process" 2>/dev/null || true; done
  rm -rf "$work"
}
trap cleanup EXIT

# Printable, so that it can stand in a header; it never leaves this machine.
token=$(od -An -N 24 -tx1 /dev/urandom | tr -d ' \n')
printf '[sinks.file]\nkind = "jsonl"\naddress = "%s/out.jsonl"\n' "$work" >"$work/settings.toml"
# A copy: the API changes it.
cp agents.toml "$work/agents.toml"
env -i PATH="$PATH" HOME="$work" NO_COLOR=1 WATCHTOWER_CONSOLE_TOKEN="$token" \
  WATCHTOWER_MODELS="${WATCHTOWER_MODELS:-$root/models}" \
  "$WATCHTOWER" serve --config "$work/agents.toml" --settings "$work/settings.toml" --ready-file "$work/ready" \
  --rtmp 127.0.0.1:0 --http 127.0.0.1:0 --webrtc 127.0.0.1:0 --data "$work/data" --logs "$work/logs" \
  >"$work/output" 2>&1 &
server=$!
alive() { kill -0 "$server" 2>/dev/null || { tail -n 40 "$work/output" >&2; die 'the server ended'; }; }
until [ -f "$work/ready" ]; do alive; sleep 0.1; done
said() { sed -n "s/^$1=//p" "$work/ready"; }
http=$(said http)
"$WATCHTOWER" publish demo/demo.mp4 --to "rtmp://$(said rtmp)/live/demo" --loop >/dev/null 2>&1 &
sample=$!

# Something to list: a finding, its incident and a still.
for _ in $(seq 600); do
  alive
  [ ! -s "$work/logs/findings.jsonl" ] || break
  sleep 0.2
done
[ -s "$work/logs/findings.jsonl" ] || die 'the sample led to no finding'

say "$seconds s of calls"
# The event stream never ends, so no call of it does. One worker: Python 3.11
# miscounts the depth of syntax trees that two threads parse at once.
(
  cd "$work"
  PYTHONPATH=$target/tmp/schemathesis PYTHONDONTWRITEBYTECODE=1 SCHEMATHESIS_HOOKS=$root/scripts/schemathesis_hooks.py \
    python3 -m schemathesis.cli --config-file "$root/scripts/schemathesis.toml" --no-color run "$http/api/openapi.json" \
    --header "Authorization: Bearer $token" --max-time "$seconds" --checks all --mode all \
    --exclude-path /api/events --suppress-health-check all --warnings off \
    --request-timeout 30 --continue-on-failure --workers 1 --report json --report-dir "$work/report" ${CHECK_API_ARGS:-}
) >"$work/told" 2>&1 || { tail -n "${CHECK_API_LINES:-200}" "$work/told" >&2; die 'an answer is not as described'; }
alive
! grep -q panicked "$work/output" || die "the server panicked: $(grep panicked "$work/output" | head -n 3)"
say "$(grep -E 'generated|passed' "$work/told" | tail -n 1 | xargs)"
