"""Calls of services from code that waits: a socket and the clock around `hitless.wire.calls`."""

from __future__ import annotations

import time
from typing import Self

from hitless.sockets import udp_socket
from hitless.wire.calls import Answered, Calls, DeadlinePassed, Endpoint, Response, random_client_id
from hitless.wire.invocation import MAX_DATAGRAM


class BlockingClient:
    """Calls services, one call at a time, over one UDP socket. Functions call upstream functions with it."""

    def __init__(self, client_id: int | None = None) -> None:
        """`client_id`: random unless given. Raises OSError when no socket can be had."""
        self.client_id = random_client_id() if client_id is None else client_id
        """Identifies this client to nodes and switches."""
        self._calls = Calls(self.client_id)
        self._socket = udp_socket()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the socket back."""
        self._socket.close()

    def invoke(self, endpoint: Endpoint, payload: bytes, deadline: float = 5.0, *, parent_id: int = 0) -> Response:
        """Call the service at `endpoint`, once, and wait for the answer, at most `deadline` seconds.

        Raises DeadlineExceeded, InvocationError for a payload that is too long, and OSError when this host cannot
        send. An error answer is a Response with `failed`.
        """
        request_id = self._calls.call(endpoint, payload, deadline, time.monotonic(), parent_id=parent_id)
        try:
            while True:
                self._send()
                self._receive()
                while (event := self._calls.next_event()) is not None:
                    match event:
                        case Answered(response):
                            return response
                        case DeadlinePassed(_, error):
                            raise error
        finally:
            self._calls.cancel(request_id)

    def _send(self) -> None:
        datagrams = self._calls.datagrams_to_send(time.monotonic())
        if datagrams:
            self._socket.settimeout(None)
            for datagram, destination in datagrams:
                self._socket.sendto(datagram, destination)

    def _receive(self) -> None:
        """Wait for a datagram, or for the time at which the call has something to do."""
        due = self._calls.next_timer()
        assert due is not None, "a call has a deadline"
        self._socket.settimeout(max(0.0, due - time.monotonic()))
        try:
            datagram, source = self._socket.recvfrom(MAX_DATAGRAM)
        except (TimeoutError, BlockingIOError):
            self._calls.handle_timer(time.monotonic())
        else:
            self._calls.datagram_received(datagram, source, time.monotonic())
