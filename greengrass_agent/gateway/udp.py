"""The invocation protocol at the gateway: sockets and the clock around `hitless.wire.serving`."""

from __future__ import annotations

import asyncio
import functools
import logging
import socket
import time
from collections.abc import Callable, Iterable, Sequence

from greengrass_agent.gateway.gathered import Gathered
from greengrass_agent.gateway.job import Answer, Job
from hitless.alarm import Alarm
from hitless.sockets import udp_socket
from hitless.wire.invocation import MAX_PAYLOAD, Address, Datagram
from hitless.wire.serving import Malformed, Requested, Route, Serving

log = logging.getLogger(__name__)

BATCH = 64
"""Datagrams read before other work has its turn."""
_RECEIVE = 65535


class UdpServer:
    """Serves one service on one or more addresses; an answer leaves from the address that was asked."""

    def __init__(self, service_id: int, timeout_ns: Callable[[], int], submit: Callable[[Job], None]) -> None:
        """`timeout_ns` gives the service's time limit, `submit` takes each request, once."""
        self._timeout_ns = timeout_ns
        self._submit = submit
        self._serving = Serving(service_id)
        self._sockets: dict[Address, socket.socket] = {}
        self._loop = asyncio.get_running_loop()
        self._reading = False
        self._alarm = Alarm(self._due)

    def open(self, addresses: Sequence[str], port: int) -> None:
        """Listen. Raises OSError, also when an address is not the node's."""
        for address in addresses:
            sock = udp_socket(address, port)
            sock.setblocking(False)
            local: Address = sock.getsockname()
            self._sockets[local] = sock
            self._loop.add_reader(sock, self._readable, sock, local)

    def ports(self) -> list[Address]:
        """The addresses and ports at which it listens."""
        return list(self._sockets)

    def pause(self) -> None:
        """Take nothing new; answers still leave."""
        for sock in self._sockets.values():
            self._loop.remove_reader(sock)

    def close(self) -> None:
        """Close the sockets; answers that wait for their turn are sent at once."""
        self.pause()
        self._alarm.cancel()
        self._transmit(self._serving.last_datagrams())
        for sock in self._sockets.values():
            sock.close()

    def _readable(self, sock: socket.socket, local: Address) -> None:
        self._reading = True
        for _ in range(BATCH):
            try:
                datagram, source = sock.recvfrom(_RECEIVE)
            except BlockingIOError:
                break
            except OSError as error:
                # An ICMP error for an answer that we sent: its client has gone.
                log.debug("%s:%d: %s", *local, error)
                continue
            self._serving.datagram_received(datagram, source, local, time.monotonic())
            while (event := self._serving.next_event()) is not None:
                match event:
                    case Requested():
                        self._execute(event)
                    case Malformed(sender, reason):
                        log.debug("datagram from %s:%d dropped: %s", *sender, reason)
        self._reading = False
        self._send()

    def _execute(self, requested: Requested) -> None:
        request, received_ns = requested.request, time.monotonic_ns()
        deadline_ns = received_ns + self._timeout_ns()
        if requested.deadline is not None:
            deadline_ns = min(deadline_ns, round(requested.deadline * 1e9))
        client = Gathered(functools.partial(self._answer, requested), MAX_PAYLOAD)
        client.job = Job(
            request.client_id,
            request.request_id,
            request.parent_id,
            request.payload,
            None,
            received_ns,
            deadline_ns,
            client,
            requested.source[0],
        )
        self._submit(client.job)

    def _answer(self, requested: Requested, answer: Answer) -> None:
        self._serving.answer(requested, answer.status, answer.body, time.monotonic(), failed=answer.failed)
        if not self._reading:
            self._send()

    def _send(self) -> None:
        now = time.monotonic()
        self._transmit(self._serving.datagrams_to_send(now))
        self._alarm.set(self._serving.next_timer(), now)

    def _due(self) -> None:
        self._serving.handle_timer(time.monotonic())
        self._send()

    def _transmit(self, outgoing: Iterable[tuple[Datagram, Route]]) -> None:
        for datagram, (client, local) in outgoing:
            try:
                self._sockets[local].sendto(datagram, client)
            except OSError as error:
                log.warning("answer to %s:%d not sent: %s", *client, error)
