"""gRPC's view of HTTP/2 requests and responses ("gRPC over HTTP2"), without I/O."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import quote

from grpc import StatusCode

from softswitch.rpc import hpack
from softswitch.rpc.hpack import Header

MAX_MESSAGE = 128 << 20

STATUS_DETAILS_KEY = b"grpc-status-details-bin"
"""Trailing metadata key under which gRPC carries a serialized google.rpc.Status."""

_PREFIX = struct.Struct(">BI")
FRAMING = _PREFIX.size
"""Bytes that a message has in a body beside its own."""
_UNITS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_WINDOW_BITS = {b"gzip": 31, b"deflate": 15}


class RpcError(Exception):
    """How a call ends when it does not succeed; `details` is a serialized google.rpc.Status."""

    def __init__(self, code: StatusCode, message: str, details: bytes | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = details


@dataclass(frozen=True, slots=True)
class Request:
    """What a call's headers say. `timeout` in seconds."""

    path: str
    encoding: bytes
    timeout: float | None


@lru_cache(maxsize=256)
def read_request(headers: tuple[Header, ...]) -> Request:
    """Raises RpcError for a request that is no gRPC call."""
    fields = dict(headers)
    if fields.get(b":method") != b"POST" or not fields.get(b"content-type", b"").startswith(b"application/grpc"):
        raise RpcError(StatusCode.INTERNAL, "a gRPC call is a POST of content type application/grpc")
    encoding = fields.get(b"grpc-encoding", b"identity")
    if encoding != b"identity" and encoding not in _WINDOW_BITS:
        raise RpcError(StatusCode.UNIMPLEMENTED, f"messages compressed by {encoding.decode(errors='replace')}")
    timeout = None
    if text := fields.get(b"grpc-timeout", b"").decode("ascii", "replace"):
        if not text[:-1].isdecimal() or len(text) > 9 or text[-1] not in _UNITS:
            raise RpcError(StatusCode.INVALID_ARGUMENT, f"grpc-timeout {text!r}")
        timeout = int(text[:-1]) * _UNITS[text[-1]]
    return Request(fields.get(b":path", b"").decode("utf-8", "replace"), encoding, timeout)


class Received(NamedTuple):
    """A message as it came."""

    compressed: bool
    data: bytes


class MessageReader:
    """Cuts a request's body into messages."""

    def __init__(self, encoding: bytes) -> None:
        self._encoding = encoding
        self._buffer = bytearray()
        self._needed = _PREFIX.size

    @property
    def empty(self) -> bool:
        """Whether no part of a message waits for the rest."""
        return not self._buffer

    def feed(self, data: bytes) -> Iterator[Received]:
        """The messages that `data` completes. Raises RpcError."""
        buffer = self._buffer
        buffer += data
        while len(buffer) >= self._needed:
            compressed, length = _PREFIX.unpack_from(buffer)
            if length > MAX_MESSAGE:
                raise RpcError(StatusCode.RESOURCE_EXHAUSTED, f"a message of {length} bytes; at most {MAX_MESSAGE}")
            end = _PREFIX.size + length
            if len(buffer) < end:
                self._needed = end
                return
            message = bytes(memoryview(buffer)[_PREFIX.size : end])
            del buffer[:end]
            self._needed = _PREFIX.size
            yield Received(bool(compressed), message)

    def read(self, message: Received) -> bytes:
        """What the peer meant, which may be a thousand times as long. Raises RpcError."""
        if not message.compressed:
            return message.data
        bits = _WINDOW_BITS.get(self._encoding)
        if bits is None:
            raise RpcError(StatusCode.INTERNAL, "a compressed message in a call without grpc-encoding")
        inflater = zlib.decompressobj(bits)
        try:
            plain = inflater.decompress(message.data, MAX_MESSAGE)
        except zlib.error as error:
            raise RpcError(StatusCode.INTERNAL, f"a compressed message: {error}") from error
        if not inflater.eof:
            raise RpcError(StatusCode.RESOURCE_EXHAUSTED, "a compressed message is cut off or too large")
        return plain


def frame(message: bytes) -> bytes:
    """A message as it stands in a body."""
    return _PREFIX.pack(0, len(message)) + message


_HEADERS = (
    (b":status", b"200"),
    (b"content-type", b"application/grpc"),
    (b"grpc-accept-encoding", b"identity,deflate,gzip"),
)
RESPONSE_HEADERS = hpack.encode(_HEADERS)
SUCCESS = hpack.encode([(b"grpc-status", b"0")])


def trailers(error: RpcError, *, alone: bool) -> bytes:
    """What ends a failed call; `alone` when no headers were sent before."""
    number: int = error.code.value[0]
    block: list[Header] = list(_HEADERS) if alone else []
    block += [(b"grpc-status", str(number).encode()), (b"grpc-message", quote(error.message, safe=_UNQUOTED).encode())]
    if error.details is not None:
        block.append((STATUS_DETAILS_KEY, base64.b64encode(error.details).rstrip(b"=")))
    return hpack.encode(block)


_UNQUOTED = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != "%")
