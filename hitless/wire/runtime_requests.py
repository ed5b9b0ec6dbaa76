"""The requests of one connection of a function's runtime, as they come (RFC 9112). Sans-I/O, on llhttp.

Nothing is bounded: whoever may connect is the function itself, and what it fills is its own memory.
"""

from __future__ import annotations

from typing import NamedTuple

import httptools


class Head(NamedTuple):
    """A request's header section is complete."""

    method: str
    path: str
    headers: dict[str, str]
    """Names in lower case; of a field that stood several times, the last value."""
    keep_alive: bool
    """Whether another request may follow on the connection."""


class Data(NamedTuple):
    """The next part of its body."""

    data: bytes


class Complete(NamedTuple):
    """Nothing more belongs to it."""

    trailers: dict[str, str]
    """As `headers`; those behind a chunked body."""


class Malformed(NamedTuple):
    """This is no request, and nothing that follows is one."""

    reason: str


class RequestReader:
    """Makes requests of a connection's bytes. The methods that begin with `on_` are llhttp's to call."""

    def __init__(self) -> None:
        self._parser = httptools.HttpRequestParser(self)
        self._found: list[Head | Data | Complete | Malformed] = []
        self._target = b""
        self._headers: dict[str, str] = {}
        self._trailers: dict[str, str] | None = None
        """None while the header section comes."""
        self._replayed = False
        """Whether what llhttp reads is a header section that it has read before."""
        self._broken = False

    def feed(self, data: bytes) -> list[Head | Data | Complete | Malformed]:
        """Take bytes; what they complete."""
        self._found = []
        try:
            while data and not self._broken:
                try:
                    self._parser.feed_data(data)
                    break
                except httptools.HttpParserUpgrade as upgrade:
                    # Java's client offers HTTP/2. Ignored, as RFC 9110, 7.8 allows; llhttp expects it from here on.
                    data = data[upgrade.args[0] :]
                    self._replay()
        except httptools.HttpParserError as error:
            self._broken = True
            self._found.append(Malformed(str(error)))
        return self._found

    def on_message_begin(self) -> None:
        """A request begins."""
        if not self._replayed:
            self._target, self._headers, self._trailers = b"", {}, None

    def on_url(self, target: bytes) -> None:
        """A part of the request target."""
        if not self._replayed:
            self._target += target

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field of the header section or of the trailer section."""
        if not self._replayed:
            fields = self._headers if self._trailers is None else self._trailers
            fields[name.decode("latin-1").lower()] = value.decode("latin-1").strip(" \t")

    def on_headers_complete(self) -> None:
        """The header section is complete."""
        if self._replayed:
            return
        self._trailers = {}
        path = self._target.decode("latin-1").partition("?")[0]
        method = self._parser.get_method().decode("latin-1")
        self._found.append(Head(method, path, self._headers, self._parser.should_keep_alive()))

    def on_body(self, data: bytes) -> None:
        """A part of a body."""
        self._found.append(Data(data))

    def on_message_complete(self) -> None:
        """A request is complete."""
        if self._parser.should_upgrade() and self._framing() is not None:
            return  # says llhttp, which reads no body then
        self._found.append(Complete(self._trailers or {}))

    def _framing(self) -> str | None:
        """The field that says how long the body is, if there is one."""
        return next((name for name in ("transfer-encoding", "content-length") if name in self._headers), None)

    def _replay(self) -> None:
        """Make llhttp read a body that it leaves out behind an Upgrade, by a header section like it without one."""
        name = self._framing()
        if name is None:
            return
        self._replayed = True
        self._parser.feed_data(f"POST / HTTP/1.1\r\nHost: x\r\n{name}: {self._headers[name]}\r\n\r\n".encode("latin-1"))
        self._replayed = False
