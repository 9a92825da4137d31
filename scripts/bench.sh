#!/usr/bin/env bash
# Measurements for docs/performance.md: CPU seconds and memory of a real server
# with real publishers, and component benchmarks.
#
#   scripts/bench.sh            everything
#   scripts/bench.sh ingest     one 1080p30 stream, five agents
#   scripts/bench.sh many       fifty publishers at 500 kb/s
#   scripts/bench.sh fanout     WebRTC viewers per core, joins, latency, memory
#   scripts/bench.sh link       viewers on slow links, alone and together with fast ones
#   scripts/bench.sh transcode  cost of transcoding a stream
#   scripts/bench.sh reading [PICTURE...]
#                               reading a new 1080p screen, compared with ONNX Runtime alone
#   scripts/bench.sh rules [PICTURE...]
#                               layout and offline analysts on 1080p screens
#   scripts/bench.sh seeing     scripted screencasts: findings, and data sent to models
#   scripts/bench.sh console    event streams to 200 listeners, first load, 10,000 incidents, Live
#   scripts/bench.sh sinks      a spool that drains to a file and to rsyslog
#   scripts/bench.sh streams N  the sample looped on N streams (6): change to finding, CPU
#   scripts/bench.sh record     a database at its size limit, plus a day's work
#   scripts/bench.sh parts      criterion: chunk reader, decoding, stills, OCR
#
# CPU is the server's own, as reported by the kernel, in per cent of one core.
# Machines differ: compare ratios within one run.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
which=${1:-all}
seconds=${SECONDS_MEASURED:-40}

die() { printf 'bench: %s\n' "$*" >&2; exit 1; }
case $which in all | ingest | many | fanout | link | transcode | reading | rules | seeing | console | sinks | record | parts | streams) ;; *) die "unknown argument '$which'; expected ingest, many, fanout, link, transcode, reading, rules, seeing, streams, console, sinks, record or parts" ;; esac

work=$(mktemp -d)
started=()
cleanup() {
  for pid in "${started[@]}"; do kill -KILL "$pid" 2>/dev/null || true; done
  wait 2>/dev/null || true
  rm -rf "$work"
}
trap cleanup EXIT

serve() { # AGENTS.TOML
  : >"$work/output"
  env -i PATH="$PATH" HOME="$work" NO_COLOR=1 WATCHTOWER_MODELS="${WATCHTOWER_MODELS:-$root/models}" \
    "$watchtower" serve --config "$1" --settings "$work/none.toml" --rtmp 127.0.0.1:0 --http 127.0.0.1:0 \
    --webrtc 127.0.0.1:0 --data "$work/data" --logs "$work/logs" >"$work/output" 2>&1 &
  server=$!
  started+=("$server")
  for _ in $(seq 100); do
    rtmp=$(sed -n 's/.*RTMP listening on //p' "$work/output")
    http=$(sed -n 's/.*HTTP listening on //p' "$work/output")
    [ -z "$rtmp" ] || [ -z "$http" ] || return 0
    sleep 0.1
  done
  cat "$work/output" >&2
  die 'the server did not start'
}

ticks() { awk '{ print $14 + $15 }' "/proc/$server/stat"; }
ocr() { curl -s "$http/metrics" | awk '/^watchtower_ocr_cpu_seconds_total/ { print $2; found = 1 } END { if (!found) print 0 }'; }

measure() { # TITLE
  local ticks0 ocr0 ticks1 ocr1 rss
  ticks0=$(ticks) ocr0=$(ocr)
  sleep "$seconds"
  ticks1=$(ticks) ocr1=$(ocr)
  rss=$(awk '/^VmRSS:/ { print int($2 / 1024) }' "/proc/$server/status")
  awk -v title="$1" -v t="$((ticks1 - ticks0))" -v hz="$(getconf CLK_TCK)" -v s="$seconds" -v o="$ocr1" -v o0="$ocr0" -v rss="$rss" \
    'BEGIN { cpu = t / hz; ocr = o - o0; printf "%-44s %6.2f %% of a core, OCR apart %6.2f %%, %d MiB\n", title, (cpu - ocr) / s * 100, ocr / s * 100, rss }'
}

spent() { # KIND
  curl -s "$http/metrics" | awk -v kind="kind=\"$1\"" 'index($0, "watchtower_transcode_cpu_seconds_total") == 1 && index($0, kind) { print $2; found = 1 } END { if (!found) print 0 }'
}

clip() { # NAME SIZE RATE BITRATE SECONDS [B-FRAMES]
  ffmpeg -nostdin -hide_banner -loglevel error -y -f lavfi -i "testsrc2=size=$2:rate=$3" -f lavfi -i sine=frequency=440 -t "$5" \
    -c:v libx264 -preset veryfast -bf "${6:-0}" -b:v "$4" -maxrate "$4" -bufsize "$4" -g $(($3 * 2)) -sc_threshold 0 \
    -pix_fmt yuv420p -c:a aac "$work/$1.flv"
}

push() { # CLIP NAME
  ffmpeg -nostdin -hide_banner -loglevel error -re -stream_loop -1 -i "$work/$1.flv" -c copy -f flv "rtmp://$rtmp/live/$2" &
  started+=("$!")
}

stop() {
  for pid in "${started[@]}"; do kill -TERM "$pid" 2>/dev/null || true; done
  wait 2>/dev/null || true
  started=()
}

if [ "$which" != parts ] && [ "$which" != fanout ] && [ "$which" != link ] && [ "$which" != reading ] && [ "$which" != rules ]; then
  cargo build --release --locked --quiet
  watchtower=${CARGO_TARGET_DIR:-$root/target}/release/watchtower
  : >"$work/nobody.toml"
fi

if [ "$which" = all ] || [ "$which" = ingest ]; then
  clip full 1920x1080 30 2500k 20
  for agents in nobody five; do
    case $agents in nobody) config=$work/nobody.toml ;; five) config=agents.toml ;; esac
    serve "$config"
    push full bench
    sleep 10
    measure "1080p30 2.5 Mb/s, $agents looking"
    stop
  done
fi

if [ "$which" = all ] || [ "$which" = many ]; then
  clip small 640x360 30 500k 20
  serve "$work/nobody.toml"
  for n in $(seq 50); do push small "bench-$n"; done
  sleep 15
  live=$(curl -s "$http/metrics" | awk '/^watchtower_streams / { print $2 }')
  measure "50 x 500 kb/s ($live live)"
  stop
fi

if [ "$which" = all ] || [ "$which" = fanout ]; then
  # Each side has a core of its own; 1080p30 at 2.5 Mb/s with audio.
  fanout=$(cargo bench --locked --bench fanout --no-run 2>&1 | sed -n 's/.*(\(.*fanout-[0-9a-f]*\)).*/\1/p')
  [ -x "$fanout" ] || die 'the fan-out benchmark was not built'
  ulimit -n "$(ulimit -Hn)"
  last=$(($(nproc) - 1))
  taskset -c 0 "$fanout" sendto 5
  for viewers in ${VIEWERS:-100 300 600 1000}; do
    taskset -c 0 "$fanout" server 600 >"$work/fanout" 2>&1 &
    server=$!
    started+=("$server")
    for _ in $(seq 600); do
      http=$(sed -n 's/^listening //p' "$work/fanout")
      [ -z "$http" ] || break
      sleep 0.1
    done
    # Skip the first group of pictures.
    sleep 3
    taskset -c "$last" "$fanout" client "$http" "$viewers" "$seconds"
    # Full seconds with all viewers connected.
    awk -v all="$viewers" '$1 == "viewers" && $2 == all { n++; line[n] = $0; cpu[n] = $4; packets[n] = $6; rss = $8 }
      END {
        for (i = 4; i < n; i++) { c += cpu[i]; p += packets[i]; m++ }
        if (m) printf "%s viewers: %.1f %% of a core, %.3f %% each, %.2f us a packet, %.0f packets/s, RSS %.1f MB\n", all, c / m, c / m / all, 1e4 * c / p, p / m, rss
      }' "$work/fanout"
    stop
  done
  "$fanout" latency "${LATENCY_VIEWERS:-100}"
  "$fanout" churn 1000
fi

if [ "$which" = all ] || [ "$which" = link ]; then
  fanout=$(cargo bench --locked --bench fanout --no-run 2>&1 | sed -n 's/.*(\(.*fanout-[0-9a-f]*\)).*/\1/p')
  [ -x "$fanout" ] || die 'the fan-out benchmark was not built'
  ulimit -n "$(ulimit -Hn)"
  for factor in 0.6 1.2 2; do
    "$fanout" link "$factor" 1 0 "$seconds"
    "$fanout" link "$factor" 20 20 "$seconds"
  done
fi

latency() { # QUANTILE of rules' findings, in seconds, from the histogram's buckets
  curl -s "$http/metrics" | awk -v q="$1" '
    /^watchtower_finding_latency_seconds_bucket/ && /provider="offline"/ {
      match($0, /le="[^"]*"/); le[++n] = substr($0, RSTART + 4, RLENGTH - 5); count[n] = $NF
    }
    END {
      if (!n || !count[n]) { print "none"; exit }
      for (i = 1; count[i] < q * count[n]; i++);
      if (le[i] == "+Inf") { printf "over %s s", le[i - 1]; exit }
      low = i > 1 ? le[i - 1] : 0; before = i > 1 ? count[i - 1] : 0
      printf "%.2f s", low + (le[i] - low) * (q * count[n] - before) / (count[i] - before)
    }'
}

if [ "$which" = all ] || [ "$which" = streams ]; then
  for streams in ${2:-1 6}; do
    serve agents.toml
    for n in $(seq "$streams"); do
      # Different start offsets, so that the streams do not change together.
      ffmpeg -nostdin -hide_banner -loglevel error -re -stream_loop -1 -ss "$((n * 11 % 70))" -i demo/demo.mp4 \
        -c copy -f flv "rtmp://$rtmp/live/s$n" &
      started+=("$!")
    done
    # Two loops of the clip.
    seconds=${SECONDS_MEASURED:-156} measure "the sample on $streams streams, five analysts"
    found=$(curl -s "$http/metrics" | awk '/^watchtower_finding_latency_seconds_count/ && /offline/ { print $2 }')
    printf '%s findings; change to finding: median %s, 95 %% within %s\n' "${found:-0}" "$(latency 0.5)" "$(latency 0.95)"
    stop
  done
fi

if [ "$which" = all ] || [ "$which" = transcode ]; then
  fanout=$(cargo bench --locked --bench fanout --no-run 2>&1 | sed -n 's/.*(\(.*fanout-[0-9a-f]*\)).*/\1/p')
  [ -x "$fanout" ] || die 'the fan-out benchmark was not built'
  clip reordered 1920x1080 30 2500k 20 2
  serve "$work/nobody.toml"
  push reordered bench
  sleep 5
  "$fanout" client "${http#*//}" 1 "$((seconds + 10))" >/dev/null &
  started+=("$!")
  sleep 5
  video=$(spent video) audio=$(spent audio)
  measure '1080p30 2.5 Mb/s with B-frames, one viewer'
  printf 'of that: pictures %s, sound %s %% of a core\n' \
    "$(awk -v a="$video" -v b="$(spent video)" -v s="$seconds" 'BEGIN { printf "%.1f", (b - a) / s * 100 }')" \
    "$(awk -v a="$audio" -v b="$(spent audio)" -v s="$seconds" 'BEGIN { printf "%.1f", (b - a) / s * 100 }')"
  stop
fi

if [ "$which" = console ]; then # of all benchmarks below
  cargo bench --locked --bench console
fi

if [ "$which" = all ] || [ "$which" = sinks ]; then
  cargo test --locked --quiet --release --test judges speed -- --ignored --nocapture
fi

if [ "$which" = all ] || [ "$which" = record ]; then
  for megabytes in ${MEGABYTES:-50 400}; do
    WATCHTOWER_RECORD_MEGABYTES=$megabytes cargo test --locked --quiet --release -p watchtower-record --lib a_full_record -- --nocapture
  done
fi

planes() { # NAME FFMPEG'S INPUT...: a 1080p picture as the decoder gives it
  local name=$1
  shift
  ffmpeg -nostdin -v error -y "$@" -frames:v 1 \
    -vf "scale=1920:1080:force_original_aspect_ratio=decrease:flags=bicubic,pad=1920:1080:-1:-1:black,scale=out_range=full:out_color_matrix=bt601,format=yuvj420p" \
    -f rawvideo "$work/screens/$name-1920x1080.yuv"
}

drawn() { # NAME FONT SIZE PAPER INK: the texts of tests/fixtures/alarming in three columns
  local column=0 filter='' font=/usr/share/fonts/truetype/dejavu/$2.ttf
  grep -hv '^$' tests/fixtures/alarming/*.txt >"$work/texts"
  split -n l/3 "$work/texts" "$work/column."
  for text in "$work"/column.??; do
    cut -c "1-$((950 / $3))" "$text" >"$text.txt"
    filter+="${filter:+,}drawtext=fontfile=$font:fontsize=$3:fontcolor=$5:line_spacing=4:expansion=none:x=$((16 + column * 636)):y=12:textfile=$text.txt"
    column=$((column + 1))
  done
  ffmpeg -nostdin -v error -y -f lavfi -i "color=c=$4:size=1920x1080,$filter" -frames:v 1 "$work/drawn.png"
  planes "$1" -i "$work/drawn.png"
  rm "$work"/column.*
}

screens() { # [PICTURE...]: scenes of the sample, drawn pages, and the given ones
  mkdir -p "$work/screens"
  for second in 4 22 40 58; do planes "demo-$second" -ss "$second" -i demo/demo.mp4; done
  drawn terminal DejaVuSansMono 13 0x14181d 0xc8d3dc
  drawn page DejaVuSans 12 0xf4f6f8 0x222a33
  for picture in "$@"; do planes "$(basename "${picture%.*}")" -i "$picture"; done
}

if [ "$which" = all ] || [ "$which" = reading ]; then
  screens "${@:2}"
  # Python interface of ONNX Runtime, used for the comparison only.
  python3 -m venv "$work/peer" || die 'python3 with venv is needed for the comparison: apt-get install python3-venv'
  "$work/peer/bin/pip" install --quiet --disable-pip-version-check "${PEER:-onnxruntime==1.32.0}" numpy
  reading=$(cargo bench --locked --profile "${PROFILE:-start}" -p watchtower-screen --bench reading --no-run 2>&1 | sed -n 's/.*(\(.*reading-[0-9a-f]*\)).*/\1/p')
  [ -x "$reading" ] || die 'the benchmark of reading was not built'
  models=${WATCHTOWER_MODELS:-$root/models}
  printf '%-42s %5s %6s %7s %9s %11s %6s %6s %7s %6s\n' 'CPU seconds' lines ours 'ONNX RT' detector recogniser ratio first 'ONNX RT' ratio
  # Alternate the two, so that both see the machine in the same state.
  for screen in "$work"/screens/*.yuv; do
    "$reading" "$models" "${ROUNDS:-3}" "$screen" \
      | "$work/peer/bin/python" scripts/reading_peer.py "$models" "${ROUNDS:-3}" "$work/screens"
  done
fi

if [ "$which" = all ] || [ "$which" = rules ]; then
  screens "${@:2}"
  rules=$(cargo bench --locked --profile "${PROFILE:-start}" -p watchtower-models --bench rules --no-run 2>&1 | sed -n 's/.*(\(.*rules-[0-9a-f]*\)).*/\1/p')
  [ -x "$rules" ] || die 'the benchmark of rules was not built'
  "$rules" "${WATCHTOWER_MODELS:-$root/models}" "${ROUNDS:-9}" "$work"/screens/*.yuv
fi

if [ "$which" = all ] || [ "$which" = seeing ]; then
  for kind in terminal dashboard; do
    for kilobits in ${KILOBITS:-1500 600 300}; do
      scripts/screencast.sh "$kind" "$kilobits" "$work/cast.mp4" "$work/cast.json"
      {
        printf '[[agent]]\nname = "Eye"\npersonality = "attentive"\nfocus = "changes"\ninterval = "1s"\n'
        sed -n 's/.*"indicators": \(\[.*\]\)}/indicators = \1/p' "$work/cast.json"
      } >"$work/eye.toml"
      printf '\n%s at %s kb/s\n' "$kind" "$kilobits"
      env -i PATH="$PATH" HOME="$work" RUST_LOG=warn WATCHTOWER_MODELS="${WATCHTOWER_MODELS:-$root/models}" \
        bash -c 'time "$0" "$@"' "$watchtower" eval "$work/cast.mp4" --labels "$work/cast.json" --config "$work/eye.toml" --settings "$work/none.toml"
    done
  done
  cargo bench --locked --bench gate
fi

if [ "$which" = all ] || [ "$which" = parts ]; then
  cargo bench --locked
fi
