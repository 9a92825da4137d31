"""An independent WHEP client (aiortc): counts what it decrypts and decodes, and
notes the SHA-256 of each packet of sound.

usage: independent.py URL SECONDS

It leaves when it has seen and heard enough, or after so many seconds.
"""

import array
import asyncio
import hashlib
import json
import sys
import urllib.error
import urllib.request

import av
from aiortc import RTCPeerConnection, RTCRtpReceiver, RTCSessionDescription

payloads = []
handle = RTCRtpReceiver._handle_rtp_packet


async def noting(self, packet, arrival_time_ms):
    if self._track.kind == "audio":
        payloads.append(hashlib.sha256(packet.payload).hexdigest())
    await handle(self, packet, arrival_time_ms)


RTCRtpReceiver._handle_rtp_packet = noting


async def main(url, seconds):
    av.logging.set_level(av.logging.PANIC)
    seen = {"video": 0, "audio": 0, "loudest": 0, "width": 0}
    connection = RTCPeerConnection()
    connection.addTransceiver("video", direction="recvonly")
    connection.addTransceiver("audio", direction="recvonly")

    async def take(track):
        while True:
            frame = await track.recv()
            seen[track.kind] += 1
            if track.kind == "audio":
                seen["loudest"] = max(seen["loudest"], max(array.array("h", bytes(frame.planes[0]))))
            else:
                seen["width"] = frame.width

    takers = []
    connection.on("track", lambda track: takers.append(asyncio.ensure_future(take(track))))
    await connection.setLocalDescription(await connection.createOffer())
    request = urllib.request.Request(
        url,
        data=connection.localDescription.sdp.encode(),
        headers={"content-type": "application/sdp"},
    )
    loop = asyncio.get_event_loop()
    try:
        answer = await loop.run_in_executor(None, urllib.request.urlopen, request)
    except urllib.error.HTTPError as refusal:
        sys.exit(refusal.read().decode())
    sdp = answer.read().decode()
    await connection.setRemoteDescription(RTCSessionDescription(sdp=sdp, type="answer"))
    deadline = loop.time() + seconds
    while loop.time() < deadline:
        if seen["video"] > 90 and seen["audio"] > 120 and seen["loudest"] > 500:
            break
        await asyncio.sleep(0.2)
    await connection.close()
    for taker in takers:
        taker.cancel()
    print(json.dumps({**seen, "payloads": payloads}))


asyncio.run(main(sys.argv[1], float(sys.argv[2])))
