"""Calls of services from asyncio: over HTTP, or over the invocation protocol, as the service is called."""

from __future__ import annotations

import socket
import uuid
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Self

import aiohttp
from yarl import URL

from controller.invocations.functions import Function
from controller.invocations.outcomes import MAX_RESULT, Reply, TooLongError, UnreachedError
from controller.invocations.queue import HttpCall
from hitless.client.asynchronous import Client
from hitless.client.endpoints import Endpoints
from hitless.wire.calls import DeadlineExceeded
from hitless.wire.invocation import MAX_PAYLOAD, InvocationError
from hitless.wire.sealed_event import CONTENT_TYPE, overhead, seal
from hitless.wire.worker_frames import Invoked

INVOCATION_ID = "X-Hitless-Invocation-Id"
CONNECT_S = 10.0
REPEAT_S = 0.5
"""Over the invocation protocol: between two sendings of a request that nobody has acknowledged."""
_PART = 64 * 1024
_WITHOUT_AUTO = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")
_ALIVE = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 2),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 5),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 10_000),
)
"""A node that died says nothing: its silence ends a connection in some seconds, however long a function may take."""


class Caller:
    """Makes the calls. Use as `async with Caller(key) as caller`, from the network that is to be called from."""

    def __init__(self, key: bytes, timeout_s: float) -> None:
        """`key` seals events; an answer is waited for `timeout_s` at most."""
        self._key = key
        self._timeout_s = timeout_s
        self._udp = Client(Endpoints({}))

    async def __aenter__(self) -> Self:
        # A connection for each call, so that each is steered; one that was kept might be closed under a request.
        connector = aiohttp.TCPConnector(limit=0, force_close=True, socket_factory=_socket)
        self._http = aiohttp.ClientSession(
            connector=connector,
            auto_decompress=False,
            skip_auto_headers=_WITHOUT_AUTO,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=self._timeout_s, sock_connect=CONNECT_S),
        )
        await self._udp.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._udp.__aexit__(kind, error, trace)
        await self._http.close()

    async def event(self, function: Function, invoked: Invoked, event: bytes, *, again: bool) -> Reply:
        """Have a function handle an event as it is. `again` lets it be executed a second time, if need be.

        Raises UnreachedError and TooLongError.
        """
        if _over_udp(function):
            room = MAX_PAYLOAD - overhead(function.service, invoked)
            if len(event) > room:
                raise TooLongError(room, result=False)
        sealed = seal(self._key, function.service, invoked, event)
        call = HttpCall(method="POST", path="/", headers=(("Content-Type", CONTENT_TYPE),))
        return await self._call(function, call, sealed, again=again)

    async def request(self, function: Function, number: str, call: HttpCall, body: bytes) -> Reply:
        """Make a request over HTTP, or have its body handled over the invocation protocol; more than once, if need be.

        Raises UnreachedError and TooLongError.
        """
        if _over_udp(function) and len(body) > MAX_PAYLOAD:
            raise TooLongError(MAX_PAYLOAD, result=False)
        named = call.model_copy(update={"headers": (*call.headers, (INVOCATION_ID, number))})
        return await self._call(function, named, body, again=True)

    async def tell(self, url: str, headers: Iterable[tuple[str, str]], body: bytes, timeout_s: float) -> int:
        """POST to an address outside of the fabric, without following redirects. Returns the status.

        Raises UnreachedError.
        """
        timeout = aiohttp.ClientTimeout(total=timeout_s, sock_connect=CONNECT_S)
        try:
            async with self._http.post(
                url, data=body, headers=list(headers), timeout=timeout, allow_redirects=False
            ) as answer:
                return answer.status
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise UnreachedError(f"{url}: {_said(error)}", sent=True) from error

    async def _call(self, function: Function, call: HttpCall, body: bytes, *, again: bool) -> Reply:
        place = function.place
        if place is None:
            raise UnreachedError(f"no node serves {function.service} yet", sent=False)
        if _over_udp(function):
            return await self._invoke(function, body, again=again)
        url = URL(f"http://{place.address}:{place.port}{call.path}", encoded=True)
        try:
            async with self._http.request(
                call.method, url, data=body, headers=list(call.headers), allow_redirects=False
            ) as answer:
                headers = {name.lower(): value for name, value in answer.headers.items()}
                return Reply(answer.status, headers, await _whole(answer))
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise UnreachedError(f"{place.address}:{place.port}: {_said(error)}", sent=False) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise UnreachedError(f"{place.address}:{place.port}: {_said(error)}", sent=True) from error

    async def _invoke(self, function: Function, body: bytes, *, again: bool) -> Reply:
        place = function.place
        assert place is not None
        self._udp.endpoints = Endpoints(
            {function.service: place.service_id}, {function.service: (place.address, place.port)}
        )
        try:
            # Sent once, unless it may be executed again: another node may get the second sending.
            answer = await self._udp.invoke(
                function.service, body, self._timeout_s, retry_after=REPEAT_S if again else None
            )
        except (DeadlineExceeded, InvocationError) as error:
            raise UnreachedError(str(error), sent=True) from error
        except OSError as error:
            raise UnreachedError(f"{place.address}:{place.port}: {error.strerror}", sent=False) from error
        if len(answer.payload) > MAX_RESULT:
            raise TooLongError(MAX_RESULT, result=True)
        return Reply(answer.status, {}, answer.payload)


def new_id() -> str:
    """Another invocation's id."""
    return str(uuid.uuid4())


def _over_udp(function: Function) -> bool:
    return function.place is not None and function.place.protocol == "udp"


async def _whole(answer: aiohttp.ClientResponse) -> bytes:
    parts, size = [], 0
    async for part in answer.content.iter_chunked(_PART):
        size += len(part)
        if size > MAX_RESULT:
            raise TooLongError(MAX_RESULT, result=True)
        parts.append(part)
    return b"".join(parts)


def _socket(address: Any) -> socket.socket:
    family, kind, protocol = address[0], address[1], address[2]
    made = socket.socket(family, kind, protocol)
    for level, option, value in _ALIVE:
        made.setsockopt(level, option, value)
    return made


def _said(error: BaseException) -> str:
    if isinstance(error, aiohttp.ServerDisconnectedError | aiohttp.ClientPayloadError):
        return "the connection was lost before the answer was complete"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return str(error) or type(error).__name__
