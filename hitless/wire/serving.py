"""The node's side of the invocation protocol: requests taken at most once and answered. Sans-I/O.

A shell around `Serving` owns the sockets and a clock. It hands over each datagram (`datagram_received`), executes what
`next_request` gives and gives the result to `answer`, sends what `datagrams_to_send` gives, and calls
`handle_timer` when `next_timer` is due. All times are seconds of one clock that does not step.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from hitless.wire.at_most_once import RequestTable, Verdict
from hitless.wire.invocation import (
    Address,
    Datagram,
    InvocationError,
    Message,
    Reassembler,
    decode_header,
    fragments,
)
from hitless.wire.pacing import Outbox
from hitless.words import InvocationType

MAX_WAITING = 32 * 1024 * 1024
"""Bytes of answers that wait to leave from one address: what it sends in three seconds at the pacer's rate."""


class Requested(NamedTuple):
    """A request to execute, once; its result goes to `Serving.answer`."""

    request: Message
    source: Address
    """The client."""
    local: Address
    """The address that was asked, from which the answer leaves."""
    deadline: float | None
    """When the client stops waiting; None if it did not say."""


@dataclass(slots=True)
class ServingCounts:
    """What came."""

    taken: int = 0
    """Requests to execute."""
    malformed: int = 0
    """Datagrams that are not the protocol's, or contradict an earlier one; they changed nothing."""
    repeated: int = 0
    """Requests that had come before."""


Route = tuple[Address, Address]
"""The client that a datagram goes to, and the address served that it leaves from."""


class Serving:
    """One service at one or more addresses. A request is executed once, whichever of them it comes to, however often.

    What comes again is acknowledged while the request is executed and gets the same answer afterwards. All that is kept
    is bounded, and shared fairly by the address of the client.
    """

    def __init__(self, service_id: int) -> None:
        self.counts = ServingCounts()
        """For metrics and the log."""
        self.latest_malformed: tuple[Address, InvocationError] | None = None
        """Where the latest malformed datagram came from, and what was wrong with it."""
        self._service_id = service_id
        self._table = RequestTable()
        self._reassembler = Reassembler()
        self._outboxes: dict[Address, Outbox[Route]] = {}
        self._requested: deque[Requested] = deque()

    def datagram_received(self, datagram: Datagram, source: Address, local: Address, now: float) -> None:
        """Take what the socket at `local` received from `source`."""
        try:
            header = decode_header(datagram)
            if header.type != InvocationType.REQUEST:
                return
            request = self._reassembler.add(header, datagram, source, now)
        except InvocationError as error:
            self.counts.malformed += 1
            self.latest_malformed = (source, error)
            return
        if request is not None:
            self._take(request, source, local, now)

    def answer(self, requested: Requested, status: int, payload: bytes, now: float, *, failed: bool = False) -> None:
        """Answer a request that was executed; `failed` makes it an error, whose payload is the reason as text."""
        request = requested.request
        try:
            datagrams: Sequence[Datagram] = fragments(request.answer(status, payload, error=failed))
        except InvocationError as error:
            datagrams = _error(request, 500, f"the function's result cannot be sent: {error}")
        self._table.finish(requested.source[0], request.client_id, request.request_id, datagrams, now)
        self._send(datagrams, requested.source, requested.local)

    def datagrams_to_send(self, now: float) -> list[tuple[Datagram, Route]]:
        """What the sockets are to send at `now`."""
        taken: list[tuple[Datagram, Route]] = []
        for outbox in self._outboxes.values():
            taken += outbox.take(now)
        return taken

    def last_datagrams(self) -> list[tuple[Datagram, Route]]:
        """All that waits for its turn, to be sent before the sockets are closed."""
        return [one for outbox in self._outboxes.values() for one in outbox.take_all()]

    def next_timer(self) -> float | None:
        """When `handle_timer`, or `datagrams_to_send`, has something to do if nothing comes before; None for never."""
        earliest = self._reassembler.next_timer()
        for outbox in self._outboxes.values():
            due = outbox.next_timer()
            if due is not None and (earliest is None or due < earliest):
                earliest = due
        return earliest

    def handle_timer(self, now: float) -> None:
        """Give up requests of which fragments are missing."""
        self._reassembler.expire(now)

    def next_request(self) -> Requested | None:
        """The next request to execute, in the order of their arrival; None when all have been told."""
        return self._requested.popleft() if self._requested else None

    @property
    def useful(self) -> int:
        """Datagrams that brought a request to execute nearer; but not its first fragment, since anybody can send that.

        Those of a request that had come before are among them.
        """
        return self.counts.taken + self._reassembler.counts.joined

    @property
    def size(self) -> int:
        """Bytes that all takes which is kept."""
        return self._table.size + self._reassembler.size + sum(outbox.size for outbox in self._outboxes.values())

    def _take(self, request: Message, source: Address, local: Address, now: float) -> None:
        if request.service_id != self._service_id:
            reason = f"service {request.service_id} is not served here, {self._service_id} is"
            self._send(_error(request, 404, reason), source, local)
            return
        ids = source[0], request.client_id, request.request_id
        verdict = self._table.admit(*ids, now)
        if verdict is Verdict.EXECUTE:
            deadline = now + request.deadline_ms / 1000 if request.deadline_ms else None
            self.counts.taken += 1
            self._requested.append(Requested(request, source, local, deadline))
            return
        self.counts.repeated += 1
        match verdict:
            case Verdict.RUNNING:
                self._send(fragments(request.ack()), source, local)
            case Verdict.ANSWERED:
                if (answer := self._table.answer(*ids, len(request.payload), now)) is not None:
                    self._send(answer, source, local)
            case Verdict.FORGOTTEN:
                self._send(_error(request, 410, "the request was taken before and its answer is gone"), source, local)

    def _send(self, datagrams: Sequence[Datagram], destination: Address, local: Address) -> None:
        outbox = self._outboxes.get(local)
        if outbox is None:
            outbox = self._outboxes[local] = Outbox(max_bytes=MAX_WAITING)
        outbox.put(datagrams, (destination, local), destination[0])


def _error(request: Message, status: int, reason: str) -> Sequence[Datagram]:
    return fragments(request.answer(status, reason.encode(), error=True))
