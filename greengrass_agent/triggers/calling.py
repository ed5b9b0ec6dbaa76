"""Calls of a service from its node, as a client makes them: once each, on a new connection."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Self

import aiohttp

from greengrass_agent.triggers.events import Request
from hitless.client.asynchronous import Client
from hitless.client.endpoints import Endpoints
from hitless.component.endpoint import ServiceProtocol
from hitless.wire.calls import CallError
from hitless.wire.invocation import InvocationError

MARGIN_S = 2.0
"""How much longer than the service's own time limit an answer is waited for: the node's own answer comes then."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a service is called, and how."""

    service_id: int
    protocol: ServiceProtocol
    address: str
    port: int
    timeout_s: float


class Caller:
    """Calls services. Use as `async with Caller() as caller`."""

    def __init__(self) -> None:
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        # Each request on a connection of its own: that is what a switch steers.
        connector = aiohttp.TCPConnector(force_close=True, limit=0)
        self._http = await self._stack.enter_async_context(
            aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())
        )
        self._udp = await self._stack.enter_async_context(Client(Endpoints({})))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def call(self, place: Place, path: str, request: Request) -> tuple[int, str | None]:
        """Call once; returns the answer's status, 0 without an answer, and why the call has failed, None if it has not.

        What is answered below 500 has not failed.
        """
        wait_s = place.timeout_s + MARGIN_S
        try:
            if place.protocol == "tcp":
                status = await self._post(place, path, request, wait_s)
            else:
                status = await self._invoke(place, request, wait_s)
        except (TimeoutError, CallError):
            return 0, f"no answer in {wait_s:g} s"
        except InvocationError as error:
            return 0, str(error)
        except (OSError, aiohttp.ClientError, ValueError) as error:
            return 0, f"{place.address}:{place.port}: {error or type(error).__name__}"
        return status, f"answered with {status}" if status >= 500 else None

    async def _post(self, place: Place, path: str, request: Request, wait_s: float) -> int:
        url = f"http://{place.address}:{place.port}{path}"
        # The service's time limit is for the first part of an answer; the others may take as long as they come.
        timeout = aiohttp.ClientTimeout(total=None, sock_read=wait_s)
        async with asyncio.timeout(wait_s):
            answer = await self._http.post(
                url, data=request.body, headers=request.headers, timeout=timeout, allow_redirects=False
            )
        async with answer:
            async for _ in answer.content.iter_any():
                pass
            return answer.status

    async def _invoke(self, place: Place, request: Request, wait_s: float) -> int:
        # Endpoints are taken when a call begins, in the same step: others do not come between.
        self._udp.endpoints = Endpoints({"": place.service_id}, {"": (place.address, place.port)})
        return (await self._udp.invoke("", request.body, wait_s)).status
