"""The bytes of a connection become requests (RFC 9112). Sans-I/O, on llhttp, with bounds of our own.

llhttp refuses what lets two parsers read the same bytes as different requests: bare line feeds, folded lines, a space
before a colon, two lengths, a length beside a transfer coding. What it lets pass and this module does not: any coding
but `chunked`, several Hosts or none, versions other than 1.0 and 1.1, and anything without an end.
"""

from __future__ import annotations

import functools
import re
from collections import deque
from dataclasses import dataclass, field

import httptools

from hitless.wire.worker_frames import JOINTS

MAX_TARGET = 8 * 1024
"""Bytes of a request target."""
MAX_HEAD = 32 * 1024
"""Bytes of a header section, and of a trailer section; header names and values count, with four a field."""
MAX_FIELDS = 200
"""Fields of a header section, and of a trailer section."""
MAX_FRAMING = 16 * 1024
"""Bytes by which the framing of a chunked body may exceed what chunks of a reasonable kind need: extensions, mainly."""
SLICE = 16 * 1024
"""Bytes given to the parser at a time: what it may find in them before anybody looks is bounded by that."""
_CHUNK_FRAMING = 32
_MAX_DIGITS = 18
_HOST = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:%\[\]-]*")
_ABSOLUTE = re.compile(r"[a-z][a-z0-9+.-]*://([^/?#]*)(.*)", re.IGNORECASE)
_FOREIGN_METHOD = re.compile(rb"(?:\r?\n)*[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64} \S+ HTTP/1\.[01]\r\n")
_METHODS = {name.encode(): name for name in ("GET", "POST", "PUT", "HEAD", "DELETE", "PATCH", "OPTIONS")}


@dataclass(frozen=True, slots=True)
class Refusal:
    """What a request is answered with that cannot be taken; the connection ends with it."""

    status: int
    reason: str


@dataclass(slots=True, eq=False)
class Message:
    """A request as it comes in; it is there as soon as its header section is complete."""

    method: str = ""
    path: str = ""
    """As it came, percent-encoded."""
    query: str = ""
    """Without the question mark, as it came."""
    headers: dict[str, str] = field(default_factory=dict)
    """Names in lower case; a field that stood several times is one list (RFC 9110, 5.2), with mere commas."""
    repeated: dict[str, list[str]] = field(default_factory=dict)
    """The values of such fields, each by itself."""
    modern: bool = True
    """Whether it is HTTP/1.1 and not 1.0."""
    keep_alive: bool = False
    expects: bool = False
    """Whether the client waits for `100 Continue` before it sends the body."""
    parts: list[bytes] = field(default_factory=list)
    """Of the body: what has come and was not taken yet."""
    received: int = 0
    """Bytes of the body that have come."""
    complete: bool = False
    refusal: Refusal | None = None


class RequestParser:
    """The requests of one connection, in order. The methods that begin with `on_` are llhttp's to call."""

    def __init__(self, max_body: int | None) -> None:
        """`max_body`: as the attribute."""
        self.messages: deque[Message] = deque()
        """Those that came and were not taken yet; the last one may be incomplete."""
        self.ended = False
        """Whether nothing that follows is a request: the client said so, or it was refused."""
        self.in_head = False
        """Whether a request has begun whose header section is not complete."""
        self.max_body = max_body
        """Bytes of the longest body that is taken, None for no bound; of requests whose header section is to come."""
        self._limit = max_body
        self._replayed = False
        """Whether what llhttp reads is a header section that it has read before."""
        self._parser = httptools.HttpRequestParser(self)
        self._message: Message | None = None
        """Whose body comes next."""
        self._target = b""
        self._headers: dict[str, str] = {}
        self._repeated: dict[str, list[str]] = {}
        self._fields = 0
        self._section = 0
        """Bytes of the fields of a header or trailer section."""
        self._unaccounted = 0
        """Bytes given to the parser of which nothing has come out yet."""

    @property
    def in_body(self) -> bool:
        """Whether a request's header section was complete and the rest of its body is to come."""
        return self._message is not None

    def feed(self, data: bytes) -> None:
        """Take at most SLICE bytes that the client sent."""
        if self.ended:
            return
        self._unaccounted += len(data)
        try:
            while data and not self.ended:
                try:
                    self._parser.feed_data(data)
                    break
                except httptools.HttpParserUpgrade as upgrade:
                    # Ignored, as RFC 9110, 7.8 allows, though llhttp expects another protocol from here on.
                    data = data[upgrade.args[0] :]
                    self._replay()
        except httptools.HttpParserCallbackError:
            pass  # one of ours, which has refused the request
        except httptools.HttpParserInvalidMethodError as error:
            foreign = _FOREIGN_METHOD.match(data)
            self._refuse(501, "the method is not implemented") if foreign else self._refuse(400, f"no HTTP: {error}")
        except httptools.HttpParserError as error:
            if not self.ended:
                self._refuse(400, f"malformed: {error}")
        self._bound()

    def refuse(self, refusal: Refusal) -> None:
        """Refuse the request that is coming in, and all after it."""
        if self.ended:
            return
        message = self._message
        if message is None:
            message = Message()
            self.messages.append(message)
        message.keep_alive = False
        message.refusal = refusal
        self.ended = True
        self.in_head = False

    def on_message_begin(self) -> None:
        """A request begins."""
        if self._replayed:
            return
        self.in_head = True
        self._target = b""
        self._headers = {}
        self._repeated = {}
        self._fields = self._section = 0

    def on_url(self, target: bytes) -> None:
        """A part of the request target."""
        if self._replayed:
            return
        self._target += target
        if len(self._target) > MAX_TARGET:
            self._stop(414, f"the request target is longer than {MAX_TARGET} bytes")

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field of the header section, or of the trailer section, which nobody looks at."""
        if self._replayed:
            return
        self._fields += 1
        self._section += len(name) + len(value) + 4
        if self._section > MAX_HEAD or self._fields > MAX_FIELDS:
            self._stop(431, f"a header section is longer than {MAX_HEAD} bytes or {MAX_FIELDS} fields")
        if self._message is not None:
            return
        headers = self._headers
        key = name.decode().lower()
        text = value.decode("utf-8", "surrogateescape").rstrip(" \t")
        if key in headers:
            if key == "host":
                self._stop(400, "more than one Host")
            values = self._repeated.setdefault(key, [headers[key]])
            values.append(text)
            text = JOINTS.get(key, ",").join(values)
        headers[key] = text

    def on_headers_complete(self) -> None:
        """The header section is complete."""
        if self._replayed:
            return
        parser, headers = self._parser, self._headers
        version = parser.get_http_version()
        if version not in ("1.1", "1.0"):
            self._stop(505, f"HTTP/{version} is not spoken here, HTTP/1.1 is")
        method = parser.get_method()
        message = Message(
            _METHODS.get(method) or method.decode(),
            headers=headers,
            repeated=self._repeated,
            modern=version == "1.1",
            keep_alive=parser.should_keep_alive(),
        )
        self._take_target(message)
        host = headers.get("host")
        if host is None:
            if message.modern:
                self._stop(400, "no Host")
        elif not _is_host(host):
            self._stop(400, "Host is not a host")
        self._take_framing(message)
        self._unaccounted = self._fields = self._section = 0
        self.in_head = False
        self._message = message
        self.messages.append(message)

    def on_body(self, data: bytes) -> None:
        """A part of a body."""
        message = self._message
        assert message is not None
        message.parts.append(data)
        message.received += len(data)
        self._unaccounted -= len(data)
        if self._limit is not None and message.received > self._limit:
            self._stop(413, f"the body is longer than {self._limit} bytes")

    def on_chunk_header(self) -> None:
        """A chunk's size and extensions have come."""
        self._unaccounted -= _CHUNK_FRAMING

    def on_message_complete(self) -> None:
        """A request is complete."""
        message = self._message
        assert message is not None
        if self._parser.should_upgrade() and _has_body(message):
            return  # says llhttp, which reads no body then
        message.complete = True
        self.ended = not message.keep_alive
        self._message = None
        self._unaccounted = 0

    def _take_target(self, message: Message) -> None:
        """RFC 9112, 3.2: origin form, absolute form (whose authority replaces Host) or, with OPTIONS, an asterisk."""
        if message.method == "CONNECT":
            self._stop(501, "this is no proxy: CONNECT is not implemented")
        target = self._target.decode("ascii")
        if target.startswith("/"):
            pass
        elif absolute := _ABSOLUTE.fullmatch(target):
            if message.modern and "host" not in message.headers:
                self._stop(400, "no Host")
            message.headers["host"] = absolute[1].rpartition("@")[2]
            target = absolute[2] if absolute[2].startswith("/") else f"/{absolute[2]}"
        elif (target, message.method) != ("*", "OPTIONS"):
            self._stop(400, "the request target is neither a path nor a URI")
        if "#" in target:
            self._stop(400, "the request target has a fragment")
        message.path, _, message.query = target.partition("?")

    def _take_framing(self, message: Message) -> None:
        """RFC 9112, 6.3. llhttp has refused what is ambiguous, and digits that are none."""
        headers = message.headers
        limit = self._limit = self.max_body
        coding, length = headers.get("transfer-encoding"), headers.get("content-length", "0")
        if coding is not None:
            last = coding.lower().rpartition(",")[2].strip()
            if last != "chunked":
                self._stop(400, "the last transfer coding is not chunked: there is no telling where the body ends")
            if coding.lower() != "chunked":
                self._stop(501, "a transfer coding other than chunked is not implemented")
            if not message.modern:
                self._stop(400, "a transfer coding in HTTP/1.0")
        elif len(length) > _MAX_DIGITS:
            self._stop(400, f"Content-Length has more than {_MAX_DIGITS} digits")
        elif limit is not None and int(length) > limit:
            self._stop(413, f"the body is longer than {limit} bytes")
        expected = headers.get("expect")
        if expected is not None and message.modern:
            if expected.lower() != "100-continue":
                self._stop(417, "an expectation other than 100-continue cannot be met")
            message.expects = _has_body(message)

    def _replay(self) -> None:
        """Make llhttp read a body that it leaves out behind an Upgrade, by a header section like it without one."""
        message = self._message
        if message is None:
            return
        name = "transfer-encoding" if "transfer-encoding" in message.headers else "content-length"
        self._replayed = True
        self._parser.feed_data(f"POST / HTTP/1.1\r\nHost: x\r\n{name}: {message.headers[name]}\r\n\r\n".encode())
        self._replayed = False

    def _bound(self) -> None:
        """Refuse what goes on without anything coming out of it."""
        self._unaccounted = max(0, self._unaccounted)
        if self.ended:
            return
        if self._message is None:
            if self._unaccounted > MAX_HEAD:
                self._refuse(431, f"the header section is longer than {MAX_HEAD} bytes")
        elif self._unaccounted > MAX_FRAMING:
            self._refuse(400, "the body's chunks have too much beside their data")

    def _stop(self, status: int, reason: str) -> None:
        """Refuse the request, from within llhttp."""
        self._refuse(status, reason)
        raise ValueError(reason)

    def _refuse(self, status: int, reason: str) -> None:
        self.refuse(Refusal(status, reason))


@functools.lru_cache(maxsize=64)
def _is_host(text: str) -> bool:
    return _HOST.fullmatch(text) is not None


def _has_body(message: Message) -> bool:
    headers = message.headers
    return "transfer-encoding" in headers or int(headers.get("content-length", "0")) > 0
