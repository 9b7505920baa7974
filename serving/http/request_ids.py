"""The name of a request: in its answer, its line of the log, its problem, and the caller's logs."""

import random
import re
from collections.abc import Iterable
from contextvars import ContextVar

HEADER = b"x-request-id"
# W3C Trace Context: version, trace, parent, flags. The trace names all that a click of a user does.
_TRACE = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
_SOUND = re.compile(rb"[\w.:/+=-]{1,128}", re.ASCII)  # what may stand in a log

request_id: ContextVar[str] = ContextVar("request_id", default="")


def name_request(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """The caller's X-Request-ID, else the trace of its `traceparent`, else a new one."""
    said = dict(headers)
    name, parent = said.get(HEADER, b""), _TRACE.fullmatch(said.get(b"traceparent", b""))
    if _SOUND.fullmatch(name):
        found = name.decode()
    else:
        found = parent[1].decode() if parent else f"{random.getrandbits(128):032x}"
    request_id.set(found)
    return found
