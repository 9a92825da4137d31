#!/usr/bin/env python3
"""Draws the demo pages frame by frame and writes the frames to stdout as PNGs.

labels.json is the storyboard: which page is up from when to when. Chromium is
driven over its DevTools pipe, so nothing but the standard library is needed.
Each string that labels.json promises is looked for on the page, and a missing
one ends the recording.

usage: record.py CHROMIUM PROFILE_DIR > frames
"""

import base64
import contextlib
import fcntl
import json
import os
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
FLAGS = [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--hide-scrollbars", "--force-color-profile=srgb", "--allow-file-access-from-files",
    "--font-render-hinting=none", "--disable-lcd-text", "--remote-debugging-pipe",
]


class Browser:
    """One page of a headless Chromium, spoken to over file descriptors 3 and 4."""

    def __init__(self, program, profile):
        ours_in, theirs_out = os.pipe()
        theirs_in, ours_out = os.pipe()
        # Out of the way of 3 and 4, which the child's ends are moved to.
        high = [fcntl.fcntl(fd, fcntl.F_DUPFD, 10) for fd in (theirs_in, theirs_out)]

        def place():
            os.dup2(high[0], 3)
            os.dup2(high[1], 4)

        self.process = subprocess.Popen(
            [program, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            pass_fds=(3, 4), preexec_fn=place)
        for fd in (theirs_in, theirs_out, *high):
            os.close(fd)
        self.read = os.fdopen(ours_in, "rb")
        self.write = os.fdopen(ours_out, "wb")
        self.buffer, self.count, self.session = b"", 0, None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]

    def call(self, method, **params):
        self.count += 1
        message = {"id": self.count, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        self.write.write(json.dumps(message).encode() + b"\0")
        self.write.flush()
        while True:
            reply = self.receive()
            if reply.get("id") == self.count:
                if "error" in reply:
                    raise RuntimeError(f"{method}: {reply['error']['message']}")
                return reply["result"]

    def receive(self):
        while b"\0" not in self.buffer:
            chunk = self.read.read1(1 << 20)
            if not chunk:
                raise RuntimeError("chromium went away")
            self.buffer += chunk
        message, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(message)

    def run(self, script):
        reply = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        if "exceptionDetails" in reply:
            raise RuntimeError(f"{script}: {reply['exceptionDetails']['text']}")
        return reply["result"].get("value")

    def open(self, url):
        self.call("Page.navigate", url=url)
        deadline = time.monotonic() + 30
        while self.run(f"document.readyState == 'complete' && location.href == {json.dumps(url)}") is not True:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{url} did not load")
            time.sleep(0.05)

    def shot(self):
        return base64.b64decode(self.call("Page.captureScreenshot", format="png", optimizeForSpeed=True)["data"])

    def close(self):
        self.call("Browser.close")
        self.process.wait(timeout=30)


def promised(scene, now):
    """The strings labels.json says are on the screen at `now`."""
    strings = list(scene["strings"])
    for event in scene["events"]:
        if event["start"] <= now < event["end"]:
            strings += event["strings"]
    return strings


def record(browser, labels):
    fps = labels["fps"]
    browser.call("Emulation.setDeviceMetricsOverride", width=labels["width"], height=labels["height"],
                 deviceScaleFactor=1, mobile=False)
    for scene in labels["scenes"]:
        print(f"{scene['start']:3d} s  {scene['page']}", file=sys.stderr)
        browser.open((HERE / scene["page"]).as_uri())
        key = png = None
        for frame in range(scene["start"] * fps, scene["end"] * fps):
            now = frame / fps
            last, key = key, browser.run(f"demo.seek({now - scene['start']}, {now})")
            if key != last:
                png = browser.shot()
                for text in promised(scene, now):
                    if not browser.run(f"demo.shows({json.dumps(text)})"):
                        sys.exit(f"{scene['page']} does not show {text!r} at {now:.1f} s")
            sys.stdout.buffer.write(png)


def main():
    program, profile = sys.argv[1:]
    labels = json.loads((HERE / "labels.json").read_text())
    with contextlib.closing(Browser(program, profile)) as browser:
        record(browser, labels)


if __name__ == "__main__":
    main()
