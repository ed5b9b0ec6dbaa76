"""Calls of services from asyncio: a socket and the loop's clock around `hitless.wire.calls`."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from hitless.alarm import Alarm
from hitless.client.endpoints import Endpoints
from hitless.sockets import udp_socket
from hitless.wire.calls import (
    Acknowledged,
    Answered,
    Calls,
    DeadlinePassed,
    Malformed,
    Response,
    Stray,
    random_client_id,
)
from hitless.wire.invocation import MAX_DATAGRAM, Address, Datagram, Header, decode_header
from hitless.wire.pacing import Pacer

_READS_A_WAKE = 64

StrayHandler = Callable[[Header, Address], None]


@dataclass(slots=True)
class ClientCounts:
    """What a client has received beside the answers it waited for."""

    malformed: int = 0
    """Datagrams that are not the protocol's, or contradict one another."""
    stray: int = 0
    """Answers nobody waits for: late, second ones, or not from where the request was sent."""


class Client:
    """Calls services. Use as `async with Client(endpoints) as client`.

    A request is sent to the endpoint that its service has at that moment; its answer is taken from that endpoint
    alone, also when the service has moved on to another one meanwhile.
    """

    def __init__(
        self,
        endpoints: Endpoints,
        *,
        client_id: int | None = None,
        first_request_id: int = 1,
        address: str = "0.0.0.0",
        pacer: Pacer | None = None,
        on_stray: StrayHandler | None = None,
    ) -> None:
        """`client_id`: random unless given; with a fixed one, `first_request_id` must be larger than all used before.

        `on_stray` is called with the first fragment's header of each answer that nobody waits for.
        """
        self.endpoints = endpoints
        """Where requests go; changes count from the next request on."""
        self.client_id = random_client_id() if client_id is None else client_id
        """Identifies this client to nodes and switches."""
        self.counts = ClientCounts()
        """What came in beside the answers."""
        self._calls = Calls(self.client_id, first_request_id=first_request_id, pacer=pacer)
        self._address = address
        self._on_stray = on_stray
        self._waiting: dict[int, asyncio.Future[Response]] = {}
        self._unsent: deque[tuple[Datagram, Address]] = deque()
        """What the socket had no room for."""
        self._alarm = Alarm(self._due)

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._socket = udp_socket(self._address)
        self._socket.setblocking(False)
        self._loop.add_reader(self._socket, self._readable)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._alarm.cancel()
        self._loop.remove_reader(self._socket)
        self._socket.close()
        for waiter in self._waiting.values():
            waiter.cancel()

    @property
    def in_flight(self) -> int:
        """Requests that wait for their answers."""
        return len(self._waiting)

    async def invoke(
        self,
        service: str,
        payload: bytes,
        deadline: float = 5.0,
        *,
        parent_id: int = 0,
        retry_after: float | None = None,
    ) -> Response:
        """Call a service and wait for the answer, at most `deadline` seconds.

        The request is sent once, unless `retry_after` is given: then every so many seconds again, under the same
        request id, until the node acknowledges or answers it.

        Raises UnknownEndpoint, DeadlineExceeded, InvocationError for a payload that is too long, and OSError when
        this host cannot send. An error answer is a Response with `failed`.
        """
        endpoint = self.endpoints.current(service)
        now = time.monotonic()
        request_id = self._calls.call(endpoint, payload, deadline, now, parent_id=parent_id, retry_after=retry_after)
        waiter: asyncio.Future[Response] = self._loop.create_future()
        self._waiting[request_id] = waiter
        try:
            self._send(now)
            return await waiter
        finally:
            del self._waiting[request_id]
            self._calls.cancel(request_id)

    def _readable(self) -> None:
        for _ in range(_READS_A_WAKE):
            try:
                datagram, source = self._socket.recvfrom(MAX_DATAGRAM)
            except BlockingIOError:
                break
            self._calls.datagram_received(datagram, source, time.monotonic())
        self._tell()

    def _due(self) -> None:
        now = time.monotonic()
        self._calls.handle_timer(now)
        self._tell()
        self._send(now)

    def _tell(self) -> None:
        while (event := self._calls.next_event()) is not None:
            match event:
                case Answered(response):
                    self._conclude(response.request_id, response)
                case DeadlinePassed(request_id, error):
                    self._conclude(request_id, error)
                case Stray(header, source):
                    self.counts.stray += 1
                    if self._on_stray is not None:
                        self._on_stray(header, source)
                case Malformed():
                    self.counts.malformed += 1
                case Acknowledged():
                    pass

    def _conclude(self, request_id: int, outcome: Response | Exception) -> None:
        waiter = self._waiting.get(request_id)
        if waiter is None or waiter.done():
            return
        if isinstance(outcome, Response):
            waiter.set_result(outcome)
        else:
            waiter.set_exception(outcome)

    def _send(self, now: float) -> None:
        unsent = self._unsent
        unsent.extend(self._calls.datagrams_to_send(now))
        while unsent:
            datagram, destination = unsent[0]
            try:
                self._socket.sendto(datagram, destination)
            except BlockingIOError:
                # The link is slower than the pacer: the socket's buffer drains in its own time, the alarm tries again.
                break
            except OSError as error:
                self._conclude(decode_header(datagram).request_id, error)
            unsent.popleft()
        self._alarm.set(now if unsent else self._calls.next_timer(), now)
