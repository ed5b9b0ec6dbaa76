"""The server's side of an HTTP/2 connection (RFC 9113), without I/O: bytes in, events out, bytes to send."""

from __future__ import annotations

import struct
from collections import deque
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple

from softswitch.rpc.hpack import Decoder, Header, HpackError

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

MAX_FRAME = 1 << 14
MAX_HEADER_BYTES = 1 << 16
MAX_STREAMS = 1024
STREAM_WINDOW = 1 << 22
CONNECTION_WINDOW = 1 << 24

_DEFAULT_WINDOW = (1 << 16) - 1
_MAX_WINDOW = (1 << 31) - 1
_FRAME = struct.Struct(">IBI")
_NUMBER = struct.Struct(">I")
_SETTING = struct.Struct(">HI")


class _Type(IntEnum):
    DATA = 0
    HEADERS = 1
    PRIORITY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PUSH_PROMISE = 5
    PING = 6
    GOAWAY = 7
    WINDOW_UPDATE = 8
    CONTINUATION = 9


_END_STREAM = _ACK = 0x1
_END_HEADERS = 0x4
_PADDED = 0x8
_PRIORITY = 0x20


class _Setting(IntEnum):
    MAX_CONCURRENT_STREAMS = 3
    INITIAL_WINDOW_SIZE = 4
    MAX_FRAME_SIZE = 5
    MAX_HEADER_LIST_SIZE = 6


class ErrorCode(IntEnum):
    """Section 7."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    FLOW_CONTROL_ERROR = 3
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    ENHANCE_YOUR_CALM = 11


class ConnectionFailed(Exception):
    """The peer broke the protocol; the connection ends with a GOAWAY of this code."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code


class RequestStarted(NamedTuple):
    """A stream was opened; `ended` when nothing but its headers comes."""

    stream: int
    headers: tuple[Header, ...]
    ended: bool


class DataReceived(NamedTuple):
    """A piece of a request's body."""

    stream: int
    data: bytes
    ended: bool


class StreamReset(NamedTuple):
    """The peer gave a stream up; nothing can be sent on it any more."""

    stream: int


Event = RequestStarted | DataReceived | StreamReset


@dataclass(slots=True)
class _Stream:
    window: int
    receiving: bool = True
    paused: bool = False
    taken: int = 0
    waiting: deque[bytes | memoryview] = field(default_factory=deque)
    trailers: bytes | None = None


class ServerConnection:
    """One connection. What `take` returns is to be sent after each call of another method."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._decoder = Decoder()
        self._greeted = False
        self._streams: dict[int, _Stream] = {}
        self._last = 0
        self._window = _DEFAULT_WINDOW
        self._initial_window = _DEFAULT_WINDOW
        self._max_frame = MAX_FRAME
        self._taken = 0
        self._unfinished: tuple[int, bool, bytearray] | None = None
        self._leaving = False
        settings = {
            _Setting.MAX_CONCURRENT_STREAMS: MAX_STREAMS,
            _Setting.INITIAL_WINDOW_SIZE: STREAM_WINDOW,
            _Setting.MAX_HEADER_LIST_SIZE: MAX_HEADER_BYTES,
        }
        body = b"".join(_SETTING.pack(name, value) for name, value in settings.items())
        self._out = [_frame(_Type.SETTINGS, 0, 0, body), _window_update(0, CONNECTION_WINDOW - _DEFAULT_WINDOW)]

    def take(self) -> bytes:
        """What is to be sent now."""
        out = b"".join(self._out)
        self._out.clear()
        return out

    def pause(self, stream: int) -> None:
        """Let the peer send on a stream what its window still holds, but no more."""
        if known := self._streams.get(stream):
            known.paused = True

    def resume(self, stream: int) -> None:
        """Let the peer go on after `pause`."""
        if known := self._streams.get(stream):
            known.paused = False
            self._renew(stream, known)

    def waiting(self, stream: int) -> int:
        """Bytes of a stream that the peer's windows hold back."""
        known = self._streams.get(stream)
        return sum(map(len, known.waiting)) if known else 0

    # Receiving

    def receive(self, data: bytes) -> list[Event]:
        """Take what came. Raises ConnectionFailed."""
        buffer = self._buffer
        buffer += data
        position = 0
        if not self._greeted:
            if not PREFACE.startswith(buffer[: len(PREFACE)]):
                raise ConnectionFailed(ErrorCode.PROTOCOL_ERROR, "this is no HTTP/2 client")
            if len(buffer) < len(PREFACE):
                return []
            self._greeted = True
            position = len(PREFACE)
        events: list[Event] = []
        end = len(buffer)
        while end - position >= _FRAME.size:
            both, flags, stream = _FRAME.unpack_from(buffer, position)
            length = both >> 8
            if length > MAX_FRAME:
                raise ConnectionFailed(ErrorCode.FRAME_SIZE_ERROR, f"a frame of {length} bytes")
            start = position + _FRAME.size
            if end - start < length:
                break
            position = start + length
            event = self._frame(both & 0xFF, flags, stream & _MAX_WINDOW, bytes(buffer[start:position]))
            if event is not None:
                events.append(event)
        del buffer[:position]
        return events

    def _frame(self, kind: int, flags: int, stream: int, body: bytes) -> Event | None:
        if self._unfinished is not None and (kind != _Type.CONTINUATION or stream != self._unfinished[0]):
            raise ConnectionFailed(ErrorCode.PROTOCOL_ERROR, "a header block is not continued")
        match kind:
            case _Type.DATA:
                return self._data(flags, stream, body)
            case _Type.HEADERS:
                return self._headers(flags, stream, body)
            case _Type.CONTINUATION:
                return self._continuation(flags, body)
            case _Type.WINDOW_UPDATE:
                self._widen(stream, _number(body, "WINDOW_UPDATE"))
            case _Type.SETTINGS:
                self._settings(flags, stream, body)
            case _Type.PING:
                _check_of_connection(stream, "PING")
                if len(body) != 8:
                    raise ConnectionFailed(ErrorCode.FRAME_SIZE_ERROR, "a malformed PING")
                if not flags & _ACK:
                    self._out.append(_frame(_Type.PING, _ACK, 0, body))
            case _Type.RST_STREAM:
                _number(body, "RST_STREAM")
                if not 0 < stream <= self._last:
                    raise ConnectionFailed(ErrorCode.PROTOCOL_ERROR, f"RST_STREAM of stream {stream}")
                if self._streams.pop(stream, None):
                    return StreamReset(stream)
            case _Type.PUSH_PROMISE:
                raise ConnectionFailed(ErrorCode.PROTOCOL_ERROR, "a client pushes")
            case _:
                pass  # GOAWAY, PRIORITY and extensions ask for nothing
        return None

    def _headers(self, flags: int, stream: int, body: bytes) -> Event | None:
        body = _unpadded(flags, body)
        if flags & _PRIORITY:
            if len(body) < 5:
                raise ConnectionFailed(ErrorCode.FRAME_SIZE_ERROR, "a malformed HEADERS")
            body = body[5:]
        ended = bool(flags & _END_STREAM)
        if flags & _END_HEADERS:
            return self._block(stream, ended, body)
        self._unfinished = (stream, ended, bytearray(body))
        return None

    def _continuation(self, flags: int, body: bytes) -> Event | None:
        if self._unfinished is None:
            raise ConnectionFailed(ErrorCode.PROTOCOL_ERROR, "CONTINUATION of nothing")
        stream, ended, block = self._unfinished
        block += body
        if len(block) > MAX_HEADER_BYTES:
            raise ConnectionFailed(ErrorCode.ENHANCE_YOUR_CALM, "a header block without end")
        if not flags & _END_HEADERS:
            return None
        self._unfinished = None
        return self._block(stream, ended, bytes(block))

    def _block(self, stream: int, ended: bool, block: bytes) -> Event | None:
        try:
            headers = self._decoder.decode(block, MAX_HEADER_BYTES)
        except HpackError as error:
            raise ConnectionFailed(ErrorCode.COMPRESSION_ERROR, str(error)) from error
        known = self._streams.get(stream)
        if known is not None and known.receiving and ended:
            known.receiving = False
            return DataReceived(stream, b"", ended=True)  # trailers say nothing that a call needs
        if stream <= self._last and known is None and stream % 2:
            return None  # of a stream that has ended here
        if known is not None or not stream % 2 or stream <= self._last:
            raise ConnectionFailed(ErrorCode.PROTOCOL_ERROR, f"HEADERS of stream {stream}")
        self._last = stream
        if len(self._streams) >= MAX_STREAMS or self._leaving:
            self._out.append(_frame(_Type.RST_STREAM, 0, stream, _NUMBER.pack(ErrorCode.REFUSED_STREAM)))
            return None
        self._streams[stream] = _Stream(self._initial_window, receiving=not ended)
        return RequestStarted(stream, headers, ended)

    def _data(self, flags: int, stream: int, body: bytes) -> Event | None:
        if not 0 < stream <= self._last or not stream % 2:
            raise ConnectionFailed(ErrorCode.PROTOCOL_ERROR, f"DATA of stream {stream}")
        self._taken += len(body)
        if self._taken > CONNECTION_WINDOW // 2:
            self._out.append(_window_update(0, self._taken))
            self._taken = 0
        known = self._streams.get(stream)
        if known is None:
            return None  # it has ended here; what is on its way counts for the connection only
        if not known.receiving:
            raise ConnectionFailed(ErrorCode.STREAM_CLOSED, f"DATA after the end of stream {stream}")
        known.taken += len(body)
        if known.taken > STREAM_WINDOW:
            raise ConnectionFailed(ErrorCode.FLOW_CONTROL_ERROR, f"DATA beyond the window of stream {stream}")
        ended = bool(flags & _END_STREAM)
        if ended:
            known.receiving = False
        self._renew(stream, known)
        return DataReceived(stream, _unpadded(flags, body), ended)

    def _renew(self, stream: int, known: _Stream) -> None:
        if known.receiving and not known.paused and known.taken > STREAM_WINDOW // 2:
            self._out.append(_window_update(stream, known.taken))
            known.taken = 0

    def _settings(self, flags: int, stream: int, body: bytes) -> None:
        _check_of_connection(stream, "SETTINGS")
        if len(body) % _SETTING.size or (flags & _ACK and body):
            raise ConnectionFailed(ErrorCode.FRAME_SIZE_ERROR, "malformed SETTINGS")
        if flags & _ACK:
            return
        for name, value in _SETTING.iter_unpack(body):
            if name == _Setting.INITIAL_WINDOW_SIZE:
                if value > _MAX_WINDOW:
                    raise ConnectionFailed(ErrorCode.FLOW_CONTROL_ERROR, f"a window of {value} bytes")
                for number, known in self._streams.items():
                    known.window += value - self._initial_window
                    _check_window(known.window, f"the window of stream {number}")
                self._initial_window = value
            elif name == _Setting.MAX_FRAME_SIZE:
                if not MAX_FRAME <= value < 1 << 24:
                    raise ConnectionFailed(ErrorCode.PROTOCOL_ERROR, f"frames of {value} bytes")
                self._max_frame = value
        self._out.append(_frame(_Type.SETTINGS, _ACK, 0, b""))
        self._pump_all()

    def _widen(self, stream: int, by: int) -> None:
        by &= _MAX_WINDOW
        if not by or stream > self._last:
            raise ConnectionFailed(ErrorCode.PROTOCOL_ERROR, f"WINDOW_UPDATE of stream {stream} by {by}")
        if not stream:
            self._window += by
            _check_window(self._window, "the connection's window")
            self._pump_all()
        elif known := self._streams.get(stream):
            known.window += by
            _check_window(known.window, f"the window of stream {stream}")
            self._pump(stream, known)

    # Sending

    def send_headers(self, stream: int, block: bytes) -> None:
        """Begin a response. Streams that have ended take no notice of this and of what follows."""
        if stream in self._streams:
            self._put_headers(stream, 0, block)

    def send_data(self, stream: int, data: bytes) -> None:
        """Send a piece of a response, as far as the peer's windows let through; the rest waits for them."""
        if known := self._streams.get(stream):
            known.waiting.append(memoryview(data) if len(data) > self._max_frame else data)
            self._pump(stream, known)

    def end(self, stream: int, trailers: bytes) -> None:
        """End a response once all its data have been sent; the stream takes no more requests."""
        if known := self._streams.get(stream):
            known.trailers = trailers
            self._pump(stream, known)

    def go_away(self, code: ErrorCode = ErrorCode.NO_ERROR, message: str = "") -> None:
        """Take no more streams."""
        self._leaving = True
        self._out.append(_frame(_Type.GOAWAY, 0, 0, _NUMBER.pack(self._last) + _NUMBER.pack(code) + message.encode()))

    def _pump_all(self) -> None:
        for stream, known in list(self._streams.items()):
            if known.waiting or known.trailers is not None:
                self._pump(stream, known)

    def _pump(self, stream: int, known: _Stream) -> None:
        waiting = known.waiting
        while waiting:
            data = waiting[0]
            room = min(self._window, known.window, self._max_frame)
            if room <= 0 and data:
                return
            piece = data if len(data) <= room else data[:room]
            self._out.append(_frame(_Type.DATA, 0, stream, piece))
            self._window -= len(piece)
            known.window -= len(piece)
            if piece is data:
                waiting.popleft()
            else:
                waiting[0] = data[room:]
        if known.trailers is None:
            return
        self._put_headers(stream, _END_STREAM, known.trailers)
        del self._streams[stream]
        if known.receiving:
            self._out.append(_frame(_Type.RST_STREAM, 0, stream, _NUMBER.pack(ErrorCode.NO_ERROR)))

    def _put_headers(self, stream: int, flags: int, block: bytes) -> None:
        kind = _Type.HEADERS
        while len(block) > self._max_frame:
            self._out.append(_frame(kind, flags, stream, block[: self._max_frame]))
            kind, flags, block = _Type.CONTINUATION, 0, block[self._max_frame :]
        self._out.append(_frame(kind, flags | _END_HEADERS, stream, block))


def _frame(kind: _Type, flags: int, stream: int, body: bytes | memoryview) -> bytes:
    return _FRAME.pack(len(body) << 8 | kind, flags, stream) + body


def _window_update(stream: int, by: int) -> bytes:
    return _frame(_Type.WINDOW_UPDATE, 0, stream, _NUMBER.pack(by))


def _number(body: bytes, what: str) -> int:
    if len(body) != _NUMBER.size:
        raise ConnectionFailed(ErrorCode.FRAME_SIZE_ERROR, f"a malformed {what}")
    return int(_NUMBER.unpack(body)[0])


def _check_of_connection(stream: int, what: str) -> None:
    if stream:
        raise ConnectionFailed(ErrorCode.PROTOCOL_ERROR, f"{what} of stream {stream}")


def _check_window(octets: int, what: str) -> None:
    if octets > _MAX_WINDOW:
        raise ConnectionFailed(ErrorCode.FLOW_CONTROL_ERROR, f"{what} overflows")


def _unpadded(flags: int, body: bytes) -> bytes:
    if not flags & _PADDED:
        return body
    if not body or body[0] >= len(body):
        raise ConnectionFailed(ErrorCode.PROTOCOL_ERROR, "more padding than frame")
    return body[1 : len(body) - body[0]]
