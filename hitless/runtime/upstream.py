"""Calls from a function to the services it builds on, at the endpoints of its component's configuration."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar, Token
from typing import Any, NamedTuple

from hitless.client.blocking import BlockingClient
from hitless.component.endpoint import ServiceEndpoint
from hitless.runtime.context import Context
from hitless.wire.calls import DeadlineExceeded, Endpoint, Response, UnknownEndpoint


class _Current(NamedTuple):
    client: BlockingClient
    context: Context
    request_id: int


_current: ContextVar[_Current] = ContextVar("current invocation")


def enter(client: BlockingClient, context: Context, request_id: int) -> Token[_Current]:
    """Let `invoke` call on behalf of this request until `leave`."""
    return _current.set(_Current(client, context, request_id))


def leave(invocation: Token[_Current]) -> None:
    """End what `enter` began."""
    _current.reset(invocation)


def invoke(service: str, payload: bytes, timeout: float | None = None) -> Response:
    """Call an upstream service on behalf of the request in hand, and wait for the answer.

    The endpoint is `endpoints.{service}` of the component's configuration as it is for this request. Waits `timeout`
    seconds, and never longer than the client of the request in hand does.

    Raises UnknownEndpoint, DeadlineExceeded, InvocationError for a payload that is too long, OSError when the node
    cannot send, and RuntimeError outside a handler. An error answer is a Response with `failed`.
    """
    try:
        current = _current.get()
    except LookupError:
        raise RuntimeError("invoke works while a handler runs, in its own thread") from None
    endpoint = endpoint_of(service, current.context.configuration)
    left = current.context.get_remaining_time_in_millis() / 1000
    if left <= 0:
        raise DeadlineExceeded(0, endpoint, 0, 0.0)
    deadline = left if timeout is None else min(timeout, left)
    return current.client.invoke(endpoint, payload, deadline, parent_id=current.request_id)


def endpoint_of(service: str, configuration: Mapping[str, Any]) -> Endpoint:
    """The endpoint of an upstream service in a component's configuration. Raises UnknownEndpoint."""
    entry = configuration.get("endpoints", {}).get(service)
    if entry is None:
        raise UnknownEndpoint(f"the component's configuration has no endpoints.{service}")
    try:
        found = ServiceEndpoint.read(entry)
    except ValueError as error:
        raise UnknownEndpoint(f"endpoints.{service} of the component's configuration: {error}") from None
    return Endpoint(found.service_id, found.address, found.port)
