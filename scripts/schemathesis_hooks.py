"""Bodies that schemathesis does not know how to write."""

import schemathesis


@schemathesis.serializer("application/sdp", "application/trickle-ice-sdpfrag")
def text(context, value):
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "replace")
