"""The invocation protocol at the gateway: sockets, fragments, at-most-once, paced answers."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections import deque
from collections.abc import Callable, Sequence

from greengrass_agent.gateway.dispatch import Answer, Job
from hitless.sockets import udp_socket
from hitless.wire.at_most_once import Datagram, RequestTable, Verdict
from hitless.wire.call import Address
from hitless.wire.invocation import InvocationError, Message, MessageType, Reassembler, fragments
from hitless.wire.pacing import Pacer

log = logging.getLogger(__name__)

BATCH = 64
"""Datagrams read before other work has its turn."""
_RECEIVE = 65535


class UdpServer:
    """Serves one service on one or more addresses; an answer leaves from the address that was asked."""

    def __init__(self, service_id: int, timeout_ns: Callable[[], int], submit: Callable[[Job], None]) -> None:
        self._service_id = service_id
        self._timeout_ns = timeout_ns
        self._submit = submit
        self._table = RequestTable()
        self._reassembler = Reassembler()
        self._listeners: list[_Listener] = []

    def open(self, addresses: Sequence[str], port: int) -> None:
        """Listen. Raises OSError, also when an address is not the node's."""
        for address in addresses:
            self._listeners.append(_Listener(udp_socket(address, port), self._received))

    def ports(self) -> list[Address]:
        """The addresses and ports at which it listens."""
        return [listener.address for listener in self._listeners]

    def pause(self) -> None:
        """Take nothing new; answers still leave."""
        for listener in self._listeners:
            listener.pause()

    def close(self) -> None:
        """Close the sockets; answers that wait for their turn are sent at once."""
        for listener in self._listeners:
            listener.close()

    def tick(self, now: float) -> None:
        """Give up incomplete requests; call a few times a second with time.monotonic."""
        self._reassembler.expire(now)

    def _received(self, listener: _Listener, datagram: bytes, source: Address) -> None:
        now = time.monotonic()
        try:
            message = self._reassembler.receive(datagram, source, now)
        except InvocationError as error:
            log.debug("datagram from %s:%d dropped: %s", *source, error)
            return
        if message is None or message.type is not MessageType.REQUEST:
            return
        if message.service_id != self._service_id:
            reason = f"service {message.service_id} is not served here, {self._service_id} is"
            listener.send(_error(message, 404, reason), source)
            return
        self._request(listener, message, source, now)

    def _request(self, listener: _Listener, message: Message, source: Address, now: float) -> None:
        match self._table.admit(message.client_id, message.request_id, now):
            case Verdict.EXECUTE:
                self._execute(listener, message, source)
            case Verdict.RUNNING:
                listener.send(fragments(message.ack()), source)
            case Verdict.ANSWERED:
                listener.send(self._table.answer(message.client_id, message.request_id), source)
            case Verdict.FORGOTTEN:
                listener.send(_error(message, 410, "the request was taken before and its answer is gone"), source)
            case Verdict.REFUSED:
                listener.send(_error(message, 503, "too many clients"), source)

    def _execute(self, listener: _Listener, message: Message, source: Address) -> None:
        def answer(outcome: Answer) -> None:
            reply = message.answer(outcome.status, outcome.body, error=outcome.failed)
            try:
                datagrams: Sequence[Datagram] = fragments(reply)
            except InvocationError as error:
                datagrams = _error(message, 500, f"the function's result cannot be sent: {error}")
            self._table.finish(message.client_id, message.request_id, datagrams, time.monotonic())
            listener.send(datagrams, source)

        received_ns = time.monotonic_ns()
        limit_ns = self._timeout_ns()
        if message.deadline_ms:
            limit_ns = min(limit_ns, message.deadline_ms * 1_000_000)
        self._submit(
            Job(
                message.client_id,
                message.request_id,
                message.parent_id,
                message.payload,
                None,
                received_ns,
                received_ns + limit_ns,
                answer,
            )
        )


class _Listener:
    """A socket: reads in batches, sends paced."""

    def __init__(self, sock: socket.socket, received: Callable[[_Listener, bytes, Address], None]) -> None:
        sock.setblocking(False)
        self.address: Address = sock.getsockname()
        self._sock = sock
        self._received = received
        self._pacer = Pacer()
        self._waiting: deque[tuple[Datagram, Address]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(sock, self._readable)

    def send(self, datagrams: Sequence[Datagram], destination: Address) -> None:
        """Send an answer, now or when its turn comes."""
        self._waiting.extend((datagram, destination) for datagram in datagrams)
        if self._timer is None:
            self._flush()

    def pause(self) -> None:
        """Read no more."""
        self._loop.remove_reader(self._sock)

    def close(self) -> None:
        """Send what waits and close."""
        self.pause()
        if self._timer is not None:
            self._timer.cancel()
        while self._waiting:
            self._transmit(*self._waiting.popleft())
        self._sock.close()

    def _readable(self) -> None:
        for _ in range(BATCH):
            try:
                datagram, source = self._sock.recvfrom(_RECEIVE)
            except BlockingIOError:
                return
            except OSError as error:
                # An ICMP error for an answer that we sent: its client has gone.
                log.debug("%s:%d: %s", *self.address, error)
                continue
            self._received(self, datagram, source)

    def _flush(self) -> None:
        self._timer = None
        for _ in range(self._pacer.take(len(self._waiting), self._loop.time())):
            self._transmit(*self._waiting.popleft())
        if self._waiting:
            self._timer = self._loop.call_later(max(self._pacer.wait(), 0.001), self._flush)

    def _transmit(self, datagram: Datagram, destination: Address) -> None:
        try:
            self._sock.sendto(datagram, destination)
        except OSError as error:
            log.warning("answer to %s:%d not sent: %s", *destination, error)


def _error(message: Message, status: int, reason: str) -> Sequence[Datagram]:
    return fragments(message.answer(status, reason.encode(), error=True))
