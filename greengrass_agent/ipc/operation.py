"""An operation of Greengrass's interprocess communication, as the server calls it.

Names, shapes and fields are those of the AWS IoT Device SDK's model (`awsiot/greengrasscoreipc/model.py`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

Json = dict[str, Any]
"""A shape as the SDK writes it into a message: bytes are base64 text."""


class IpcError(Exception):
    """An operation is refused, and the client is told so by one of the SDK's errors."""

    def __init__(self, code: str, message: str, **fields: Any) -> None:
        """`code` is the error's shape without its namespace, such as `ResourceNotFoundError`, `InvalidArgumentsError`
        or `ServiceError`; `fields` are what the shape has beside its message.
        """
        super().__init__(message)
        self.code = code
        self.message = message
        self.fields = fields


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks."""

    component: str
    """The name of the component that has connected."""
    launch: int
    """Which start of it."""


class Stream(Protocol):
    """What stays open after the response, of an operation that has events."""

    def send(self, event: Json) -> None:
        """Tell the client of an event; does nothing after the client has gone."""

    def closed(self, call: Callable[[], None]) -> None:
        """Have this called once when the client, its process or its component has gone; at once if it has."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation that the node serves."""

    name: str
    """With its namespace: `aws.greengrass#GetConfiguration`."""
    call: Callable[[Caller, Json, Stream], Awaitable[Json]]
    """Takes the request and gives the response, each without a type. Raises IpcError."""
    event: str | None = None
    """Shape of the stream's events, such as `aws.greengrass#ConfigurationUpdateEvents`; None: it has no stream."""
    resource: Callable[[Json], str] | None = None
    """What of the request `accessControl` must allow. Raises IpcError where the request does not say. None: whoever
    has connected may ask for it."""
    service: str | None = None
    """Section of `accessControl` that must allow it, such as `aws.greengrass.ipc.pubsub`."""
