"""One call of a service: where it goes, what comes back, how it fails."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

Address = tuple[str, int]
"""IPv4 address and UDP port."""


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
            raise CallFailed(self.status, self.payload.decode(errors="replace"))
        return self.payload


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


def random_client_id() -> int:
    """An identity for a client that need not be known by a fixed one: its request ids may begin at 1."""
    return secrets.randbits(32)


def deadline_ms(deadline: float) -> int:
    """A deadline in seconds as the header carries it: whole milliseconds, at least 1, as many as fit."""
    return min(max(1, round(deadline * 1000)), 0xFFFFFFFF)
