"""An independent WHIP publisher (aiortc): six bars of known colours, compared
with the newest still of the stream.

usage: independent.py SERVER STREAM KEY SECONDS

It leaves when the still shows the bars, or after so many seconds.
"""

import asyncio
import io
import json
import sys
import urllib.error
import urllib.request

import av
from aiortc import RTCPeerConnection, RTCRtpSender, RTCSessionDescription, VideoStreamTrack

WIDTH, HEIGHT = 960, 540
BARS = [(200, 30, 30), (30, 160, 60), (40, 60, 200), (220, 200, 40), (190, 60, 190), (120, 120, 120)]


def drawn():
    row = b"".join(bytes(colour) * (WIDTH // len(BARS)) for colour in BARS)
    picture = av.VideoFrame(WIDTH, HEIGHT, "rgb24")
    plane = picture.planes[0]
    padding = bytes(plane.line_size - len(row))
    plane.update((row + padding) * HEIGHT)
    return picture.reformat(format="yuv420p")


class Bars(VideoStreamTrack):
    def __init__(self):
        super().__init__()
        self.picture = drawn()

    async def recv(self):
        self.picture.pts, self.picture.time_base = await self.next_timestamp()
        return self.picture


def difference(jpeg):
    """Largest mean difference of a bar's channels from what was drawn."""
    with av.open(io.BytesIO(jpeg), format="mjpeg") as container:
        picture = next(container.decode(video=0)).reformat(format="rgb24")
    plane = picture.planes[0]
    pixels, stride = bytes(plane), plane.line_size
    width, worst = picture.width // len(BARS), 0.0
    for nth, colour in enumerate(BARS):
        for channel in range(3):
            total, count = 0, 0
            for y in range(picture.height // 4, picture.height * 3 // 4, 8):
                for x in range(nth * width + 8, (nth + 1) * width - 8, 4):
                    total += pixels[y * stride + x * 3 + channel]
                    count += 1
            worst = max(worst, abs(total / count - colour[channel]))
    return {"worst": worst, "width": picture.width, "height": picture.height}


async def main(server, stream, key, seconds):
    av.logging.set_level(av.logging.PANIC)
    connection = RTCPeerConnection()
    transceiver = connection.addTransceiver(Bars(), direction="sendonly")
    codecs = RTCRtpSender.getCapabilities("video").codecs
    transceiver.setCodecPreferences([codec for codec in codecs if codec.mimeType == "video/H264"])
    await connection.setLocalDescription(await connection.createOffer())
    loop = asyncio.get_event_loop()

    def request(path, **options):
        request = urllib.request.Request(server + path, **options)
        return urllib.request.urlopen(request, timeout=20)

    headers = {"content-type": "application/sdp", "authorization": f"Bearer {key}"}
    offer = connection.localDescription.sdp.encode()
    try:
        answer = await loop.run_in_executor(None, lambda: request(f"/whip/{stream}", data=offer, headers=headers))
    except urllib.error.HTTPError as refusal:
        sys.exit(refusal.read().decode())
    location, sdp = answer.headers["location"], answer.read().decode()
    await connection.setRemoteDescription(RTCSessionDescription(sdp=sdp, type="answer"))
    seen, deadline = None, loop.time() + seconds
    while loop.time() < deadline:
        try:
            still = await loop.run_in_executor(None, lambda: request(f"/api/frames/{stream}/latest.jpg").read())
            seen = difference(still)
            if seen["worst"] < 12:
                break
        except urllib.error.HTTPError:
            pass
        await asyncio.sleep(0.5)
    await loop.run_in_executor(None, lambda: request(location, method="DELETE"))
    await connection.close()
    print(json.dumps(seen))


asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], float(sys.argv[4])))
