#!/usr/bin/env bash
# Draws what viewers see while a stream has no signal: one IDR picture that
# every browser decodes, src/playback/placeholder/placeholder.h264. Needs ffmpeg and a font.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

font=$(fc-match --format '%{file}' 'DejaVu Sans')
text() { printf "drawtext=fontfile=%s:text='%s':fontsize=%s:fontcolor=%s:x=(w-text_w)/2:y=%s" "$font" "$1" "$2" "$3" "$4"; }
ffmpeg -hide_banner -loglevel error -y -f lavfi -i color=c=0x0d1117:size=1280x720 -frames:v 1 \
    -vf "$(text 'Signal lost' 64 0xe6edf3 290),$(text 'waiting for the stream to come back' 30 0x8b949e 390)" \
    -c:v libx264 -profile:v baseline -level 3.1 -pix_fmt yuv420p -preset veryslow -crf 20 \
    -x264-params 'slices=1:annexb=1:aud=0' -bsf:v 'filter_units=remove_types=6' -f h264 placeholder.h264
