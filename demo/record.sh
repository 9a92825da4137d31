#!/usr/bin/env bash
# Makes demo.mp4 again from the pages and labels.json beside this file.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
clip="$here/demo.mp4"
limit=4000000

fail() { echo "record.sh: $*" >&2; exit 1; }

chromium=$(command -v chromium || command -v chromium-browser || command -v google-chrome) \
  || fail "chromium is missing (Debian: apt-get install chromium)"
for tool in ffmpeg ffprobe python3; do
  command -v "$tool" >/dev/null || fail "$tool is missing (Debian: apt-get install ffmpeg python3)"
done

read -r seconds fps < <(python3 -c '
import json, sys
labels = json.load(open(sys.argv[1]))
print(labels["duration_s"], labels["fps"])' "$here/labels.json")

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

# A soft pad: four low notes, each swelling at its own pace.
pad='0.05*(sin(2*PI*110*t)*(0.7+0.3*sin(2*PI*t/13))+0.8*sin(2*PI*164.81*t)*(0.6+0.4*sin(2*PI*t/9.75))'
left="$pad+0.5*sin(2*PI*220*t)*(0.5+0.5*sin(2*PI*t/6.5)))"
right="$pad+0.5*sin(2*PI*277.18*t)*(0.5+0.5*sin(2*PI*t/7.8)))"

echo "Recording $seconds s at $fps frames a second (about a minute)"
python3 "$here/record.py" "$chromium" "$tmp/profile" |
  ffmpeg -hide_banner -loglevel error -y \
    -f image2pipe -c:v png -framerate "$fps" -i - \
    -f lavfi -i "aevalsrc='$left|$right':s=48000:d=$seconds" \
    -vf "scale=out_color_matrix=bt709:out_range=tv,format=yuv420p" \
    -c:v libx264 -preset veryslow -tune stillimage -crf 32 -profile:v high -level 4.1 -bf 0 \
    -g $((2 * fps)) -keyint_min $((2 * fps)) -sc_threshold 0 \
    -color_primaries bt709 -color_trc bt709 -colorspace bt709 -color_range tv \
    -c:a aac -b:a 40k -ar 48000 -ac 2 \
    -t "$seconds" -map_metadata -1 -movflags +faststart "$tmp/demo.mp4"

size=$(stat -c %s "$tmp/demo.mp4")
[ "$size" -le "$limit" ] || fail "the clip is $size bytes, over the $limit it may be"
mv "$tmp/demo.mp4" "$clip"
echo "Wrote $clip ($size bytes)"
ffprobe -v error -show_entries stream=codec_name,profile,width,height,r_frame_rate,sample_rate -show_entries format=duration -of compact "$clip"
