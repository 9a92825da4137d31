"""Reads a JSON array of CEF lines with an independent parser; custom strings
stand under their labels."""

import json
import sys

import pycef

events = []
for line in json.load(sys.stdin):
    event = pycef.parse(line)
    assert event is not None, line
    for number in range(1, 7):
        if f"cs{number}Label" in event:
            event[event.pop(f"cs{number}Label")] = event.pop(f"cs{number}")
    events.append(event)
print(json.dumps(events))
