"""A health check: a request of the agent's own that goes the whole way, through the gateway to the handler and back."""

from __future__ import annotations

import asyncio
from http import HTTPStatus

from hitless.client.asynchronous import Client
from hitless.client.endpoints import Endpoints
from hitless.component.endpoint import ServiceEndpoint
from hitless.component.service_configuration import HealthCheck
from hitless.wire.calls import CallError
from hitless.wire.invocation import InvocationError

STATUS_LINE = 64
"""Bytes of an answer that hold its status."""


async def check(health_check: HealthCheck, address: str, endpoint: ServiceEndpoint) -> str | None:
    """Ask the instance at the node's own address; returns why it does not answer as it should, or None if it does."""
    ask = _ask_http if endpoint.protocol == "tcp" else _ask_udp
    try:
        async with asyncio.timeout(health_check.timeout_ms / 1000):
            status = await ask(health_check, address, endpoint)
    except (TimeoutError, CallError):
        return f"no answer in {health_check.timeout_ms} ms"
    except InvocationError as error:
        return str(error)
    except OSError as error:
        return f"{address}:{endpoint.port}: {error.strerror or error}"
    if status is None:
        return "an answer without a status"
    return None if HTTPStatus.OK <= status < HTTPStatus.BAD_REQUEST else f"answered with {status}"


async def _ask_http(health_check: HealthCheck, address: str, endpoint: ServiceEndpoint) -> int | None:
    reader, writer = await asyncio.open_connection(address, endpoint.port)
    try:
        head = f"GET {health_check.path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
        writer.write(head.encode())
        words = (await reader.read(STATUS_LINE)).split(maxsplit=2)
        return int(words[1]) if len(words) > 1 and words[1].isdigit() else None
    finally:
        writer.close()


async def _ask_udp(health_check: HealthCheck, address: str, endpoint: ServiceEndpoint) -> int:
    endpoints = Endpoints({"": endpoint.service_id}, {"": (address, endpoint.port)})
    async with Client(endpoints) as client:
        payload = (health_check.payload or "").encode()
        return (await client.invoke("", payload, health_check.timeout_ms / 1000)).status
