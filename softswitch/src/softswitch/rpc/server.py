"""Serves gRPC calls on asyncio transports.

The official server for Python passes each call between threads several times, which takes longer than most of our
calls do; this one answers a unary call where its last byte was read.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from grpc import StatusCode

from softswitch.rpc.calls import (
    FRAMING,
    RESPONSE_HEADERS,
    SUCCESS,
    MessageReader,
    Received,
    Request,
    RpcError,
    frame,
    read_request,
    trailers,
)
from softswitch.rpc.http2 import (
    ConnectionFailed,
    DataReceived,
    Event,
    RequestStarted,
    ServerConnection,
    StreamReset,
)

LOGGER = logging.getLogger("softswitch.rpc")

SEND_AHEAD = 1 << 20
"""Bytes of a stream that may wait for a slow client before `send` waits as well."""

RECEIVE_AHEAD = 1 << 20
"""Bytes of messages that may wait for a call's handler before the client's window is no longer renewed."""

MAX_UNSENT = 64 << 20
"""A connection whose client reads nothing is cut at this."""

KEEPALIVE = {socket.TCP_KEEPIDLE: 20, socket.TCP_KEEPINTVL: 5, socket.TCP_KEEPCNT: 3}
"""A client that answers no probe for this long (in seconds: 20 + 3 * 5) has gone."""

MAX_TCP_PORT = 2**16 - 1

Unary = Callable[[bytes], bytes | Awaitable[bytes]]
Streaming = Callable[["Call"], Awaitable[None]]


@dataclass(frozen=True)
class Service:
    """Methods by path, `/package.Service/Method`. A handler raises RpcError to end its call with that status. A unary
    one takes and gives one serialized message; a streaming one reads from and sends on its call until it returns."""

    unary: Mapping[str, Unary]
    streaming: Mapping[str, Streaming]


class Call:
    """One call that is under way. `request` is what its headers say; its connection keeps the rest."""

    def __init__(self, connection: _Connection, stream: int, request: Request) -> None:
        self.request = request
        self.reader = MessageReader(request.encoding)
        self.received: list[Received] = []
        self.task: asyncio.Task[None] | None = None
        self._connection = connection
        self._stream = stream
        self._incoming: asyncio.Queue[Received | None] = asyncio.Queue()
        self._unread = 0
        self._paused = False

    def about_peer(self, name: str) -> Any:
        """What asyncio knows of the client (`get_extra_info`): its "peername", its verified "peercert"."""
        return self._connection.about_peer(name)

    async def receive(self) -> bytes | None:
        """The next message; None after the last. Raises RpcError for one that cannot be read."""
        message = await self._incoming.get()
        if message is None:
            return None
        self._unread -= FRAMING + len(message.data)
        if self._paused and self._unread <= RECEIVE_AHEAD:
            self._paused = False
            self._connection.resume(self._stream)
        return self.reader.read(message)

    def put(self, message: Received | None) -> None:
        """Have `receive` return it, after what waits already."""
        self._incoming.put_nowait(message)
        if message is not None:
            self._unread += FRAMING + len(message.data)
            if not self._paused and self._unread > RECEIVE_AHEAD:
                self._paused = True
                self._connection.pause(self._stream)

    async def send(self, message: bytes) -> None:
        """Send a message. Waits while the client does not read."""
        await self._connection.send(self._stream, message)


@dataclass
class _State:
    """What the connections of a server share."""

    service: Service
    connections: set[_Connection] = field(default_factory=set)


class _Connection(asyncio.Protocol):
    def __init__(self, state: _State) -> None:
        self._state = state
        self._http = ServerConnection()
        self._calls: dict[int, Call] = {}
        self._begun: set[int] = set()
        self._transport: asyncio.Transport | None = None
        self._moved = asyncio.Event()
        self._paused = False

    # What the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # uvloop's is none by type
        _notice_silence(transport.get_extra_info("socket"))
        self._state.connections.add(self)
        self._flush()

    def data_received(self, data: bytes) -> None:
        try:
            for event in self._http.receive(data):
                self._on_event(event)
        except ConnectionFailed as error:
            LOGGER.debug("connection ended: %s", error)
            self._http.go_away(error.code, str(error))
            self.close()
            return
        self._flush()
        self._moved.set()

    def connection_lost(self, error: Exception | None) -> None:
        self._state.connections.discard(self)
        for stream in list(self._calls):
            self._forget(stream)
        self._transport = None
        self._moved.set()

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._moved.set()

    def about_peer(self, name: str) -> Any:
        """None as well when it has gone."""
        return None if self._transport is None else self._transport.get_extra_info(name)

    # What becomes of it

    def _on_event(self, event: Event) -> None:
        match event:
            case RequestStarted(stream, headers, ended):
                self._start(stream, headers)
                if ended:
                    self._end_of_request(stream)
            case DataReceived(stream, data, ended):
                self._data(stream, data)
                if ended:
                    self._end_of_request(stream)
            case StreamReset(stream):
                self._forget(stream)

    def _start(self, stream: int, headers: tuple[tuple[bytes, bytes], ...]) -> None:
        try:
            request = read_request(headers)
        except RpcError as error:
            self._fail(stream, error)
            return
        call = Call(self, stream, request)
        if handler := self._state.service.streaming.get(request.path):
            self._calls[stream] = call
            self._run(stream, call, handler(call))
        elif request.path in self._state.service.unary:
            self._calls[stream] = call
        else:
            self._fail(stream, RpcError(StatusCode.UNIMPLEMENTED, f"there is no method {request.path}"))

    def _data(self, stream: int, data: bytes) -> None:
        call = self._calls.get(stream)
        if call is None:
            return
        try:
            if call.task is None:
                call.received += call.reader.feed(data)
                if len(call.received) > 1:
                    raise _not_one()
            else:
                for message in call.reader.feed(data):
                    call.put(message)
        except RpcError as error:
            self._fail(stream, error)
            if call.task is not None:
                call.task.cancel()

    def _end_of_request(self, stream: int) -> None:
        call = self._calls.get(stream)
        if call is None:
            return
        if call.task is not None:
            call.put(None)
            return
        if len(call.received) != 1 or not call.reader.empty:
            self._fail(stream, _not_one())
            return
        try:
            answer = self._state.service.unary[call.request.path](call.reader.read(call.received.pop()))
        except RpcError as error:
            self._fail(stream, error)
        except Exception as error:
            self._fail(stream, _unexpected(call, error))
        else:
            if isinstance(answer, bytes):
                self._answer(stream, answer)
            else:
                self._run(stream, call, self._answer_later(stream, answer))

    def _run(self, stream: int, call: Call, work: Awaitable[None]) -> None:
        call.task = asyncio.ensure_future(self._finish(stream, call, work))

    async def _finish(self, stream: int, call: Call, work: Awaitable[None]) -> None:
        """Let a handler work within its call's time, and end the call."""
        try:
            async with asyncio.timeout(call.request.timeout):
                await work
        except RpcError as error:
            self._fail(stream, error)
        except TimeoutError:
            self._fail(stream, RpcError(StatusCode.DEADLINE_EXCEEDED, "the call's time is over"))
        except Exception as error:
            self._fail(stream, _unexpected(call, error))
        else:
            self._end(stream, SUCCESS)
        self._flush()

    async def _answer_later(self, stream: int, answer: Awaitable[bytes]) -> None:
        await self.send(stream, await answer)

    def _answer(self, stream: int, message: bytes) -> None:
        self._begin(stream)
        self._http.send_data(stream, frame(message))
        self._end(stream, SUCCESS)

    async def send(self, stream: int, message: bytes) -> None:
        """Send a message of a call, and wait while too much of it is unsent."""
        self._begin(stream)
        self._http.send_data(stream, frame(message))
        self._flush()
        while stream in self._calls and (self._paused or self._http.waiting(stream) > SEND_AHEAD):
            self._moved.clear()
            await self._moved.wait()

    def pause(self, stream: int) -> None:
        """Hold back a client that sends faster than its call's handler takes."""
        self._http.pause(stream)

    def resume(self, stream: int) -> None:
        """The handler has taken enough."""
        self._http.resume(stream)
        self._flush()

    def _begin(self, stream: int) -> None:
        if stream not in self._begun:
            self._begun.add(stream)
            self._http.send_headers(stream, RESPONSE_HEADERS)

    def _fail(self, stream: int, error: RpcError) -> None:
        self._end(stream, trailers(error, alone=stream not in self._begun))

    def _end(self, stream: int, block: bytes) -> None:
        if block is SUCCESS:
            self._begin(stream)
        self._http.end(stream, block)
        self._begun.discard(stream)
        self._calls.pop(stream, None)

    def _forget(self, stream: int) -> None:
        call = self._calls.pop(stream, None)
        self._begun.discard(stream)
        if call is not None and call.task is not None:
            call.task.cancel()

    def _flush(self) -> None:
        out = self._http.take()
        if out and self._transport is not None:
            self._transport.write(out)
            if self._transport.get_write_buffer_size() > MAX_UNSENT:
                LOGGER.warning("a client that reads nothing is cut off")
                self._transport.abort()

    # What the server calls

    def go_away(self) -> None:
        """Take no more calls."""
        self._http.go_away()
        self._flush()

    def work(self) -> list[asyncio.Task[None]]:
        """The calls under way."""
        return [call.task for call in self._calls.values() if call.task is not None]

    def close(self) -> None:
        """End the connection once what is written has been sent."""
        self._flush()
        if self._transport is not None:
            self._transport.close()


class Server:
    """A service on one address."""

    def __init__(self, service: Service) -> None:
        self._state = _State(service)
        self._server: asyncio.Server | None = None

    async def start(self, address: str, context: ssl.SSLContext | None = None) -> int:
        """Serve on `address`: host:port, port 0 for any, or unix:path. Returns the port. Raises OSError."""
        loop = asyncio.get_running_loop()
        if address.startswith("unix:"):
            path = address.removeprefix("unix:")
            self._server = await loop.create_unix_server(self._connection, path, ssl=context)
            return 0
        host, _, port = address.rpartition(":")
        if not port.isdecimal() or int(port) > MAX_TCP_PORT:
            raise OSError(None, f"an address is host:port, with a port up to {MAX_TCP_PORT}, or unix:path")
        self._server = await loop.create_server(self._connection, host.strip("[]") or None, int(port), ssl=context)
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self, grace: float) -> None:
        """Take no more calls, give those under way `grace` seconds, and close."""
        if self._server is None:
            return
        self._server.close()
        connections = list(self._state.connections)
        for connection in connections:
            connection.go_away()
        if work := [task for connection in connections for task in connection.work()]:
            await asyncio.wait(work, timeout=grace)
        for connection in connections:
            connection.close()

    def _connection(self) -> _Connection:
        return _Connection(self._state)


def tls_context(certificate: Path, key: Path, authority: Path | None, *, demand_client: bool) -> ssl.SSLContext:
    """TLS for a server from PEM files. Raises OSError (ssl.SSLError is one)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["h2"])
    context.load_cert_chain(certificate, key)
    if authority is not None:
        context.load_verify_locations(authority)
    context.verify_mode = ssl.CERT_REQUIRED if demand_client else ssl.CERT_NONE
    return context


def _notice_silence(connection: socket.socket) -> None:
    """End a connection whose client has gone without a word, so that its controller is primary no longer."""
    if connection.family in (socket.AF_INET, socket.AF_INET6):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in KEEPALIVE.items():
            connection.setsockopt(socket.IPPROTO_TCP, option, value)


def _not_one() -> RpcError:
    return RpcError(StatusCode.INVALID_ARGUMENT, "a unary call has one message")


def _unexpected(call: Call, error: Exception) -> RpcError:
    LOGGER.error("%s failed", call.request.path, exc_info=error)
    return RpcError(StatusCode.INTERNAL, f"{type(error).__name__}: {error}")


__all__ = ["Call", "RpcError", "Server", "Service", "tls_context"]
