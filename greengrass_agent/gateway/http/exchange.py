"""One request on its connection and the answer to it: the client that a job tells (`greengrass_agent.gateway.job`)."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Protocol

from greengrass_agent.gateway.http import answers
from greengrass_agent.gateway.http.answers import Framing
from greengrass_agent.gateway.http.requests import Message, Refusal
from greengrass_agent.gateway.job import Answer, Job
from hitless.wire.worker_frames import HttpHead
from hitless.words import INVOCATION_LAYOUT

log = logging.getLogger(__name__)

REQUEST_HEADER = "x-request-id"
"""Numbers a request in the execution log; without it, the gateway's own count does."""
CLIENT_HEADER = "x-client-id"
SMALL = 64 * 1024
"""Bytes of a body that are rather copied behind the head than handed over apart from it."""
PLAIN = {"content-type": "text/plain; charset=utf-8"}
_BITS = dict(INVOCATION_LAYOUT)
_MAX_DIGITS = 20


class Line(Protocol):
    """The connection, as its exchange sees it."""

    node: str
    source: str

    def write(self, data: bytes) -> None:
        """Send it."""

    def write_all(self, parts: tuple[bytes, ...]) -> None:
        """Send them, one after the other, without a copy of the whole."""

    def ends(self, exchange: Exchange) -> bool:
        """Whether the connection ends with this answer."""

    def over(self, exchange: Exchange, *, close: bool) -> None:
        """The answer is complete; `close` ends the connection behind it."""

    def cut(self) -> None:
        """End the connection at once, so that the client sees that the answer is not complete."""

    def body_wanted(self, exchange: Exchange) -> None:
        """The exchange's job may have changed its mind about its body."""


class Exchange:
    """A request under way. Whatever it is told after its end, or after the client has gone, is nothing."""

    __slots__ = ("_close", "_framing", "_left", "_line", "begun", "continued", "job", "message", "over", "wanted")

    def __init__(self, message: Message, line: Line) -> None:
        self.message = message
        self.job: Job | None = None
        self.wanted = False
        """Whether the worker takes parts of the body."""
        self.continued = False
        """Whether the client that expected it was told to go on."""
        self.begun = False
        """Whether an answer, or its beginning, is on its way."""
        self.over = False
        self._line = line
        self._framing: Framing | None = None
        self._close = False
        self._left: int | None = None
        """Bytes that an answer in parts has still to bring, if its head says how many."""

    def head(self) -> HttpHead:
        """What the function sees of the request beside its body."""
        message = self.message
        return HttpHead(
            message.method, message.path, message.query, message.headers, self._line.source, message.repeated
        )

    def numbers(self, own: int) -> tuple[int, int]:
        """The client's and the request's number, for the execution log; `own` is the gateway's count."""
        headers = self.message.headers
        client, request = headers.get(CLIENT_HEADER), headers.get(REQUEST_HEADER)
        return (
            0 if client is None else number(client, _BITS["client_id"]) or 0,
            own if request is None else number(request, _BITS["request_id"]) or own,
        )

    def answer(self, answer: Answer) -> None:
        """Send the whole answer."""
        if self.over or self.begun:
            return
        fault = answers.fault(answer.status, answer.headers)
        status, body, headers = answer if fault is None else self._bad_gateway(fault)
        self.begun = True
        framing = answers.whole(self.message.method, status, headers, len(body))
        head = self._head(status, headers, framing)
        if framing.empty or not body:
            self._line.write(head)
        elif len(body) <= SMALL:
            self._line.write(head + body)
        else:
            self._line.write_all((head, body))
        self._finish(close=self._close)

    def begin(self, status: int, headers: Mapping[str, str]) -> None:
        """Send the head of an answer in parts."""
        if self.over or self.begun:
            return
        fault = answers.fault(status, headers)
        if fault is not None:
            job = self.job
            self.answer(self._bad_gateway(fault))
            if job is not None and job.flow is not None:
                job.flow.cancel()
            return
        self.begun = True
        message = self.message
        framing = answers.in_parts(message.method, status, headers, modern=message.modern)
        self._framing, self._left = framing, None if framing.empty else framing.length
        self._line.write(self._head(status, headers, framing))

    def part(self, data: bytes) -> None:
        """Send a part of it."""
        framing = self._framing
        if self.over or framing is None or framing.empty or not data:
            return
        if self._left is not None:
            self._left -= len(data)
            if self._left < 0:
                self.broken("it is longer than the Content-Length that the function announced")
                return
        if not framing.chunked:
            self._line.write(data)
        elif len(data) <= SMALL:
            self._line.write(b"".join(answers.chunk(data)))
        else:
            self._line.write_all(answers.chunk(data))

    def end(self) -> None:
        """It is complete."""
        framing = self._framing
        if self.over or framing is None:
            return
        if self._left:
            self.broken("it is shorter than the Content-Length that the function announced")
            return
        if framing.chunked:
            self._line.write(answers.LAST_CHUNK)
        self._finish(close=self._close)

    def broken(self, reason: str) -> None:
        """Let the client see that the rest will not come: by the missing end, since the status has been sent."""
        if self.over:
            return
        if not self.begun:
            self.answer(Answer(502, reason.encode(), PLAIN))
            return
        log.warning("answer to %s %s broken off: %s", self.message.method, self.message.path, reason)
        self.gone()
        self._line.cut()

    def body_wanted(self, wanted: bool) -> None:
        """Go on with the request's body, or wait."""
        self.wanted = wanted
        if not self.over:
            self._line.body_wanted(self)

    def broken_off(self, refusal: Refusal) -> None:
        """The rest of the request cannot be taken: stop its worker, and say so if there is still room for a status."""
        job = self.job
        if job is not None and not job.answered:
            job.answered, job.status = True, refusal.status
        if self.begun:
            self.gone()
            self._line.cut()
            return
        self.answer(Answer(refusal.status, refusal.reason.encode(), PLAIN))
        if job is not None and job.flow is not None:
            job.flow.cancel()

    def gone(self) -> None:
        """The client has gone, or what it gets now is not the job's answer."""
        if self.over:
            return
        self.over = True
        job, self.job = self.job, None
        if job is not None and job.flow is not None:
            job.flow.cancel()

    def _finish(self, *, close: bool) -> None:
        self.over = True
        self.job = None  # no circle is left to be collected
        self._line.over(self, close=close)

    def _head(self, status: int, headers: Mapping[str, str], framing: Framing) -> bytes:
        message = self.message
        self._close = framing.until_close or not message.keep_alive or self._line.ends(self)
        # 1.1 keeps a connection unless it is told, 1.0 ends it unless it is told.
        connection = "close" if self._close else "" if message.modern else "keep-alive"
        return answers.head(status, headers, framing, self._line.node, connection, time.time())

    def _bad_gateway(self, fault: str) -> Answer:
        message = self.message
        log.error("the function's answer to %s %s cannot be sent: %s", message.method, message.path, fault)
        if self.job is not None:
            self.job.status = 502
        return Answer(502, f"the function's answer cannot be sent: {fault}".encode(errors="replace"), PLAIN)


def number(text: str, bits: int) -> int | None:
    """The number that a header holds, if it is one of so many bits."""
    if len(text) > _MAX_DIGITS or not (text.isascii() and text.isdecimal()):
        return None
    value = int(text)
    return value if value < 1 << bits else None
