"""The client library: calls services over the invocation protocol from asyncio.

One UDP socket. A request is sent once, to the endpoint that its service has at that moment; its answer is taken from
that endpoint alone, also when the service has moved on to another one meanwhile.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Self

from hitless.client.endpoints import Endpoints
from hitless.sockets import udp_socket
from hitless.wire.call import Address, DeadlineExceeded, Endpoint, Response, deadline_ms, random_client_id
from hitless.wire.invocation import (
    FRAGMENT_PAYLOAD,
    HEADER_SIZE,
    Header,
    InvocationError,
    Message,
    MessageType,
    Reassembler,
    decode_header,
    fragments,
)
from hitless.wire.pacing import Pacer

_DATAGRAM = HEADER_SIZE + FRAGMENT_PAYLOAD + 1
_READS_A_WAKE = 64
_FULL_BUFFER_WAIT = 0.001
_EXPIRE_EVERY = 1.0

StrayHandler = Callable[[Header, Address], None]


@dataclass(slots=True)
class ClientCounts:
    """What a client has received beside the answers it waited for."""

    malformed: int = 0
    """Datagrams that are not the protocol's, or contradict one another."""
    stray: int = 0
    """Answers nobody waits for: late, second ones, or not from where the request was sent."""


@dataclass(slots=True)
class _Pending:
    endpoint: Endpoint
    answer: asyncio.Future[tuple[Message, int]]
    acknowledged: bool = False


class Client:
    """Calls services. Use as `async with Client(endpoints) as client`."""

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
        self._request_ids = itertools.count(first_request_id)
        self._address = address
        self._pacer = pacer or Pacer()
        self._on_stray = on_stray
        self._reassembler = Reassembler()
        self._pending: dict[int, _Pending] = {}

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._socket = udp_socket(self._address)
        self._socket.setblocking(False)
        self._loop.add_reader(self._socket, self._readable)
        self._expiry = self._loop.call_later(_EXPIRE_EVERY, self._expire)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._expiry.cancel()
        self._loop.remove_reader(self._socket)
        self._socket.close()
        for pending in self._pending.values():
            pending.answer.cancel()

    @property
    def in_flight(self) -> int:
        """Requests that wait for their answers."""
        return len(self._pending)

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
        message = Message(
            MessageType.REQUEST,
            endpoint.service_id,
            self.client_id,
            next(self._request_ids),
            payload,
            parent_id,
            deadline_ms(deadline),
        )
        datagrams = fragments(message)
        pending = _Pending(endpoint, self._loop.create_future())
        self._pending[message.request_id] = pending
        sent_ns = time.monotonic_ns()
        try:
            async with asyncio.timeout(deadline):
                await self._send(datagrams, endpoint.socket_address)
                while retry_after is not None and not pending.acknowledged:
                    if (await asyncio.wait((pending.answer,), timeout=retry_after))[0] or pending.acknowledged:
                        break
                    message = replace(message, attempt=min(message.attempt + 1, 0xFF))
                    await self._send(fragments(message), endpoint.socket_address)
                answer, received_ns = await pending.answer
        except TimeoutError:
            raise DeadlineExceeded(message.request_id, endpoint, sent_ns, deadline) from None
        finally:
            del self._pending[message.request_id]
        return Response(
            message.request_id,
            answer.status,
            answer.payload,
            answer.type == MessageType.ERROR,
            endpoint,
            sent_ns,
            received_ns,
        )

    async def _send(self, datagrams: Sequence[memoryview], address: Address) -> None:
        sent = 0
        while True:
            burst = self._pacer.take(len(datagrams) - sent, time.monotonic())
            for datagram in datagrams[sent : sent + burst]:
                await self._send_one(datagram, address)
            sent += burst
            if sent == len(datagrams):
                return
            await asyncio.sleep(self._pacer.wait())

    async def _send_one(self, datagram: memoryview, address: Address) -> None:
        while True:
            try:
                self._socket.sendto(datagram, address)
                return
            except BlockingIOError:
                # The link is slower than the pacer: the socket's buffer drains in its own time.
                await asyncio.sleep(_FULL_BUFFER_WAIT)

    def _readable(self) -> None:
        for _ in range(_READS_A_WAKE):
            try:
                datagram, source = self._socket.recvfrom(_DATAGRAM)
            except BlockingIOError:
                return
            self._take(datagram, source)

    def _take(self, datagram: bytes, source: Address) -> None:
        try:
            header = decode_header(datagram)
            pending = self._pending.get(header.request_id)
            if (
                pending is None
                or header.client_id != self.client_id
                or source != pending.endpoint.socket_address
                or header.type == MessageType.REQUEST
                or pending.answer.done()
            ):
                self._stray(header, source)
                return
            if header.type == MessageType.ACK:
                pending.acknowledged = True
                return
            answer = self._reassembler.add(header, datagram, source, time.monotonic())
        except InvocationError:
            self.counts.malformed += 1
            return
        if answer is not None:
            pending.answer.set_result((answer, time.monotonic_ns()))

    def _stray(self, header: Header, source: Address) -> None:
        if header.fragment_index == 0 and header.type != MessageType.ACK:
            self.counts.stray += 1
            if self._on_stray is not None:
                self._on_stray(header, source)

    def _expire(self) -> None:
        self._reassembler.expire(time.monotonic())
        self._expiry = self._loop.call_later(_EXPIRE_EVERY, self._expire)
