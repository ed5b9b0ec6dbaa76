"""Calls of services from code that waits: functions call upstream functions with it."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from typing import Self

from hitless.sockets import udp_socket
from hitless.wire.call import Address, DeadlineExceeded, Endpoint, Response, deadline_ms, random_client_id
from hitless.wire.invocation import (
    FRAGMENT_PAYLOAD,
    HEADER_SIZE,
    InvocationError,
    Message,
    MessageType,
    Reassembler,
    decode_header,
    fragments,
)
from hitless.wire.pacing import Pacer

_DATAGRAM = HEADER_SIZE + FRAGMENT_PAYLOAD + 1


class BlockingClient:
    """Calls services, one call at a time, over one UDP socket."""

    def __init__(self, client_id: int | None = None) -> None:
        """`client_id`: random unless given. Raises OSError when no socket can be had."""
        self.client_id = random_client_id() if client_id is None else client_id
        """Identifies this client to nodes and switches."""
        self._request_ids = itertools.count(1)
        self._pacer = Pacer()
        self._reassembler = Reassembler()
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
        request = Message(
            MessageType.REQUEST,
            endpoint.service_id,
            self.client_id,
            next(self._request_ids),
            payload,
            parent_id,
            deadline_ms(deadline),
        )
        datagrams = fragments(request)
        until = time.monotonic() + deadline
        sent_ns = time.monotonic_ns()
        self._send(datagrams, endpoint.socket_address)
        while (left := until - time.monotonic()) > 0:
            self._socket.settimeout(left)
            try:
                datagram, source = self._socket.recvfrom(_DATAGRAM)
            except TimeoutError:
                break
            answer = self._take(datagram, source, request, endpoint)
            if answer is not None:
                failed = answer.type == MessageType.ERROR
                return Response(
                    request.request_id, answer.status, answer.payload, failed, endpoint, sent_ns, time.monotonic_ns()
                )
        self._reassembler.expire(time.monotonic())
        raise DeadlineExceeded(request.request_id, endpoint, sent_ns, deadline)

    def _send(self, datagrams: Sequence[memoryview], address: Address) -> None:
        self._socket.settimeout(None)
        sent = 0
        while sent < len(datagrams):
            burst = self._pacer.take(len(datagrams) - sent, time.monotonic())
            for datagram in datagrams[sent : sent + burst]:
                self._socket.sendto(datagram, address)
            sent += burst
            if sent < len(datagrams):
                time.sleep(self._pacer.wait())

    def _take(self, datagram: bytes, source: Address, request: Message, endpoint: Endpoint) -> Message | None:
        """The answer to `request`, when `datagram` completes it; anything else on the socket is old or foreign."""
        try:
            header = decode_header(datagram)
            if (
                header.request_id != request.request_id
                or header.client_id != self.client_id
                or source != endpoint.socket_address
                or header.type not in (MessageType.RESPONSE, MessageType.ERROR)
            ):
                return None
            return self._reassembler.add(header, datagram, source, time.monotonic())
        except InvocationError:
            return None
