"""A client's connection: its bytes become exchanges, one after the other, and what they send leaves in that order."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol, cast

from greengrass_agent.gateway.http import bounds, tcp
from greengrass_agent.gateway.http.answers import CONTINUE
from greengrass_agent.gateway.http.bounds import BodyClock, Held
from greengrass_agent.gateway.http.exchange import PLAIN, Exchange
from greengrass_agent.gateway.http.requests import SLICE, Refusal, RequestParser
from greengrass_agent.gateway.job import Answer, Flow, Job

STEPS = 16
"""Requests started and pieces read before others have their turn: a client may send thousands at once."""
NS = 1_000_000_000


class Host(Protocol):
    """The server, as its connections see it."""

    node: str
    closing: bool
    """Whether each connection ends with its next answer."""
    streamed: bool
    """Whether bodies are passed on as they come."""
    timeout_ns: Callable[[], int]
    submit: Callable[[Job], None]

    def connected(self, connection: Connection) -> None:
        """A connection has come."""

    def lost(self, connection: Connection) -> None:
        """It has gone."""

    def next_number(self) -> int:
        """The gateway's own number for a request."""

    def hold(self, connection: Connection, count: int) -> bool:
        """Make room for bytes of a body; negative: give it back. Returns whether there is."""


class Connection(asyncio.Protocol):
    """One of a server's connections."""

    def __init__(self, host: Host) -> None:
        self.node = host.node
        self.source = ""
        self.due = bounds.FOREVER
        """When it ends if nothing happens before (time.monotonic)."""
        self.since = 0.0
        """When the client last did something."""
        self._host = host
        self._transport: asyncio.Transport | None = None
        self._parser: RequestParser | None = None
        self._current: Exchange | None = None
        self._unread = b""
        """What came and was not given to the parser, since a request is under way."""
        self._advancing = False
        self._reading = True
        self._full = False
        """Whether the client takes its answers more slowly than they come."""
        self._unsent = 0
        self._ended = False
        """Whether the client has said that it sends nothing more."""
        self._lingering = False
        self._clock: BodyClock | None = None
        self._held = 0
        """Bytes of bodies for which the host has made room."""

    @property
    def under_way(self) -> bool:
        """Whether a request is with the function, or an answer on its way."""
        transport = self._transport
        return self._current is not None or (transport is not None and transport.get_write_buffer_size() > 0)

    def held(self) -> Held[Connection]:
        """What it is by which connections that may give way are told apart."""
        return Held(self, self.source, self.since, self._held)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for a request."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by type
        self.source = (transport.get_extra_info("peername") or ("",))[0]
        self.since = time.monotonic()
        self.due = self.since + bounds.HEAD_S
        self._host.connected(self)

    def connection_lost(self, error: Exception | None) -> None:
        """Nobody waits for what was asked here."""
        self._transport = self._parser = self._clock = None
        self._unread = b""
        self._release()
        exchange, self._current = self._current, None
        if exchange is not None:
            exchange.gone()
        self._host.lost(self)

    def data_received(self, data: bytes) -> None:
        """Read requests, as far as it is their turn."""
        if self._lingering:
            return
        self._unread = self._unread + data if self._unread else data
        self._advance()

    def eof_received(self) -> bool:
        """Answer what was asked; a client may close its half of the connection and wait."""
        self._ended = True
        exchange = self._current
        asked = exchange is not None or self._full or bool(self._unread)
        if self._lingering or not asked or (exchange is not None and not exchange.message.complete):
            return False
        if exchange is not None and exchange.message.modern and not exchange.begun:
            # A client that has closed both halves answers this with a reset, which `overdue` sees.
            self.write(CONTINUE)
        self._settle(time.monotonic())
        return True

    def pause_writing(self) -> None:
        """The client is slower than the answer."""
        self._full = True
        self._unsent = 0
        self.due = time.monotonic() + bounds.WRITE_SILENCE_S
        flow = self._flow()
        if flow is not None:
            flow.pause()

    def resume_writing(self) -> None:
        """It has taken most of it."""
        self._full = False
        self._settle(time.monotonic())
        flow = self._flow()
        if flow is not None:
            flow.resume()
        self._advance()

    def overdue(self, now: float) -> None:
        """Its time limit has passed: end it, unless it was for something else."""
        transport, parser, exchange = self._transport, self._parser, self._current
        if transport is None:
            return
        unsent = transport.get_write_buffer_size()
        if unsent:
            if unsent == self._unsent:
                self.cut()
            else:
                self._unsent = unsent
                self.due = now + bounds.WRITE_SILENCE_S
        elif self._lingering:
            transport.abort()
        elif exchange is not None and exchange.message.complete:
            if self._ended and tcp.was_reset(transport):
                self.cut()
            else:
                self._settle(now)
        elif exchange is not None and not self._reading:
            self._refuse(Refusal(504, "the function did not take the body within its time limit"))
        elif parser is not None and (parser.in_head or parser.in_body):
            what = "the header section" if parser.in_head else "the body"
            self._refuse(Refusal(408, f"{what} did not come in time"))
        else:
            self._close()

    def refuse_body(self) -> None:
        """Give up the body that is being received: there is no room for it."""
        self._refuse(Refusal(503, "the gateway holds as many bytes of requests as it can"))

    def shut(self) -> None:
        """The gateway ends: end with what is under way, at once if that is nothing."""
        if self._lingering and not self.under_way:
            self.cut()
        elif self._current is None:
            self._close()

    def write(self, data: bytes) -> None:
        """Send it."""
        if self._transport is not None:
            self._transport.write(data)

    def write_all(self, parts: tuple[bytes, ...]) -> None:
        """Send them without putting them together."""
        if self._transport is not None:
            self._transport.writelines(parts)

    def ends(self, exchange: Exchange) -> bool:
        """Whether the service moves, the client is done, or the rest of a body that nobody wants is still to come."""
        return self._host.closing or not exchange.message.complete

    def over(self, exchange: Exchange, *, close: bool) -> None:
        """The answer is complete: the next request's turn."""
        if exchange is not self._current:
            return
        self._current = None
        if self._held:
            self._release()
        if close:
            self._close(linger=not exchange.message.complete or exchange.message.keep_alive or bool(self._unread))
        else:
            self._settle(time.monotonic())
            if not self._advancing and (self._ended or self._unread or (self._parser and self._parser.messages)):
                self._advance()

    def cut(self) -> None:
        """End it at once, with a reset: an orderly end could be taken for the end of an answer."""
        if self._transport is not None:
            tcp.reset(self._transport)

    def body_wanted(self, exchange: Exchange) -> None:
        """Pass on what has come of the body, and read on or not."""
        if exchange is self._current:
            self._pass_on(exchange)
            self._advance()

    def _flow(self) -> Flow | None:
        exchange = self._current
        return exchange.job.flow if exchange is not None and exchange.job is not None else None

    def _advance(self) -> None:
        """Start requests and read further ones, each when it is its turn."""
        if self._advancing or self._transport is None:
            return
        self._advancing = True
        try:
            for _ in range(STEPS):
                parser = self._parser
                if parser is not None and parser.messages and self._start():
                    continue
                if not self._unread or not self._read():
                    done = self._ended and self._current is None and not self._full
                    break
            else:
                done = False
                asyncio.get_running_loop().call_soon(self._advance)
        finally:
            self._advancing = False
        if done:
            self._close()
        else:
            self._pause_reading()

    def _start(self) -> bool:
        """Start the next request, if it is its turn. Returns whether there was one."""
        parser = self._parser
        if parser is None or self._current is not None or self._full or self._lingering:
            return False
        message = parser.messages[0]
        refusal = message.refusal
        if refusal is None and not message.complete and not self._host.streamed:
            if message.expects:
                message.expects = False
                if not message.received:
                    self.write(CONTINUE)
            return False
        parser.messages.popleft()
        exchange = self._current = Exchange(message, self)
        if refusal is not None:
            exchange.answer(Answer(refusal.status, refusal.reason.encode(), PLAIN))
        else:
            self._submit(exchange)
        return True

    def _submit(self, exchange: Exchange) -> None:
        message = exchange.message
        now_ns = time.monotonic_ns()
        self.since = now_ns / NS
        client_id, request_id = exchange.numbers(self._host.next_number())
        body: bytes | None = None
        if message.complete:
            # From here on it is the function that takes its time.
            self.due, self._clock = bounds.FOREVER, None
            parts = message.parts
            body = parts[0] if len(parts) == 1 else b"".join(parts)
            parts.clear()
        job = exchange.job = Job(
            client_id,
            request_id,
            0,
            body,
            exchange.head(),
            now_ns,
            now_ns + self._host.timeout_ns(),
            exchange,
            self.source,
        )
        self._host.submit(job)

    def _read(self) -> bool:
        """Give the parser the next piece, if there is one and it is its turn. Returns whether there was one."""
        if self._full or self._lingering:
            return False
        exchange = self._current
        if exchange is not None and (exchange.message.complete or not exchange.wanted):
            return False
        parser = self._parser
        if parser is None:
            parser = self._parser = RequestParser(bounds.MAX_BODY)
        parser.max_body = None if self._host.streamed else bounds.MAX_BODY
        unread = self._unread
        if len(unread) <= SLICE:
            piece, self._unread = unread, b""
        else:
            piece, self._unread = unread[:SLICE], unread[SLICE:]
        was_in_head = parser.in_head
        parser.feed(piece)
        if parser.in_head:
            if not was_in_head:
                self.since = time.monotonic()
                self.due = self.since + bounds.HEAD_S
        elif parser.in_body or self._held or self._clock is not None:
            self._body_came(len(piece))
        if exchange is not None:
            self._pass_on(exchange)
        return True

    def _body_came(self, count: int) -> None:
        """Count what has come of a body that is not complete."""
        parser = self._parser
        assert parser is not None
        now = self.since = time.monotonic()
        if not parser.in_body:
            self._clock = None
        else:
            if self._clock is None:
                self._clock = BodyClock(now)
            self._clock.came(count, now)
            self.due = self._clock.due
        if not self._host.streamed and parser.messages:
            last = parser.messages[-1]
            more = last.received - self._held
            if more > 0:
                self._held += more
                if not self._host.hold(self, more):
                    self.refuse_body()

    def _pass_on(self, exchange: Exchange) -> None:
        """Give the worker what has come of a streamed body, if it takes it."""
        job, message = exchange.job, exchange.message
        if job is None or job.body is not None or not exchange.wanted or job.flow is None:
            return
        if message.expects and not exchange.continued:
            exchange.continued = True
            if not exchange.begun and not message.received:
                self.write(CONTINUE)
        if message.refusal is not None:
            exchange.broken_off(message.refusal)
            return
        if not message.parts and not message.complete:
            return
        body = message.parts[0] if len(message.parts) == 1 else b"".join(message.parts)
        message.parts.clear()
        if message.complete:
            exchange.wanted = False
            self.due, self._clock = bounds.FOREVER, None
        job.flow.body(body, last=message.complete)

    def _pause_reading(self) -> None:
        """Read from the socket only what there is a place for, so that TCP tells the client to wait."""
        transport = self._transport
        if transport is None or transport.is_closing() or self._ended:
            return
        exchange = self._current
        waits = exchange is not None and not exchange.message.complete and not exchange.wanted
        if waits or self._unread:
            if self._reading:
                self._reading = False
                transport.pause_reading()
                if waits:
                    # In the queue it is the queue's time limit that counts, and with a worker the function's.
                    taken = self._flow() is not None
                    self.due = time.monotonic() + self._host.timeout_ns() / NS if taken else bounds.FOREVER
        elif not self._reading:
            self._reading = True
            transport.resume_reading()
            if self._clock is not None:
                self._clock.resumed(time.monotonic())
                self.due = self._clock.due

    def _refuse(self, refusal: Refusal) -> None:
        """Answer what is being received, and end."""
        parser = self._parser
        assert parser is not None
        parser.refuse(refusal)
        exchange = self._current
        if exchange is None:
            self._advance()
        elif not exchange.message.complete:
            exchange.broken_off(refusal)

    def _settle(self, now: float) -> None:
        """How long what is now may last. What is about a client that has to take or to send was said when it began."""
        if self._full or self._lingering:
            return
        parser, exchange = self._parser, self._current
        if exchange is not None and not exchange.message.complete:
            self.due = self._clock.due if self._clock is not None and self._reading else bounds.FOREVER
        elif exchange is not None:
            # A half-closed connection is looked at with each sweep: nothing tells when its client has gone.
            self.due = now if self._ended else bounds.FOREVER
        elif parser is not None and parser.in_head:
            self.due = now + bounds.HEAD_S
        else:
            self.due = now + bounds.IDLE_S

    def _release(self) -> None:
        if self._held:
            self._host.hold(self, -self._held)
            self._held = 0

    def _close(self, *, linger: bool = False) -> None:
        """End it when what was written has been sent; `linger` where the client may be sending still."""
        transport = self._transport
        if transport is None or self._lingering:
            return
        self._lingering = True
        self._unread = b""
        self.due = time.monotonic() + bounds.LINGER_S
        if not linger or self._ended:
            transport.close()
            return
        transport.write_eof()
        if not self._reading:
            self._reading = True
            transport.resume_reading()
