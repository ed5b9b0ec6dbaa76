"""The client's side of the invocation protocol: calls of services and what becomes of them. Sans-I/O.

A shell around `Calls` owns a socket and a clock. It hands over each datagram (`datagram_received`), sends what
`datagrams_to_send` gives, calls `handle_timer` when `next_timer` is due, and takes each `next_event`. All times are
seconds of one clock that does not step.
"""

from __future__ import annotations

import json
import secrets
from collections import deque
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from itertools import count

from hitless.wire.invocation import (
    Address,
    Datagram,
    Header,
    InvocationError,
    Message,
    Reassembler,
    decode_header,
    fragments,
)
from hitless.wire.pacing import Outbox, Pacer, Sending
from hitless.words import InvocationType

_IDLE_TIMERS = 64
"""Timers of calls that have ended which may lie about before they are cleared away."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where requests of a service are sent: its service address, or a node's own."""

    service_id: int
    address: str
    port: int

    @property
    def socket_address(self) -> Address:
        """As sockets take it."""
        return self.address, self.port


@dataclass(frozen=True, slots=True)
class Response:
    """The answer to one request."""

    request_id: int
    status: int
    """An HTTP status."""
    payload: bytes
    """The result; of a failed call the reason, as text."""
    failed: bool
    """Whether the node answered with an error in place of a result."""
    endpoint: Endpoint
    """Where the request was sent."""
    sent_ns: int
    """time.monotonic_ns before the first fragment went out."""
    received_ns: int
    """time.monotonic_ns when the last fragment was here."""

    def result(self) -> bytes:
        """The payload of a call that succeeded. Raises CallFailed."""
        if self.failed:
            raise CallFailed(self.status, _reason(self.payload))
        return self.payload


def _reason(payload: bytes) -> str:
    """Why a call failed: of an error in Lambda's form, its type and message."""
    text = payload.decode(errors="replace")
    try:
        said = json.loads(text)
        return f"{said['errorType']}: {said['errorMessage']}"
    except (ValueError, TypeError, KeyError, RecursionError):
        return text


class CallError(Exception):
    """A call without a result."""


class CallFailed(CallError):
    """The node answered with an error."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"status {status}: {reason}")
        self.status = status
        """The HTTP status of the answer."""


class DeadlineExceeded(CallError):
    """No answer within the deadline."""

    def __init__(self, request_id: int, endpoint: Endpoint, sent_ns: int, deadline: float) -> None:
        super().__init__(
            f"no answer to request {request_id} from {endpoint.address}:{endpoint.port} within {deadline:g} s"
        )
        self.request_id = request_id
        """The request that was not answered."""
        self.endpoint = endpoint
        """Where it was sent."""
        self.sent_ns = sent_ns
        """time.monotonic_ns before its first fragment went out."""


class UnknownEndpoint(CallError):
    """No endpoint of the service is known."""


@dataclass(frozen=True, slots=True)
class Answered:
    """A call has its answer; it has ended."""

    response: Response


@dataclass(frozen=True, slots=True)
class DeadlinePassed:
    """A call has no answer and will get none; it has ended."""

    request_id: int
    error: DeadlineExceeded


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """The node executes the request: it is not sent again."""

    request_id: int


@dataclass(frozen=True, slots=True)
class Stray:
    """The first fragment of an answer that no call waits for: late, a second one, or from elsewhere."""

    header: Header
    source: Address


@dataclass(frozen=True, slots=True)
class Malformed:
    """A datagram that is not the protocol's, or contradicts an earlier one; it changed nothing."""

    source: Address
    reason: str


Event = Answered | DeadlinePassed | Acknowledged | Stray | Malformed


@dataclass(slots=True, eq=False)
class _Call:
    endpoint: Endpoint
    address: Address
    request: Message
    sent_at: float
    deadline: float
    """Seconds from `sent_at`."""
    ends_at: float
    retry_after: float | None
    sending: Sending[Address]
    acknowledged: bool = False


class Calls:
    """The calls of one client, which has one socket.

    A datagram is a call's answer, or its acknowledgement, only if it names the client, the request and the service,
    comes from the address that the request went to, and is here before the deadline. A call ends once: with Answered,
    with DeadlinePassed, or when it is cancelled.
    """

    def __init__(self, client_id: int, *, first_request_id: int = 1, pacer: Pacer | None = None) -> None:
        """With a `client_id` that was used before, `first_request_id` must be larger than all that it used."""
        self.client_id = client_id
        """Identifies the client to nodes and switches."""
        self._request_ids = count(first_request_id)
        self._outbox: Outbox[Address] = Outbox(pacer)
        self._reassembler = Reassembler()
        self._calls: dict[int, _Call] = {}
        self._timers: list[tuple[float, int]] = []
        """A heap of times with the calls that have something to do then."""
        self._events: deque[Event] = deque()

    def __len__(self) -> int:
        """Calls that have not ended."""
        return len(self._calls)

    def call(
        self,
        endpoint: Endpoint,
        payload: bytes,
        deadline: float,
        now: float,
        *,
        parent_id: int = 0,
        retry_after: float | None = None,
    ) -> int:
        """Begin a call that ends `deadline` seconds from `now`; its request id.

        The request is sent once, unless `retry_after` is given: then every so many seconds again, under the same id,
        until the node acknowledges or answers it. Raises InvocationError for a payload that is too long.
        """
        if retry_after is not None and retry_after <= 0:
            raise ValueError(f"retry_after is {retry_after:g} s, expected more than 0")
        request = Message(
            InvocationType.REQUEST,
            endpoint.service_id,
            self.client_id,
            next(self._request_ids),
            payload,
            parent_id,
            _deadline_ms(deadline),
            once=retry_after is None,
        )
        request_id, address, ends_at = request.request_id, endpoint.socket_address, now + deadline
        sending = self._outbox.put(fragments(request), address)
        self._calls[request_id] = _Call(endpoint, address, request, now, deadline, ends_at, retry_after, sending)
        heappush(self._timers, (ends_at, request_id))
        if retry_after is not None:
            heappush(self._timers, (now + retry_after, request_id))
        return request_id

    def cancel(self, request_id: int) -> None:
        """End a call without an event, if it has not ended: nobody waits for its answer any more."""
        if request_id in self._calls:
            self._end(request_id)

    def datagram_received(self, datagram: Datagram, source: Address, now: float) -> None:
        """Take what the socket received from `source`."""
        try:
            header = decode_header(datagram)
            call = self._calls.get(header.request_id)
            if call is not None and now >= call.ends_at:
                self._pass_deadline(call)
                call = None
            if (
                call is None
                or header.client_id != self.client_id
                or source != call.address
                or header.service_id != call.endpoint.service_id
                or header.type == InvocationType.REQUEST
            ):
                if header.fragment_index == 0 and header.type != InvocationType.ACK:
                    self._events.append(Stray(header, source))
                return
            if header.type == InvocationType.ACK:
                self._acknowledge(call)
                return
            answer = self._reassembler.add(header, datagram, source, now)
        except InvocationError as error:
            self._events.append(Malformed(source, str(error)))
            return
        if answer is not None:
            self._answer(call, answer, now)

    def datagrams_to_send(self, now: float) -> list[tuple[Datagram, Address]]:
        """What the socket is to send at `now`, each datagram with its destination."""
        return self._outbox.take(now)

    def next_timer(self) -> float | None:
        """When `handle_timer`, or `datagrams_to_send`, has something to do if nothing comes before; None for never."""
        timers = self._timers
        while timers and timers[0][1] not in self._calls:
            heappop(timers)
        earliest = timers[0][0] if timers else None
        for other in (self._outbox.next_timer(), self._reassembler.next_timer()):
            if other is not None and (earliest is None or other < earliest):
                earliest = other
        return earliest

    def handle_timer(self, now: float) -> None:
        """End the calls whose deadline has passed, send again what is due."""
        self._reassembler.expire(now)
        timers = self._timers
        while timers and timers[0][0] <= now:
            call = self._calls.get(heappop(timers)[1])
            if call is None:
                continue
            if now >= call.ends_at:
                self._pass_deadline(call)
            elif call.retry_after is not None and not call.acknowledged:
                self._send_again(call, now + call.retry_after)

    def next_event(self) -> Event | None:
        """What has happened since, oldest first; None when all has been told."""
        return self._events.popleft() if self._events else None

    def _acknowledge(self, call: _Call) -> None:
        if not call.acknowledged:
            call.acknowledged = True
            self._events.append(Acknowledged(call.request.request_id))

    def _answer(self, call: _Call, answer: Message, now: float) -> None:
        self._end(answer.request_id)
        response = Response(
            answer.request_id,
            answer.status,
            answer.payload,
            answer.type is InvocationType.ERROR,
            call.endpoint,
            _nanoseconds(call.sent_at),
            _nanoseconds(now),
        )
        self._events.append(Answered(response))

    def _pass_deadline(self, call: _Call) -> None:
        request_id = call.request.request_id
        self._end(request_id)
        error = DeadlineExceeded(request_id, call.endpoint, _nanoseconds(call.sent_at), call.deadline)
        self._events.append(DeadlinePassed(request_id, error))

    def _send_again(self, call: _Call, next_at: float) -> None:
        # What has not left yet would only be sent twice in a row.
        if call.sending.done:
            call.request = call.request._replace(attempt=min(call.request.attempt + 1, 0xFF))
            call.sending = self._outbox.put(fragments(call.request), call.address)
        heappush(self._timers, (next_at, call.request.request_id))

    def _end(self, request_id: int) -> None:
        self._calls.pop(request_id).sending.cancel()
        if len(self._timers) > 2 * len(self._calls) + _IDLE_TIMERS:
            self._timers[:] = [timer for timer in self._timers if timer[1] in self._calls]
            heapify(self._timers)


def random_client_id() -> int:
    """An identity for a client that need not be known by a fixed one: its request ids may begin at 1."""
    return secrets.randbits(32)


def _deadline_ms(deadline: float) -> int:
    """A deadline in seconds as the header carries it: whole milliseconds, at least 1, as many as fit."""
    return min(max(1, round(deadline * 1000)), 0xFFFFFFFF)


def _nanoseconds(seconds: float) -> int:
    return round(seconds * 1e9)
