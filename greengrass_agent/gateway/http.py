"""HTTP/1.1 at the gateway: requests become jobs, connections follow the service when it moves."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http_parser import RawRequestMessage
from aiohttp.streams import StreamReader
from aiohttp.web_protocol import RequestHandler

from greengrass_agent.gateway.gathered import Gathered
from greengrass_agent.gateway.job import Answer, Job
from hitless.wire.worker_frames import HttpHead
from hitless.words import INVOCATION_LAYOUT

NODE_HEADER = "X-Hitless-Node"
REQUEST_HEADER = "X-Request-Id"
"""Numbers a request in the execution log; without it, the gateway's own count does."""
CLIENT_HEADER = "X-Client-Id"
KEEPALIVE_S = 75
SHUTDOWN_S = 5
MAX_BODY = 16 * 1024 * 1024
_SKIPPED = frozenset({"connection", "content-length", "keep-alive", "transfer-encoding"})
_BITS = dict(INVOCATION_LAYOUT)


class _Server(web.Server):
    """aiohttp's, which tells of its connections."""

    def __init__(
        self,
        handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
        connected: Callable[[], None],
        **more: Any,
    ) -> None:
        super().__init__(handler, **more)
        self._connected = connected

    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        self._connected()


class HttpServer:
    """Serves one service on one or more addresses."""

    def __init__(
        self, node: str, timeout_ns: Callable[[], int], submit: Callable[[Job], None], connected: Callable[[], None]
    ) -> None:
        """``submit`` takes each request, ``connected`` is told of each connection."""
        self._node = node
        self._timeout_ns = timeout_ns
        self._submit = submit
        self._requests = 0
        self.closing = False
        """Whether each connection ends with its next answer, so that the client connects anew and is steered anew."""
        server = _Server(
            self._handle, connected, request_factory=_request, access_log=None, keepalive_timeout=KEEPALIVE_S
        )
        self._runner = web.ServerRunner(server, shutdown_timeout=SHUTDOWN_S)

    async def open(self, addresses: Sequence[str], port: int) -> None:
        """Listen. Raises OSError, also when an address is not the node's."""
        await self._runner.setup()
        for address in addresses:
            await web.TCPSite(self._runner, address, port, backlog=512).start()

    def ports(self) -> list[tuple[str, int]]:
        """The addresses and ports at which it listens."""
        return [(str(host), port) for host, port, *_ in self._runner.addresses]

    async def pause(self) -> None:
        """Take no new connection; those that are open end with their next answer."""
        self.closing = True
        for site in list(self._runner.sites):
            await site.stop()

    async def close(self) -> None:
        """End the connections that are open, idle ones at once."""
        await self._runner.cleanup()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        received_ns = time.monotonic_ns()
        try:
            body = await request.read()
        except web.HTTPRequestEntityTooLarge:
            return self._response(Answer(413, f"the body is longer than {MAX_BODY} bytes".encode()), close=True)
        self._requests += 1
        outcome: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

        def answer(value: Answer) -> None:
            if not outcome.done():
                outcome.set_result(value)

        client = Gathered(answer, MAX_BODY)
        client.job = Job(
            _number(request.headers, CLIENT_HEADER, _BITS["client_id"]) or 0,
            _number(request.headers, REQUEST_HEADER, _BITS["request_id"]) or self._requests,
            0,
            body,
            _head(request),
            received_ns,
            received_ns + self._timeout_ns(),
            client,
            request.remote or "",
        )
        self._submit(client.job)
        return self._response(await outcome)

    def _response(self, answer: Answer, *, close: bool = False) -> web.Response:
        headers = {name: value for name, value in answer.headers.items() if name.lower() not in _SKIPPED}
        headers[NODE_HEADER] = self._node
        response = web.Response(status=answer.status, body=answer.body, headers=headers)
        if close or self.closing:
            response.force_close()
        return response


def _request(
    message: RawRequestMessage,
    payload: StreamReader,
    protocol: RequestHandler,
    writer: AbstractStreamWriter,
    task: asyncio.Task[None],
) -> web.BaseRequest:
    return web.BaseRequest(
        message, payload, protocol, writer, task, asyncio.get_running_loop(), client_max_size=MAX_BODY
    )


def _head(request: web.BaseRequest) -> HttpHead:
    headers: dict[str, str] = {}
    for name, value in request.headers.items():
        lower = name.lower()
        # RFC 9110, 5.2: a field that stands several times is one list.
        headers[lower] = f"{headers[lower]}, {value}" if lower in headers else value
    return HttpHead(request.method, request.path, request.query_string, headers, request.remote or "")


def _number(headers: Mapping[str, str], name: str, bits: int) -> int | None:
    text = headers.get(name, "")
    if not (text.isascii() and text.isdecimal()):
        return None
    value = int(text)
    return value if value < 1 << bits else None
