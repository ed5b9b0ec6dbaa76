"""Frames between a node's gateway and a function's processes, over a Unix stream socket. Sans-I/O.

A frame is a 32-bit length, an 8-bit type and the content. The gateway listens. A function's supervisor connects as such
and is told how many workers are wanted; each worker connects by itself, says Hello when its handler is loaded and Ready
when it is warm, and then serves one request at a time. Bodies travel as they are, so that a camera frame is not JSON on
the way, and heads as lines, since they are on the path of each request.

A request whose body is streamed is followed by Body frames. An answer is one Response, or a ResponseHead,
ResponseBody frames and a ResponseEnd.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping
from enum import IntEnum
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

VERSION = 2
MAX_FRAME = 64 * 1024 * 1024
"""Bytes of the largest frame that is taken; a longer one means that the peer is not speaking this protocol."""
WHOLE = 16 * 1024 * 1024
"""Bytes of the longest body of an answer that goes in one frame; a longer one goes in parts."""
PART = 256 * 1024
"""Bytes of such a part."""

Role = Literal["worker", "supervisor"]
Lines = Mapping[str, str]
"""Header fields. Neither a name nor a value has a line feed in it."""
NO_LINES: Lines = MappingProxyType({})

_PREFIX = struct.Struct("!IB")
_PREFIX_SIZE = _PREFIX.size
_REQUEST = struct.Struct("!QIQQI?I")
_RESPONSE = struct.Struct("!QHQQI")
_RESPONSE_HEAD = struct.Struct("!QHQ")
_BODY = struct.Struct("!Q?")
_END = struct.Struct("!QQ")
_ID = struct.Struct("!Q")
_COUNT = struct.Struct("!I")


class WorkerProtocolError(ValueError):
    """A frame that is too long, of an unknown type or malformed. The connection cannot go on."""


class FrameType(IntEnum):
    """What a frame carries."""

    HELLO = 1
    REQUEST = 2
    RESPONSE = 3
    CONFIGURE = 4
    SHUTDOWN = 5
    READY = 6
    BODY = 7
    RESPONSE_HEAD = 8
    RESPONSE_BODY = 9
    RESPONSE_END = 10
    CANCEL = 11
    WORKERS = 12
    END = 13


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
    """Names in lower case."""
    source: str = ""
    """The client's address."""


class Request(NamedTuple):
    """Gateway to worker: execute this."""

    id: int
    """The gateway's own number, echoed in the answer."""
    client_id: int
    request_id: int
    parent_id: int
    """The request that caused this one, 0 for none."""
    deadline_ms: int
    """Milliseconds left when the frame was written."""
    body: bytes | None
    """None when it follows in Body frames."""
    http: HttpHead | None = None
    """None when the request came over the invocation protocol."""


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


def encode(frame: Frame) -> bytes:
    """The frame as it goes through the socket.

    Raises WorkerProtocolError when it is longer than MAX_FRAME, or a text that travels as a line has a line feed in it.
    """
    return _ENCODERS[type(frame)](frame)


class Decoder:
    """Turns the bytes of a stream into frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes | bytearray | memoryview) -> list[Frame]:
        """Take what the socket gave; the frames that are complete now. Raises WorkerProtocolError."""
        buffer = self._buffer
        stream = bytes(data) if not buffer else b""
        if stream:
            frames, used = _frames(stream)
            if used != len(stream):
                buffer += stream[used:]
            return frames
        buffer += data
        if len(buffer) < _PREFIX_SIZE:
            return []
        length = _length(buffer, 0)
        if len(buffer) < _PREFIX_SIZE + length:
            # Looked at only when the first frame is complete, so that a long one is not copied again and again.
            return []
        frames, used = _frames(bytes(buffer))
        del buffer[:used]
        return frames


def _frames(stream: bytes) -> tuple[list[Frame], int]:
    """The complete frames at the beginning of a stream, and how many bytes they take."""
    frames: list[Frame] = []
    start, size = 0, len(stream)
    while size - start >= _PREFIX_SIZE:
        end = start + _PREFIX_SIZE + _length(stream, start)
        if size < end:
            break
        frames.append(_decode(stream[start + 4], stream[start + _PREFIX_SIZE : end]))
        start = end
    return frames, start


def _length(stream: bytes | bytearray, start: int) -> int:
    length: int = _PREFIX.unpack_from(stream, start)[0]
    if length > MAX_FRAME:
        raise WorkerProtocolError(f"frame of {length} bytes, expected at most {MAX_FRAME}")
    return length


def _frame(kind: int, fixed: bytes, head: bytes = b"", body: bytes = b"") -> bytes:
    length = len(fixed) + len(head) + len(body)
    if length > MAX_FRAME:
        raise WorkerProtocolError(f"{FrameType(kind).name.lower()} of {length} bytes, expected at most {MAX_FRAME}")
    return b"".join((_PREFIX.pack(length, kind), fixed, head, body))


def _lines(texts: list[str]) -> bytes:
    head = "\n".join(texts)
    if head.count("\n") >= max(len(texts), 1):
        raise WorkerProtocolError("a line feed in a head")
    # Some servers keep octets that are not UTF-8 as surrogates.
    return head.encode("utf-8", "surrogateescape")


def _fields(headers: Lines) -> list[str]:
    texts: list[str] = []
    for field in headers.items():
        texts += field
    return texts


def _encode_request(frame: Request) -> bytes:
    number, client_id, request_id, parent_id, deadline_ms, body, http = frame
    head = b"" if http is None else _lines([http.method, http.path, http.query, http.source, *_fields(http.headers)])
    streamed = body is None
    fixed = _REQUEST.pack(number, client_id, request_id, parent_id, deadline_ms, streamed, len(head))
    return _frame(2, fixed, head, body or b"")


def _encode_response(frame: Response) -> bytes:
    number, status, started_ns, finished_ns, body, headers = frame
    head = _lines(_fields(headers))
    return _frame(3, _RESPONSE.pack(number, status, started_ns, finished_ns, len(head)), head, body)


_ENCODERS: dict[type, Callable[[Any], bytes]] = {
    Request: _encode_request,
    Response: _encode_response,
    Hello: lambda frame: _frame(FrameType.HELLO, json.dumps(frame._asdict()).encode()),
    Ready: lambda frame: _frame(FrameType.READY, b""),
    Body: lambda frame: _frame(FrameType.BODY, _BODY.pack(frame.id, frame.last), frame.data),
    Cancel: lambda frame: _frame(FrameType.CANCEL, _ID.pack(frame.id)),
    ResponseHead: lambda frame: _frame(
        FrameType.RESPONSE_HEAD,
        _RESPONSE_HEAD.pack(frame.id, frame.status, frame.started_ns),
        _lines(_fields(frame.headers)),
    ),
    ResponseBody: lambda frame: _frame(FrameType.RESPONSE_BODY, _ID.pack(frame.id), frame.data),
    ResponseEnd: lambda frame: _frame(
        FrameType.RESPONSE_END, _END.pack(frame.id, frame.finished_ns), frame.failure.encode("utf-8", "replace")
    ),
    Configure: lambda frame: _frame(FrameType.CONFIGURE, json.dumps(frame.configuration).encode()),
    Workers: lambda frame: _frame(FrameType.WORKERS, _COUNT.pack(frame.wanted)),
    End: lambda frame: _frame(FrameType.END, _COUNT.pack(frame.pid)),
    Shutdown: lambda frame: _frame(FrameType.SHUTDOWN, b""),
}


def _decode(kind: int, content: bytes) -> Frame:
    decoder = _DECODERS.get(kind)
    if decoder is None:
        raise WorkerProtocolError(f"frame of unknown type {kind}")
    try:
        return decoder(content)
    except WorkerProtocolError:
        raise
    except (struct.error, KeyError, TypeError, ValueError) as error:
        raise WorkerProtocolError(f"malformed {FrameType(kind).name.lower()} frame: {error}") from None


def _decode_request(content: bytes) -> Request:
    number, client_id, request_id, parent_id, deadline_ms, streamed, length = _REQUEST.unpack_from(content)
    head, body = _split(content, _REQUEST.size, length)
    http = None
    if head:
        method, path, query, source, *fields = head.decode("utf-8", "surrogateescape").split("\n")
        http = HttpHead(method, path, query, _headers(fields), source)
    return Request(number, client_id, request_id, parent_id, deadline_ms, None if streamed else body, http)


def _decode_response(content: bytes) -> Response:
    number, status, started_ns, finished_ns, length = _RESPONSE.unpack_from(content)
    head, body = _split(content, _RESPONSE.size, length)
    return Response(number, status, started_ns, finished_ns, body, _headers_of(head))


def _decode_response_head(content: bytes) -> ResponseHead:
    number, status, started_ns = _RESPONSE_HEAD.unpack_from(content)
    return ResponseHead(number, status, started_ns, _headers_of(content[_RESPONSE_HEAD.size :]))


def _decode_response_end(content: bytes) -> ResponseEnd:
    number, finished_ns = _END.unpack_from(content)
    return ResponseEnd(number, finished_ns, content[_END.size :].decode())


def _decode_response_body(content: bytes) -> ResponseBody:
    (number,) = _ID.unpack_from(content)
    return ResponseBody(number, content[_ID.size :])


def _decode_body(content: bytes) -> Body:
    number, last = _BODY.unpack_from(content)
    return Body(number, last, content[_BODY.size :])


def _decode_hello(content: bytes) -> Hello:
    fields = json.loads(content)
    if fields["version"] != VERSION:
        raise WorkerProtocolError(f"worker speaks version {fields['version']}, expected {VERSION}")
    hello = Hello(**fields)
    if not (isinstance(hello.pid, int) and isinstance(hello.launch, int) and hello.role in ("worker", "supervisor")):
        raise WorkerProtocolError("malformed hello frame: expected a pid, a launch and a role")
    return hello


def _decode_configure(content: bytes) -> Configure:
    configuration = json.loads(content)
    if not isinstance(configuration, dict):
        raise WorkerProtocolError("configuration is not a JSON object")
    return Configure(configuration)


_DECODERS: dict[int, Callable[[bytes], Frame]] = {
    FrameType.REQUEST: _decode_request,
    FrameType.RESPONSE: _decode_response,
    FrameType.HELLO: _decode_hello,
    FrameType.READY: lambda content: Ready(),
    FrameType.BODY: _decode_body,
    FrameType.CANCEL: lambda content: Cancel(*_ID.unpack(content)),
    FrameType.RESPONSE_HEAD: _decode_response_head,
    FrameType.RESPONSE_BODY: _decode_response_body,
    FrameType.RESPONSE_END: _decode_response_end,
    FrameType.CONFIGURE: _decode_configure,
    FrameType.WORKERS: lambda content: Workers(*_COUNT.unpack(content)),
    FrameType.END: lambda content: End(*_COUNT.unpack(content)),
    FrameType.SHUTDOWN: lambda content: Shutdown(),
}


def _split(content: bytes, start: int, length: int) -> tuple[bytes, bytes]:
    end = start + length
    if end > len(content):
        raise WorkerProtocolError(f"frame announces a head of {length} bytes, holds {len(content) - start}")
    return content[start:end], content[end:]


def _headers_of(head: bytes) -> Lines:
    return _headers(head.decode("utf-8", "surrogateescape").split("\n")) if head else {}


def _headers(fields: list[str]) -> dict[str, str]:
    if len(fields) % 2:
        raise WorkerProtocolError("a header field without a value")
    lines = iter(fields)
    return dict(zip(lines, lines, strict=True))
