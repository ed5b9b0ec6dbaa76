"""Frames between a node's gateway and a function's worker, over a Unix stream socket. Sans-I/O.

A frame is a 32-bit length, an 8-bit type and the content. The gateway listens; the worker connects, says Hello when
its handler is loaded, and then serves one Request at a time. Bodies travel as they are, so that a camera frame is not
JSON on the way.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

VERSION = 1
MAX_FRAME = 64 * 1024 * 1024
"""Bytes of the largest frame that is taken; a longer one means that the peer is not speaking this protocol."""

_PREFIX = struct.Struct("!IB")
_REQUEST = struct.Struct("!QIQQII")
_RESPONSE = struct.Struct("!QHQQI")


class WorkerProtocolError(ValueError):
    """A frame that is too long, of an unknown type or malformed. The connection cannot go on."""


class FrameType(IntEnum):
    """What a frame carries."""

    HELLO = 1
    REQUEST = 2
    RESPONSE = 3
    CONFIGURE = 4
    SHUTDOWN = 5


@dataclass(frozen=True, slots=True)
class Hello:
    """Worker to gateway: the handler is loaded, requests may come."""

    pid: int
    handler: str
    version: int = VERSION


@dataclass(frozen=True, slots=True)
class HttpHead:
    """What a request says beside its body when it came over HTTP."""

    method: str
    path: str
    query: str = ""
    """Without the question mark, as it came."""
    headers: dict[str, str] = field(default_factory=dict)
    """Names in lower case."""
    source: str = ""
    """The client's address."""


@dataclass(frozen=True, slots=True)
class Request:
    """Gateway to worker: execute this."""

    id: int
    """The gateway's own number, echoed in the response."""
    client_id: int
    request_id: int
    parent_id: int
    """The request that caused this one, 0 for none."""
    deadline_ms: int
    """Milliseconds left when the frame was written."""
    body: bytes
    http: HttpHead | None = None
    """None when the request came over the invocation protocol."""


@dataclass(frozen=True, slots=True)
class Response:
    """Worker to gateway: the answer to one request."""

    id: int
    status: int
    """An HTTP status; 500 for an exception of the handler, whose text is then the body."""
    started_ns: int
    """time.monotonic_ns when the handler was called."""
    finished_ns: int
    """time.monotonic_ns when the handler had returned."""
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Configure:
    """Gateway to worker: the component's whole configuration, in force from the next request on."""

    configuration: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Shutdown:
    """Gateway to worker: exit after the request in hand."""


Frame = Hello | Request | Response | Configure | Shutdown


def encode(frame: Frame) -> bytes:
    """The frame as it goes through the socket. Raises WorkerProtocolError when it is longer than MAX_FRAME."""
    match frame:
        case Request():
            head = b"" if frame.http is None else _dump(_http_fields(frame.http))
            fixed = _REQUEST.pack(
                frame.id, frame.client_id, frame.request_id, frame.parent_id, frame.deadline_ms, len(head)
            )
            return _frame(FrameType.REQUEST, fixed, head, frame.body)
        case Response():
            head = _dump(frame.headers) if frame.headers else b""
            fixed = _RESPONSE.pack(frame.id, frame.status, frame.started_ns, frame.finished_ns, len(head))
            return _frame(FrameType.RESPONSE, fixed, head, frame.body)
        case Hello():
            return _frame(
                FrameType.HELLO, _dump({"pid": frame.pid, "handler": frame.handler, "version": frame.version})
            )
        case Configure():
            return _frame(FrameType.CONFIGURE, _dump(frame.configuration))
        case Shutdown():
            return _frame(FrameType.SHUTDOWN)


class Decoder:
    """Turns the bytes of a stream into frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes | bytearray | memoryview) -> list[Frame]:
        """Take what the socket gave; the frames that are complete now. Raises WorkerProtocolError."""
        buffer = self._buffer
        buffer += data
        frames: list[Frame] = []
        start = 0
        while len(buffer) - start >= _PREFIX.size:
            length, kind = _PREFIX.unpack_from(buffer, start)
            if length > MAX_FRAME:
                raise WorkerProtocolError(f"frame of {length} bytes, expected at most {MAX_FRAME}")
            end = start + _PREFIX.size + length
            if len(buffer) < end:
                break
            frames.append(_decode(kind, bytes(memoryview(buffer)[start + _PREFIX.size : end])))
            start = end
        del buffer[:start]
        return frames


def _frame(kind: FrameType, *parts: bytes) -> bytes:
    length = sum(map(len, parts))
    if length > MAX_FRAME:
        raise WorkerProtocolError(f"{kind.name.lower()} of {length} bytes, expected at most {MAX_FRAME}")
    return b"".join((_PREFIX.pack(length, kind), *parts))


def _http_fields(http: HttpHead) -> list[object]:
    return [http.method, http.path, http.query, http.headers, http.source]


def _dump(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _decode(kind: int, content: bytes) -> Frame:
    try:
        match kind:
            case FrameType.REQUEST:
                number, client_id, request_id, parent_id, deadline_ms, length = _REQUEST.unpack_from(content)
                head, body = _split(content, _REQUEST.size, length)
                http = HttpHead(*json.loads(head)) if head else None
                return Request(number, client_id, request_id, parent_id, deadline_ms, body, http)
            case FrameType.RESPONSE:
                number, status, started_ns, finished_ns, length = _RESPONSE.unpack_from(content)
                head, body = _split(content, _RESPONSE.size, length)
                return Response(number, status, started_ns, finished_ns, body, json.loads(head) if head else {})
            case FrameType.HELLO:
                fields = json.loads(content)
                if fields["version"] != VERSION:
                    raise WorkerProtocolError(f"worker speaks version {fields['version']}, expected {VERSION}")
                return Hello(fields["pid"], fields["handler"], fields["version"])
            case FrameType.CONFIGURE:
                configuration = json.loads(content)
                if not isinstance(configuration, dict):
                    raise WorkerProtocolError("configuration is not a JSON object")
                return Configure(configuration)
            case FrameType.SHUTDOWN:
                return Shutdown()
    except (struct.error, KeyError, TypeError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise WorkerProtocolError(f"malformed {FrameType(kind).name.lower()} frame: {error}") from None
    raise WorkerProtocolError(f"frame of unknown type {kind}")


def _split(content: bytes, start: int, length: int) -> tuple[bytes, bytes]:
    end = start + length
    if end > len(content):
        raise WorkerProtocolError(f"frame announces a head of {length} bytes, holds {len(content) - start}")
    return content[start:end], content[end:]
