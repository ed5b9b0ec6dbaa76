"""An answer as it goes to the client: which are lawful, how they are framed, their header section. Pure."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from email.utils import formatdate
from http import HTTPStatus
from typing import NamedTuple

from hitless.wire.worker_frames import SET_COOKIE

NODE_HEADER = "X-Hitless-Node"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"
_HOP_BY_HOP = frozenset(
    {"connection", "content-length", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"}
)
"""Fields that the gateway writes itself or that are about the connection: a handler's are left out."""
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_UNLAWFUL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_MAX_DIGITS = 18
_SHORT = 1024
"""Characters of an answer's header values up to which what was made of them is kept for the next one like it."""
_REASONS = {status.value: status.phrase for status in HTTPStatus}


class Framing(NamedTuple):
    """How the end of an answer's body is told."""

    length: int | None = None
    """Bytes that the body has, or would have (HEAD); None if that is not known, or not said."""
    chunked: bool = False
    empty: bool = False
    """Whether no body follows whatever the handler gives."""

    @property
    def until_close(self) -> bool:
        """Whether the end of the connection is the end of the body."""
        return self.length is None and not self.chunked and not self.empty


def fault(status: int, headers: Mapping[str, str]) -> str | None:
    """Why this cannot be an answer's head; None if it can."""
    if not isinstance(status, int) or not 200 <= status <= 599:
        return f"status {status!r} is no final status of HTTP"
    if not headers:
        return None
    for name, value in headers.items():
        if not _is_name(name):
            return f"{name!r:.80} is no header name"
        # What is printable has no control characters; a tab is allowed, and is none that is printable.
        if not isinstance(value, str) or (
            not value.isprintable() and any(map(_UNLAWFUL.search, _each(name.lower(), value)))
        ):
            return f"the value of header {name} is no text of one line"
    return None


def whole(method: str, status: int, headers: Mapping[str, str], length: int) -> Framing:
    """Of an answer whose body is `length` bytes. A HEAD or 304 without one says what the handler says of it."""
    if status == 204:
        return Framing(empty=True)
    if method != "HEAD" and status != 304:
        return Framing(length)
    said = declared_length(headers)
    if said is not None and not length:
        return Framing(said, empty=True)
    return Framing(length if method == "HEAD" else None, empty=True)


def in_parts(method: str, status: int, headers: Mapping[str, str], *, modern: bool) -> Framing:
    """Of an answer whose body comes in parts: with the length that the handler says, or chunked, or until close."""
    said = declared_length(headers)
    if method == "HEAD" or status in (204, 304):
        return Framing(None if status == 204 else said, empty=True)
    if said is not None:
        return Framing(said)
    return Framing(chunked=modern)


def declared_length(headers: Mapping[str, str]) -> int | None:
    """What a handler says of its body's length, if it is a number."""
    for name, value in headers.items():
        if name.lower() == "content-length":
            return int(value) if value.isascii() and value.isdecimal() and len(value) <= _MAX_DIGITS else None
    return None


def head(status: int, headers: Mapping[str, str], framing: Framing, node: str, connection: str, now: float) -> bytes:
    """The header section. `connection` is its Connection field's value, "" for none; `now` is the time since 1970."""
    make = _fields if sum(map(len, headers.values())) <= _SHORT else _fields.__wrapped__
    fields = make(status, tuple(headers.items()), node)
    if framing.length is not None:
        length = f"Content-Length: {framing.length}\r\n"
    elif framing.chunked:
        length = "Transfer-Encoding: chunked\r\n"
    else:
        length = ""
    ending = f"{length}Connection: {connection}\r\n" if connection else length
    return fields + ending.encode() + _date(int(now))


def chunk(data: bytes) -> tuple[bytes, bytes, bytes]:
    """A part of a chunked body."""
    return b"%x\r\n" % len(data), data, b"\r\n"


def _each(lower: str, value: str) -> Sequence[str]:
    """The values of a field that are lines of their own: each cookie is one (`worker_frames.Lines`)."""
    return value.split("\n") if lower == SET_COOKIE else (value,)


@functools.lru_cache(maxsize=256)
def _is_name(text: object) -> bool:
    return isinstance(text, str) and len(text) <= 256 and _TOKEN.fullmatch(text) is not None


@functools.lru_cache(maxsize=256)
def _fields(status: int, fields: tuple[tuple[str, str], ...], node: str) -> bytes:
    """The status line and the fields that do not change from answer to answer, encoded once for most handlers."""
    lines = [f"HTTP/1.1 {status} {_REASONS.get(status, '')}"]
    names = set()
    for name, value in fields:
        lower = name.lower()
        names.add(lower)
        if lower not in _HOP_BY_HOP and lower != "date" and lower != NODE_HEADER.lower():
            lines += [f"{name}: {one.strip()}" for one in _each(lower, value)]
    if "content-type" not in names and status not in (204, 304):
        # RFC 9110, 8.3; the gateway's own errors are sentences.
        kind = "text/plain; charset=utf-8" if status >= 400 else "application/octet-stream"
        lines.append(f"Content-Type: {kind}")
    lines.append(f"{NODE_HEADER}: {node}\r\n")
    return "\r\n".join(lines).encode("utf-8", "surrogateescape")


@functools.lru_cache(maxsize=1)
def _date(second: int) -> bytes:
    """The Date field (RFC 9110, 6.6.1) and the end of the header section."""
    return f"Date: {formatdate(second, usegmt=True)}\r\n\r\n".encode()
