"""The frames of `worker_frames` as bytes of a stream. Sans-I/O.

A frame is a 32-bit length, an 8-bit type and the content. Bodies travel as they are, so that a camera frame is not JSON
on the way, and heads as lines, since they are on the path of each request. Request and Response are coded with as few
steps as there can be, as each request of a node passes here four times.
"""

from __future__ import annotations

import functools
import json
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import IntEnum
from itertools import chain
from types import MappingProxyType
from typing import Any

from hitless.wire.worker_frames import (
    JOINTS,
    MAX_FRAME,
    NO_LINES,
    SET_COOKIE,
    VERSION,
    Body,
    Cancel,
    Configure,
    End,
    Frame,
    Hello,
    HttpHead,
    Invoked,
    Lines,
    Ready,
    Request,
    Response,
    ResponseBody,
    ResponseEnd,
    ResponseHead,
    Shutdown,
    WorkerProtocolError,
    Workers,
)

_PREFIX = struct.Struct("!IB")
_PREFIX_SIZE = _PREFIX.size
_REQUEST = struct.Struct("!QIQQQBI")
_RESPONSE = struct.Struct("!QHQQI")
_RESPONSE_HEAD = struct.Struct("!QHQ")
_BODY = struct.Struct("!Q?")
_END = struct.Struct("!QQ")
_ID = struct.Struct("!Q")
_COUNT = struct.Struct("!I")
_WHOLE_REQUEST = struct.Struct("!IB" + _REQUEST.format[1:])
_WHOLE_RESPONSE = struct.Struct("!IB" + _RESPONSE.format[1:])
_REQUEST_SIZE, _RESPONSE_SIZE = _REQUEST.size, _RESPONSE.size
STREAMED, INVOKED = 1, 2
"""What a request's body is, if it is not simply whole: to follow in frames of its own, or an event as it is."""
_SHORT = 1024
"""Bytes of an answer's head up to which what it says is kept for the next one like it."""


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
        if not buffer:
            stream = bytes(data)
            frames, used = _frames(stream)
            if used != len(stream):
                buffer += stream[used:]
            return frames
        buffer += data
        if len(buffer) < _PREFIX_SIZE:
            return []
        length = _length(buffer)
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
        length, kind = _PREFIX.unpack_from(stream, start)
        content = start + _PREFIX_SIZE
        end = content + length
        if size < end:
            if length > MAX_FRAME:
                _length(stream[start:])
            break
        frames.append(_decode(kind, stream[content:end]))
        start = end
    return frames, start


def _length(stream: bytes | bytearray) -> int:
    length: int = _PREFIX.unpack_from(stream)[0]
    if length > MAX_FRAME:
        raise WorkerProtocolError(f"frame of {length} bytes, expected at most {MAX_FRAME}")
    return length


def _frame(kind: int, fixed: bytes, head: bytes = b"", body: bytes = b"") -> bytes:
    length = len(fixed) + len(head) + len(body)
    _bound(kind, length)
    return b"".join((_PREFIX.pack(length, kind), fixed, head, body))


def _bound(kind: int, length: int) -> None:
    if length > MAX_FRAME:
        raise WorkerProtocolError(f"{FrameType(kind).name.lower()} of {length} bytes, expected at most {MAX_FRAME}")


def _lines(texts: list[str]) -> bytes:
    head = "\n".join(texts)
    if head.count("\n") >= max(len(texts), 1):
        raise WorkerProtocolError("a line feed in a head")
    # Some servers keep octets that are not UTF-8 as surrogates.
    return head.encode("utf-8", "surrogateescape")


def _fields(headers: Lines) -> bytes:
    """An answer's fields. Each cookie is one of its own."""
    if not headers:
        return b""
    if SET_COOKIE not in headers:
        return _lines(list(chain.from_iterable(headers.items())))
    lines: list[str] = []
    for name, value in headers.items():
        for one in value.split("\n") if name == SET_COOKIE else (value,):
            lines += (name, one)
    return _lines(lines)


def _encode_request(frame: Request) -> bytes:
    number, client_id, request_id, parent_id, deadline_ns, body, http, invoked = frame
    head = b""
    kind = STREAMED if body is None else 0
    if invoked is not None:
        head, kind = _lines(list(invoked)), INVOKED
    elif http is not None:
        method, path, query, headers, source, repeated = http
        fields = chain.from_iterable(headers.items() if not repeated else _each(headers, repeated))
        head = _lines([method, path, query, source, *fields])
    content = head + body if body else head
    length = _REQUEST_SIZE + len(content)
    if length > MAX_FRAME:
        _bound(FrameType.REQUEST, length)
    fixed = _WHOLE_REQUEST.pack(length, 2, number, client_id, request_id, parent_id, deadline_ns, kind, len(head))
    return fixed + content


def _encode_response(frame: Response) -> bytes:
    number, status, started_ns, finished_ns, body, headers = frame
    head = _fields(headers)
    length = _RESPONSE_SIZE + len(head) + len(body)
    if length > MAX_FRAME:
        _bound(FrameType.RESPONSE, length)
    return b"".join((_WHOLE_RESPONSE.pack(length, 3, number, status, started_ns, finished_ns, len(head)), head, body))


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
        _fields(frame.headers),
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
    number, client_id, request_id, parent_id, deadline_ns, kind, length = _REQUEST.unpack_from(content)
    head_end = _head_end(content, _REQUEST_SIZE, length)
    http = invoked = None
    if kind == INVOKED:
        invoked = Invoked(*content[_REQUEST_SIZE:head_end].decode("utf-8", "surrogateescape").split("\n"))
    elif length:
        head = content[_REQUEST_SIZE:head_end].decode("utf-8", "surrogateescape")
        method, path, query, source, *fields = head.split("\n")
        headers = _headers(fields)
        http = HttpHead(method, path, query, headers, source)
        if 2 * len(headers) < len(fields):
            repeated = _repeated(fields)
            joined = {name: JOINTS.get(name, ",").join(values) for name, values in repeated.items()}
            http = http._replace(headers=headers | joined, repeated=repeated)
    body = None if kind == STREAMED else content[head_end:]
    return Request(number, client_id, request_id, parent_id, deadline_ns, body, http, invoked)


def _decode_response(content: bytes) -> Response:
    number, status, started_ns, finished_ns, length = _RESPONSE.unpack_from(content)
    head_end = _head_end(content, _RESPONSE_SIZE, length)
    headers = _headers_of(content[_RESPONSE_SIZE:head_end])
    return Response(number, status, started_ns, finished_ns, content[head_end:], headers)


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


def _head_end(content: bytes, start: int, length: int) -> int:
    end = start + length
    if end > len(content):
        raise WorkerProtocolError(f"frame announces a head of {length} bytes, holds {len(content) - start}")
    return end


def _headers_of(head: bytes) -> Lines:
    """An answer's fields: most functions say the same ones each time."""
    return _known_headers(head) if len(head) <= _SHORT else _known_headers.__wrapped__(head)


@functools.lru_cache(maxsize=256)
def _known_headers(head: bytes) -> Lines:
    if not head:
        return NO_LINES
    fields = head.decode("utf-8", "surrogateescape").split("\n")
    headers = _headers(fields)
    if 2 * len(headers) < len(fields):
        for name, values in _repeated(fields).items():
            headers[name] = ("\n" if name == SET_COOKIE else ", ").join(values)
    return MappingProxyType(headers)


def _each(headers: Lines, repeated: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, str]]:
    """The fields of a request as they stood, those of one name together."""
    for name, value in headers.items():
        for one in repeated.get(name, (value,)):
            yield name, one


def _repeated(fields: list[str]) -> dict[str, list[str]]:
    """The values of names that stand several times among these."""
    values: dict[str, list[str]] = {}
    for name, value in zip(fields[::2], fields[1::2], strict=True):
        values.setdefault(name, []).append(value)
    return {name: several for name, several in values.items() if len(several) > 1}


def _headers(fields: list[str]) -> dict[str, str]:
    if len(fields) % 2:
        raise WorkerProtocolError("a header field without a value")
    return dict(zip(fields[::2], fields[1::2], strict=True))
