#!/usr/bin/env bash
# Long runs: a publisher that reconnects every 5 s, twelve looped streams, ten
# minutes of calls of the API, analysts that repeat themselves, and a server that is killed again and
# again while findings flow.
#
#   scripts/soak.sh           an hour, half an hour, a hundred kills
#   scripts/soak.sh --short   a minute and three kills, for scripts/test.sh; what
#                             is in cargo's tests has been run by them
#   scripts/soak.sh mutants [ARGUMENT...]
#                             hours: cargo-mutants over the decisions (domain,
#                             screen's text and redaction, governor, budget,
#                             packetizer); lists each change of the last commit
#                             that no unit test notices. Arguments go to
#                             cargo-mutants, as --shard 1/20 or -f FILE.
#
# Fails when the server's memory grows, when it ends by itself, or when a log
# holds anything but whole lines. WATCHTOWER names the binary; by default the
# one cargo builds.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"

say() { printf 'soak: %s\n' "$*"; }
die() { printf 'soak: %s\n' "$*" >&2; exit 1; }

mutants() { # cargo-mutants' arguments
  command -v cargo-mutants >/dev/null || cargo install --locked --quiet cargo-mutants
  local tree target=${CARGO_TARGET_DIR:-$root/target} code=0
  # It changes sources in place: in a clone, whose builds are kept.
  tree=$(mktemp -d)
  # shellcheck disable=SC2064
  trap "rm -rf '$tree'" EXIT
  git clone --quiet . "$tree"
  [ $# -gt 0 ] && [[ " $* " == *' -f '* ]] || set -- "$@" \
    -f 'src/domain/**' -f 'src/screen/text/**' -f 'src/screen/redact/**' \
    -f 'src/analysts/governor/**' -f 'src/analysts/budget/**' -f src/transport/packetizer.rs
  CARGO_TARGET_DIR=$target/mutants WATCHTOWER_MODELS=${WATCHTOWER_MODELS:-$root/models} \
    cargo mutants --workspace --dir "$tree" --in-place --output "$target" --minimum-test-timeout 60 \
    "$@" -- --lib || code=$?
  say "$(wc -l <"$target/mutants.out/missed.txt") changes went unnoticed: $target/mutants.out/missed.txt"
  # 2: some were missed, which is what was asked for.
  [ "$code" -eq 2 ] || return "$code"
}

case ${1:-} in
  mutants) shift; mutants "$@"; exit ;;
  '') long=yes reconnects=720 kills=100 ;;
  --short) long='' reconnects=12 kills=3 ;;
  *) die "unknown argument '$1'; expected --short, mutants or nothing" ;;
esac

if [ -z "${WATCHTOWER:-}" ]; then
  cargo build --locked --quiet
  WATCHTOWER=${CARGO_TARGET_DIR:-$root/target}/debug/watchtower
fi

work=$(mktemp -d)
server=
cleanup() {
  [ -z "$server" ] || { kill -KILL "$server" 2>/dev/null && wait "$server" 2>/dev/null; } || true
  rm -rf "$work"
}
trap cleanup EXIT

start() { # starts a server on free ports; sets server, rtmp
  : >"$work/output"
  env -i PATH="$PATH" HOME="$work" WATCHTOWER_MODELS="${WATCHTOWER_MODELS:-$root/models}" NO_COLOR=1 \
    "$WATCHTOWER" serve --config "$1" --settings "$work/none.toml" --rtmp 127.0.0.1:0 --http 127.0.0.1:0 \
    --webrtc 127.0.0.1:0 --data "$work/data" --logs "$work/logs" >"$work/output" 2>&1 &
  server=$!
  for _ in $(seq 100); do
    rtmp=$(sed -n 's/.*RTMP listening on //p' "$work/output")
    [ -z "$rtmp" ] || return 0
    kill -0 "$server" 2>/dev/null || break
    sleep 0.1
  done
  cat "$work/output" >&2
  die 'the server did not start'
}

rss() { awk '/^VmRSS:/ { print $2 }' "/proc/$server/status"; }

push() { # SECONDS of the sample, FROM its start
  # What it says when the server goes away is no news.
  ffmpeg -nostdin -hide_banner -loglevel quiet -re -ss "${2:-0}" -i demo/demo.mp4 -t "$1" -c copy \
    -f flv "rtmp://$rtmp/live/soak" || true
}

say "$reconnects reconnects of 5 s"
: >"$work/nobody.toml"
start "$work/nobody.toml"
warm=0
for round in $(seq "$reconnects"); do
  push 5
  kill -0 "$server" 2>/dev/null || { tail -n 40 "$work/output" >&2; die "the server ended in round $round"; }
  # The first rounds fill windows and allocator pools.
  [ "$round" -ne 4 ] || warm=$(rss)
done
end=$(rss)
say "memory: $warm kB after 4 reconnects, $end kB after $reconnects"
# A leak of one stream's 8 MiB window in any round would exceed this.
[ "$end" -le $((warm + warm / 10 + 16384)) ] || die "memory grew from $warm kB to $end kB"
! grep -q panicked "$work/output" || die "the server panicked: $(grep panicked "$work/output" | head -n 3)"
kill -TERM "$server"
wait "$server" || die "the server exited with $?"
server=

say "$kills kills while findings flow"
lines() { [ ! -e "$work/logs/findings.jsonl" ] || wc -l <"$work/logs/findings.jsonl"; }
for round in $(seq "$kills"); do
  start agents.toml
  before=$(lines)
  # From where the trouble begins, so that every screen is worth a finding.
  push 12 18 &
  pusher=$!
  # A moment after the first finding of the round, each time a different one.
  for _ in $(seq 300); do [ "$(lines)" = "$before" ] || break; sleep 0.1; done
  sleep "$((RANDOM % 3)).$((RANDOM % 10))"
  kill -KILL "$server"
  wait "$server" 2>/dev/null || true
  server=
  wait "$pusher" || true
  [ -s "$work/logs/findings.jsonl" ] || continue
  python3 - "$work/logs/findings.jsonl" <<'PYTHON'
import json, sys
seen = set()
with open(sys.argv[1], "rb") as lines:
    for number, line in enumerate(lines, 1):
        if not line.endswith(b"\n"):
            # Never acknowledged; the next start removes it.
            break
        finding = json.loads(line)
        assert finding["id"] not in seen, f"line {number}: {finding['id']} stands twice"
        seen.add(finding["id"])
PYTHON
done
[ -s "$work/logs/findings.jsonl" ] || die 'no finding was ever written'
say "$(wc -l <"$work/logs/findings.jsonl") findings, no partial lines, no duplicates"

[ -n "$long" ] || exit 0

# A cargo test; its whole output only if it fails, and without backtraces that
# would bury the reason.
quietly() { # WHAT IT MEANS, cargo test's arguments
  local failure=$1
  shift
  RUST_BACKTRACE=0 cargo test --locked --quiet "$@" >"$work/output" 2>&1 ||
    { cut -c1-2000 "$work/output" | tail -n 200 >&2; die "$failure"; }
}

say 'twelve streams of the sample, looped, for ten minutes'
rm -rf "$work/data" "$work/logs"
start agents.toml
http=$(sed -n 's/.*HTTP listening on //p' "$work/output")
pushers=()
for n in $(seq 12); do
  ffmpeg -nostdin -hide_banner -loglevel quiet -re -stream_loop -1 -ss "$((n * 6))" -i demo/demo.mp4 \
    -c copy -f flv "rtmp://$rtmp/live/s$n" &
  pushers+=("$!")
done
# Both seconds and memory are taken once each page has been seen.
sleep 120
warm=$(rss)
sleep 480
end=$(rss)
page=$(curl -s "$http/metrics")
kill "${pushers[@]}" 2>/dev/null || true
wait "${pushers[@]}" 2>/dev/null || true
say "memory: $warm kB after 2 minutes, $end kB after 10"
[ "$end" -le $((warm + warm / 5 + 65536)) ] || die "memory grew from $warm kB to $end kB"
for n in $(seq 12); do
  grep -q "\"stream\":\"s$n\"" "$work/logs/findings.jsonl" || die "nothing was found on stream s$n"
done
# Nine of ten: a whole new page every 8 s on each is more than half of two cores
# read, and then they wait in turn.
awk '/^watchtower_finding_latency_seconds_bucket/ && /offline/ && /le="60.0"/ { within = $NF }
  /^watchtower_finding_latency_seconds_count/ && /offline/ { all = $NF }
  END { print "soak: " within " of " all " findings within 60 s of the change"; exit !(all > 0 && within >= 0.9 * all) }' <<<"$page" ||
  die 'twelve streams are not looked at in time'
! grep -q panicked "$work/output" || die "the server panicked: $(grep panicked "$work/output" | head -n 3)"
kill -TERM "$server"
wait "$server" || die "the server exited with $?"
server=

say 'the API, called for ten minutes as its description says and as it does not'
WATCHTOWER=$WATCHTOWER scripts/check-api.sh 600

say 'five analysts that repeat themselves for half an hour'
WATCHTOWER_SOAK_SECONDS=1800 quietly 'repeats did not become a handful of incidents' --test it incidents

say "$kills kills of a writer: no acknowledged finding lost, no duplicates"
WATCHTOWER_KILLS=$kills quietly 'a kill lost a finding' --test it kill_9

say '10,000 events while sender and receiver of the sinks are killed'
WATCHTOWER_EVENTS=10000 quietly 'the sinks lost something' --test judges kill_9

# Two hundred secrets over all bitrates; the tests have sixty over two.
WATCHTOWER_SECRETS=200 cargo test --locked --test browser redaction -- --nocapture
