#!/bin/sh
# Draws a scripted screencast for scripts/bench.sh: a terminal or a dashboard
# with a clock, a blinking cursor, a mouse that wanders and rests and a chart
# that ticks, on which text of 12 to 16 pixels changes at known times.
#
#   scripts/screencast.sh terminal|dashboard KILOBITS OUT.mp4 LABELS.json
#
# Needs ffmpeg with libx264 and drawtext, and the DejaVu fonts.
set -eu
kind=$1 kilobits=$2 out=$3 labels=$4
seconds=300
mono=/usr/share/fonts/truetype/dejavu/DejaVuSansMono.ttf
sans=/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf
font=$sans back=0xf4f6f8 ink=0x222a33
[ "$kind" = terminal ] && font=$mono back=0x14181d ink=0xc8d3dc

text() { # x y size words [when]
    printf ",drawtext=fontfile=%s:fontsize=%s:fontcolor=%s:x=%s:y=%s:text='%s'%s" \
        "$font" "$3" "$ink" "$1" "$2" "$4" "${5:+:enable='$5'}"
}

# The page: rows that stay.
page=""
row=0
for words in \
    "service  payments   healthy   latency 41 ms   version 5.2.1" \
    "service  ledger     healthy   latency 38 ms   version 5.2.0" \
    "service  gateway    healthy   latency 12 ms   version 4.9.7" \
    "service  reports    healthy   latency 77 ms   version 2.3.3" \
    "service  search     healthy   latency 25 ms   version 7.1.0" \
    "backup   nightly    complete  restored in test" \
    "queue    invoices   empty     consumers 4" \
    "queue    mail       empty     consumers 2"; do
    page="$page$(text 60 $((120 + row * 32)) 15 "$words")"
    row=$((row + 1))
done

# What really changes: text and second.
changes="37|12|payments degraded after deploy 5.2.2
98|12|ALERT disk 97 percent on ledger-node-2
161|14|login failed for root from 203.0.113.45
224|16|queue invoices 48211 waiting"
drawn="" events="" indicators="" y=480
while IFS='|' read -r at size words; do
    drawn="$drawn$(text 60 "$y" "$size" "$words" "gte(t,$at)")"
    events="$events${events:+, }{\"start\": $at, \"end\": $seconds, \"agents\": [\"Eye\"], \"category\": \"other\", \"severity\": \"low\", \"title\": \"$words\", \"strings\": [\"$words\"]}"
    indicators="$indicators${indicators:+, }\"$words\""
    y=$((y + 40))
done <<END
$changes
END
printf '{"scenes": [{"start": 0, "end": %s, "events": [%s]}], "indicators": [%s]}\n' \
    "$seconds" "$events" "$indicators" > "$labels"

# What always moves and means nothing.
clock=",drawtext=fontfile=$mono:fontsize=15:fontcolor=$ink:x=1700:y=24:text='%{pts\\:hms}'"
cursor=",drawbox=x=700:y=700:w=9:h=18:c=$ink:t=fill:enable='lt(mod(t,1),0.5)'"
mouse="x='960+700*sin(t/3)*lt(mod(t,20),12)':y='540+380*sin(t/4.1)*lt(mod(t,20),12)'"

ffmpeg -v error -nostdin -y \
    -f lavfi -i "color=$back:s=1920x1080:r=15:d=$seconds" \
    -f lavfi -i "cellauto=s=400x160:r=1:rule=110:random_seed=7:scroll=1" \
    -f lavfi -i "color=white:s=12x18:r=15:d=$seconds" \
    -filter_complex "[0]format=yuv420p$page$drawn$clock$cursor[page];[1]fps=15[chart];[page][chart]overlay=1300:300:shortest=1[charted];[charted][2]overlay=$mouse[out]" \
    -map "[out]" -t "$seconds" -c:v libx264 -preset veryfast -tune zerolatency -profile:v high \
    -g 30 -b:v "${kilobits}k" -maxrate "${kilobits}k" -bufsize "${kilobits}k" -pix_fmt yuv420p "$out"
