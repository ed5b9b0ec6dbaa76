"""A node's end of the invocation protocol on loopback, for tests of the clients: real sockets, at-most-once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Self

from hitless.sockets import udp_socket
from hitless.wire.at_most_once import RequestTable, Verdict
from hitless.wire.invocation import InvocationError, Message, Reassembler, fragments

Handler = Callable[[Message], Message | None]
"""Makes the answer to a request; None for no answer."""


def echo(request: Message) -> Message:
    """Answers with the payload."""
    return request.answer(200, request.payload)


class Peer:
    """Serves on a port of 127.0.0.1 from a thread of its own, one request at a time."""

    def __init__(self, handler: Handler = echo, *, drop: Callable[[int], bool] = lambda _: False) -> None:
        """`drop` says of the n-th datagram that arrives whether it is lost."""
        self.executed: list[Message] = []
        """Requests in the order of their execution."""
        self._handler = handler
        self._drop = drop
        self._socket = udp_socket("127.0.0.1")
        self._socket.settimeout(0.02)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self._arrived = 0
        self._reassembler = Reassembler()
        self._table = RequestTable()

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
            try:
                datagram, source = self._socket.recvfrom(2048)
            except TimeoutError:
                continue
            self._arrived += 1
            if self._drop(self._arrived):
                continue
            try:
                request = self._reassembler.receive(datagram, source, time.monotonic())
            except InvocationError:
                continue
            if request is not None:
                self._take(request, source)

    def _take(self, request: Message, source: tuple[str, int]) -> None:
        ids = request.client_id, request.request_id
        match self._table.admit(*ids, time.monotonic()):
            case Verdict.EXECUTE:
                self.executed.append(request)
                answer = self._handler(request)
                if answer is not None:
                    datagrams = fragments(answer)
                    self._table.finish(*ids, datagrams, time.monotonic())
                    for datagram in datagrams:
                        self._socket.sendto(datagram, source)
            case Verdict.ANSWERED:
                for kept in self._table.answer(*ids):
                    self._socket.sendto(kept, source)
            case _:
                self.send(request.ack(), source)
