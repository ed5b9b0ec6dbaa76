"""AWS's event-stream messages as bytes. Pure.

Format: Amazon event stream encoding ("Event stream encoding" in the Amazon Transcribe and S3 documentation, and
awslabs/aws-c-event-stream), all of it big-endian:

    total length 32, headers' length 32, CRC-32 of these eight bytes
    headers: name's length 8, name, type 8, value
    payload
    CRC-32 of everything before
"""

from __future__ import annotations

import struct
import uuid
import zlib
from collections.abc import Callable, Iterator
from enum import IntEnum
from typing import Final, NamedTuple

PRELUDE: Final = 12
"""Bytes before the headers."""
OVERHEAD: Final = PRELUDE + 4
"""Bytes of a message without headers and payload."""
MAX_HEADERS: Final = 128 * 1024
"""Bytes of all headers of a message; the format's own limit."""

_PRELUDE = struct.Struct(">III")
_CRC = struct.Struct(">I")


class FrameError(ValueError):
    """Bytes that are no message, or a message that cannot be written. What follows in a stream cannot be read."""


class HeaderType(IntEnum):
    """How a header's value is written."""

    TRUE = 0
    FALSE = 1
    BYTE = 2
    INT16 = 3
    INT32 = 4
    INT64 = 5
    BYTES = 6
    STRING = 7
    TIMESTAMP = 8
    """Milliseconds since 1970, of 64 bits."""
    UUID = 9


Value = bool | int | bytes | str | uuid.UUID

_NUMBERS: Final = {
    HeaderType.BYTE: struct.Struct(">b"),
    HeaderType.INT16: struct.Struct(">h"),
    HeaderType.INT32: struct.Struct(">i"),
    HeaderType.INT64: struct.Struct(">q"),
    HeaderType.TIMESTAMP: struct.Struct(">q"),
}


class Header(NamedTuple):
    """One header."""

    name: str
    type: HeaderType
    value: Value

    @classmethod
    def text(cls, name: str, value: str) -> Header:
        """A header with text."""
        return cls(name, HeaderType.STRING, value)

    @classmethod
    def number(cls, name: str, value: int) -> Header:
        """A header with a number of 32 bits."""
        return cls(name, HeaderType.INT32, value)


class Message(NamedTuple):
    """One message."""

    headers: tuple[Header, ...]
    payload: bytes

    def find(self, name: str, kind: HeaderType) -> Value | None:
        """The value of the header of that name and type; None if there is none."""
        return next((one.value for one in self.headers if one.name == name and one.type is kind), None)


def encode(message: Message) -> bytes:
    """A message as bytes. Raises FrameError for a header that cannot be written."""
    headers = b"".join(_encode_header(header) for header in message.headers)
    if len(headers) > MAX_HEADERS:
        raise FrameError(f"headers of {len(headers)} bytes: expected at most {MAX_HEADERS}")
    lengths = _PRELUDE.pack(OVERHEAD + len(headers) + len(message.payload), len(headers), 0)[:8]
    body = lengths + _CRC.pack(zlib.crc32(lengths)) + headers + message.payload
    return body + _CRC.pack(zlib.crc32(body))


class Decoder:
    """Makes messages of a stream's bytes as they come."""

    def __init__(self, limit: int) -> None:
        """`limit`: bytes of the longest message that is taken. It may be changed between two messages."""
        self.limit = limit
        self._buffer = bytearray()

    def feed(self, data: bytes) -> None:
        """Take the stream's next bytes."""
        self._buffer += data

    def next(self) -> Message | None:
        """The next message; None until more bytes have come. Raises FrameError, after which nothing can be read."""
        if len(self._buffer) < PRELUDE:
            return None
        total, headers, crc = _PRELUDE.unpack_from(self._buffer)
        if zlib.crc32(self._buffer[:8]) != crc:
            raise FrameError("the checksum of a message's first bytes is wrong")
        if total > self.limit:
            raise FrameError(f"a message of {total} bytes: expected at most {self.limit}")
        if headers > MAX_HEADERS or headers + OVERHEAD > total:
            raise FrameError(f"headers of {headers} bytes in a message of {total}")
        if len(self._buffer) < total:
            return None
        whole = bytes(self._buffer[:total])
        del self._buffer[:total]
        if zlib.crc32(whole[:-4]) != _CRC.unpack(whole[-4:])[0]:
            raise FrameError("the checksum of a message is wrong")
        return Message(tuple(_headers(whole[PRELUDE : PRELUDE + headers])), whole[PRELUDE + headers : -4])


def _encode_header(header: Header) -> bytes:
    name = header.name.encode()
    if not 0 < len(name) < 128:
        raise FrameError(f"a header's name of {len(name)} bytes: expected 1 to 127")
    return bytes((len(name),)) + name + bytes((header.type,)) + _encode_value(header)


def _encode_value(header: Header) -> bytes:
    value = header.value
    if header.type in (HeaderType.TRUE, HeaderType.FALSE):
        return b""
    if header.type in _NUMBERS and isinstance(value, int):
        try:
            return _NUMBERS[header.type].pack(value)
        except struct.error as error:
            raise FrameError(f"header {header.name}: {value} is no {header.type.name}") from error
    if header.type is HeaderType.UUID and isinstance(value, uuid.UUID):
        return value.bytes
    data = value.encode() if isinstance(value, str) else value
    if header.type not in (HeaderType.BYTES, HeaderType.STRING) or not isinstance(data, bytes) or len(data) > 0x7FFF:
        raise FrameError(f"header {header.name}: no value for {header.type.name}")
    return len(data).to_bytes(2, "big") + data


def _headers(data: bytes) -> Iterator[Header]:
    place = 0

    def take(size: int) -> bytes:
        nonlocal place
        if place + size > len(data):
            raise FrameError("a header goes beyond the headers")
        place += size
        return data[place - size : place]

    while place < len(data):
        name_bytes = take(take(1)[0])
        try:
            kind = HeaderType(take(1)[0])
            yield Header(name_bytes.decode(), kind, _value(kind, take))
        except FrameError:
            raise
        except ValueError as error:  # an unknown type, or text that is no UTF-8
            raise FrameError(f"a header cannot be read: {error}") from error


def _value(kind: HeaderType, take: Callable[[int], bytes]) -> Value:
    if kind in _NUMBERS:
        number: int = _NUMBERS[kind].unpack(take(_NUMBERS[kind].size))[0]
        return number
    match kind:
        case HeaderType.TRUE | HeaderType.FALSE:
            return kind is HeaderType.TRUE
        case HeaderType.UUID:
            return uuid.UUID(bytes=take(16))
    data = take(int.from_bytes(take(2), "big"))
    return data.decode() if kind is HeaderType.STRING else data
