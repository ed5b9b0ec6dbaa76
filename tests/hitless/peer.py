"""A node's end of the invocation protocol on loopback, for tests of the clients: a real socket around the engine."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Self

from hitless.sockets import udp_socket
from hitless.wire.invocation import Message, fragments
from hitless.wire.serving import Requested, Serving
from hitless.words import InvocationType

POLL = 0.02
"""Seconds after which it looks whether it is to stop."""
Handler = Callable[[Message], Message | None]
"""Makes the answer to a request; None for no answer."""


def echo(request: Message) -> Message:
    """Answers with the payload."""
    return request.answer(200, request.payload)


class Peer:
    """Serves on a port of 127.0.0.1 from a thread of its own, one request at a time."""

    def __init__(
        self, handler: Handler = echo, *, drop: Callable[[int], bool] = lambda _: False, service_id: int = 1
    ) -> None:
        """`drop` says of the n-th datagram that arrives whether it is lost."""
        self.executed: list[Message] = []
        """Requests in the order of their execution."""
        self._handler = handler
        self._drop = drop
        self._socket = udp_socket("127.0.0.1")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self._arrived = 0
        self._serving = Serving(service_id)

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        address: tuple[str, int] = self._socket.getsockname()
        return address

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._socket.close()

    @property
    def arrived(self) -> int:
        """Datagrams that have come, lost ones included."""
        return self._arrived

    def send(self, message: Message, to: tuple[str, int]) -> None:
        """Send a message nobody asked for."""
        for datagram in fragments(message):
            self._socket.sendto(datagram, to)

    def _serve(self) -> None:
        while not self._stop.is_set():
            due = self._serving.next_timer()
            self._socket.settimeout(POLL if due is None else min(max(due - time.monotonic(), 0.0001), POLL))
            try:
                datagram, source = self._socket.recvfrom(2048)
            except TimeoutError:
                self._send()
                continue
            self._arrived += 1
            if self._drop(self._arrived):
                continue
            self._serving.datagram_received(datagram, source, self.address, time.monotonic())
            while (requested := self._serving.next_request()) is not None:
                self._execute(requested)
            self._send()

    def _send(self) -> None:
        for datagram, (client, _) in self._serving.datagrams_to_send(time.monotonic()):
            self._socket.sendto(datagram, client)

    def _execute(self, requested: Requested) -> None:
        self.executed.append(requested.request)
        answer = self._handler(requested.request)
        if answer is not None:
            failed = answer.type is InvocationType.ERROR
            self._serving.answer(requested, answer.status, answer.payload, time.monotonic(), failed=failed)
