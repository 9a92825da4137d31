"""Reads a JSON array of CEF lines, strictly by the format's own guide; custom
strings stand under their labels. pycef, which knows no escapes in a header,
has to agree about those without."""

import json
import re
import sys

import pycef

HEADER = ["version", "vendor", "product", "product_version", "class", "name", "severity"]


def parse(line):
    assert line.startswith("CEF:") and "\n" not in line and "\r" not in line, line
    parts = re.match(r"CEF:((?:(?:[^|\\]|\\[|\\])*\|){7})(.*)\Z", line)
    assert parts, line
    head = re.findall(r"((?:[^|\\]|\\[|\\])*)\|", parts[1])
    event = {key: re.sub(r"\\(.)", r"\1", text) for key, text in zip(HEADER, head)}
    # A key begins at the start or after a blank; an `=` in a value is escaped.
    pairs = re.findall(r"(?:^|(?<= ))(\w+)=((?:[^=\\]|\\[=\\nr])*?)(?= \w+=|\Z)", parts[2])
    assert " ".join(f"{key}={text}" for key, text in pairs) == parts[2], line
    assert len({key for key, _ in pairs}) == len(pairs), line
    escapes = {"n": "\n", "r": "\r"}
    event |= {key: re.sub(r"\\(.)", lambda m: escapes.get(m[1], m[1]), text) for key, text in pairs}
    return event


events = []
for line in json.load(sys.stdin):
    event = parse(line)
    if "\\" not in line:
        theirs = pycef.parse(line)
        for key in ("src", "cnt", "act", "externalId", "msg"):
            assert theirs[key] == event[key], (key, theirs, event)
        assert (theirs["Name"], theirs["Severity"]) == (event["name"], event["severity"])
        event["pycef"] = True
    for number in range(1, 7):
        if f"cs{number}Label" in event:
            event[event.pop(f"cs{number}Label")] = event.pop(f"cs{number}")
    events.append(event)
print(json.dumps(events))
