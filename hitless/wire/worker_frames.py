"""What a node's gateway and a function's processes say to one another; `worker_codec` has it as bytes. Pure.

The gateway listens. A function's supervisor connects as such and is told how many workers are wanted; each worker
connects by itself, says Hello when its handler is loaded and Ready when it is warm, and then serves one request at a
time. One that leaves shuts down the half of its connection that it reads from: a request that cannot be written any
more has not begun, and waits for another worker.

A request whose body is streamed is followed by Body frames. An answer is one Response, or a ResponseHead,
ResponseBody frames and a ResponseEnd.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

VERSION = 5
MAX_FRAME = 64 * 1024 * 1024
"""Bytes of the largest frame that is taken; a longer one means that the peer is not speaking this protocol."""
WHOLE = 16 * 1024 * 1024
"""Bytes of the longest body of an answer that goes in one frame; a longer one goes in parts."""
PART = 256 * 1024
"""Bytes of such a part."""

Role = Literal["worker", "supervisor"]
Lines = Mapping[str, str]
"""Header fields. Neither a name nor a value has a line feed in it, but for the value of `set-cookie` in an answer:
there one stands between two cookies, since commas cannot part them (RFC 6265, 3)."""
NO_LINES: Lines = MappingProxyType({})
SET_COOKIE = "set-cookie"
JOINTS = {"cookie": "; "}
"""What joins the values of a request's field that stood several times, where that is no comma (RFC 9113, 8.2.3)."""


class WorkerProtocolError(ValueError):
    """A frame that is too long, of an unknown type or malformed. The connection cannot go on."""


class Hello(NamedTuple):
    """First frame of each connection. A worker's says that the handler is loaded."""

    pid: int
    handler: str
    launch: int = 0
    """Which start of the component's script the process belongs to; 0 where nobody numbers them."""
    role: Role = "worker"
    version: int = VERSION


class Ready(NamedTuple):
    """Worker to gateway: it is warm, requests may come."""


class HttpHead(NamedTuple):
    """What a request says beside its body when it came over HTTP. No text in it has a line feed."""

    method: str
    path: str
    query: str = ""
    """Without the question mark, as it came."""
    headers: Lines = NO_LINES
    """Names in lower case; of a field that stood several times, the values joined by commas (cookies by semicolons)."""
    source: str = ""
    """The client's address."""
    repeated: Mapping[str, Sequence[str]] = MappingProxyType({})
    """The fields that stood several times, each value by itself."""


class Invoked(NamedTuple):
    """Of a request by Lambda's Invoke API: its body is the event, and the handler's result goes back as it is."""

    request_id: str
    """The same each time that an event is executed."""
    client_context: str = ""
    """JSON without line feeds; empty for none."""
    version: str = ""
    """The only version of the function that may execute it; empty for any."""
    trace: str = ""
    """The caller's `X-Amzn-Trace-Id`; empty for none."""


class Request(NamedTuple):
    """Gateway to worker: execute this."""

    id: int
    """The gateway's own number, echoed in the answer."""
    client_id: int
    request_id: int
    parent_id: int
    """The request that caused this one, 0 for none."""
    deadline_ns: int
    """time.monotonic_ns when nobody waits for the answer any more."""
    body: bytes | None
    """None when it follows in Body frames."""
    http: HttpHead | None = None
    """None when the request came over the invocation protocol, or is an event as it is."""
    invoked: Invoked | None = None
    """Set by the gateway for an event as it is, and by nothing that a client may send unsealed."""


class Body(NamedTuple):
    """Gateway to worker: the next part of a streamed request body."""

    id: int
    last: bool
    data: bytes


class Cancel(NamedTuple):
    """Gateway to worker: nobody waits for the answer any more. The worker stops between two parts."""

    id: int


class Response(NamedTuple):
    """Worker to gateway: the whole answer to one request."""

    id: int
    status: int
    """An HTTP status; 500 for an exception of the handler, whose text is then the body."""
    started_ns: int
    """time.monotonic_ns when the handler was called."""
    finished_ns: int
    """time.monotonic_ns when the handler had returned."""
    body: bytes
    headers: Lines = NO_LINES


class ResponseHead(NamedTuple):
    """Worker to gateway: the beginning of an answer that comes in parts."""

    id: int
    status: int
    started_ns: int
    headers: Lines = NO_LINES


class ResponseBody(NamedTuple):
    """Worker to gateway: the next part."""

    id: int
    data: bytes


class ResponseEnd(NamedTuple):
    """Worker to gateway: no more parts."""

    id: int
    finished_ns: int
    failure: str = ""
    """Why the answer is not complete; empty if it is."""


class Configure(NamedTuple):
    """Gateway to worker: the component's whole configuration, in force from the next request on."""

    configuration: dict[str, Any]


class Workers(NamedTuple):
    """Gateway to supervisor: keep so many workers."""

    wanted: int


class End(NamedTuple):
    """Gateway to supervisor: kill this worker, it is stuck in a request."""

    pid: int


class Shutdown(NamedTuple):
    """Gateway to worker: exit after the request in hand. To a supervisor: let the workers do so, then exit."""


Frame = (
    Hello
    | Ready
    | Request
    | Body
    | Cancel
    | Response
    | ResponseHead
    | ResponseBody
    | ResponseEnd
    | Configure
    | Workers
    | End
    | Shutdown
)
