"""A gRPC server on asyncio: its address, TLS, limits, clients that have gone, reflection and health.

Handlers take and give messages as bytes, since those that come by the hundred thousand are read natively.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import ssl
import stat
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

if TYPE_CHECKING:
    Context: TypeAlias = grpc.aio.ServicerContext[bytes, bytes]

LOGGER = logging.getLogger("softswitch.grpc")

STATUS_DETAILS_KEY = "grpc-status-details-bin"
"""Trailing metadata key under which gRPC carries a serialized google.rpc.Status."""

MAX_MESSAGE = 128 << 20
"""Bytes of a message that a client may send."""

KEEPALIVE_S, KEEPALIVE_TIMEOUT_S = 20.0, 15.0
"""A client that has been silent for the first is asked, and has gone when it does not answer within the second."""

MAX_TCP_PORT = 2**16 - 1

Unary = Callable[[bytes, "Context"], Awaitable[bytes]]
Responses = Callable[[bytes, "Context"], Awaitable[None]]
Stream = Callable[["Context"], Awaitable[None]]


MAX_SENTENCE = 2000
"""Characters of an error's sentence; what a client sent may be quoted in it."""


class CallFailed(Exception):
    """The end of a call by another status than OK: a canonical code and one sentence.

    `details` is a serialized google.rpc.Status, where there is more to tell.
    """

    def __init__(self, code: grpc.StatusCode, message: str, details: bytes | None = None) -> None:
        if len(message) > MAX_SENTENCE:
            message = message[: MAX_SENTENCE - 1] + "…"
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = details


class CannotServe(OSError):
    """An address that cannot be served on; `str` is the sentence for the user."""


@dataclass(frozen=True)
class Service:
    """Handlers by method name. A unary one gives its answer; one of `responses` writes several on its context, one of
    `streams` reads from it as well. To end a call with another status than OK they raise CallFailed."""

    name: str
    unary: Mapping[str, Unary]
    responses: Mapping[str, Responses] = field(default_factory=dict)
    streams: Mapping[str, Stream] = field(default_factory=dict)

    def handlers(self) -> dict[str, grpc.RpcMethodHandler[Any, Any]]:
        """As grpc takes them: no message is decoded on its way."""
        return (
            {n: grpc.unary_unary_rpc_method_handler(self._ending(n, h)) for n, h in self.unary.items()}
            | {n: grpc.unary_stream_rpc_method_handler(self._ending(n, h)) for n, h in self.responses.items()}
            | {
                n: grpc.stream_stream_rpc_method_handler(self._ending(n, _without_iterator(h)))
                for n, h in self.streams.items()
            }
        )

    def _ending(self, method: str, handler: Callable[[Any, Context], Awaitable[Any]]) -> Callable[..., Any]:
        """A handler that turns what the given one raises into a status."""

        async def handle(request: Any, context: Context) -> Any:
            try:
                return await handler(request, context)
            except CallFailed as error:
                code, message, details = error.code, error.message, error.details
            except Exception as error:
                if context.done():
                    raise  # nobody is left to be told, and grpc knows
                LOGGER.error("%s of %s failed", method, self.name, exc_info=error)
                code, message, details = grpc.StatusCode.INTERNAL, f"{type(error).__name__}: {error}", None
            # grpc keeps what `abort` raises, and with it this frame, until the garbage is collected: it must refer to
            # neither the request nor the error, whose frames have all that the call was about
            del request
            return await context.abort(code, message, () if details is None else ((STATUS_DETAILS_KEY, details),))

        return handle


class GrpcServer:
    """Serves some services on one address, and tells by gRPC's own services which these are (reflection) and that they
    are there (health). `keepalive_s` and `keepalive_timeout_s` are for tests that cannot wait."""

    def __init__(
        self,
        services: Sequence[Service],
        keepalive_s: float = KEEPALIVE_S,
        keepalive_timeout_s: float = KEEPALIVE_TIMEOUT_S,
    ) -> None:
        self._services = services
        self._options = _options(keepalive_s, keepalive_timeout_s)
        self._health = health.aio.HealthServicer()  # type: ignore[attr-defined]  # not in its stubs
        self._server: grpc.aio.Server | None = None

    async def start(self, address: str, credentials: grpc.ServerCredentials | None = None) -> int:
        """Serve on `address`: host:port, port 0 for any, or unix:path. Returns the port. Raises CannotServe."""
        address = bindable(address)
        server = grpc.aio.server(options=self._options)
        for service in self._services:
            handlers = grpc.method_handlers_generic_handler(service.name, service.handlers())
            server.add_generic_rpc_handlers((handlers,))
            await self._health.set(service.name, health_pb2.HealthCheckResponse.SERVING)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        names = [service.name for service in self._services]
        reflection.enable_server_reflection([*names, health.SERVICE_NAME, reflection.SERVICE_NAME], server)
        try:
            if credentials is None:
                port = server.add_insecure_port(address)
            else:
                port = server.add_secure_port(address, credentials)
        except RuntimeError as error:
            raise CannotServe(f"cannot serve on {address}") from error
        await server.start()
        self._server = server
        return port

    async def stop(self, grace: float) -> None:
        """Take no more calls, give those under way `grace` seconds, and close."""
        if self._server is not None:
            await self._health.enter_graceful_shutdown()
            await self._server.stop(grace)


def _options(keepalive_s: float, keepalive_timeout_s: float) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", MAX_MESSAGE),
        ("grpc.max_metadata_size", 1 << 16),
        ("grpc.max_concurrent_streams", 1024),
        # grpc would share a port with another switch and take turns with it
        ("grpc.so_reuseport", 0),
        ("grpc.keepalive_time_ms", round(keepalive_s * 1000)),
        # grpc.keepalive_timeout_ms has no effect here: a ping of any kind is waited for a minute unless told otherwise
        ("grpc.http2.ping_timeout_ms", round(keepalive_timeout_s * 1000)),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        # clients may ask after the switch as often as they like
        ("grpc.http2.max_ping_strikes", 0),
    ]


def _without_iterator(handler: Stream) -> Callable[[Any, Context], Awaitable[None]]:
    """grpc offers a stream's messages in two ways; we read them from the context."""

    async def handle(_: Any, context: Context) -> None:
        await handler(context)

    return handle


def bindable(address: str) -> str:
    """The address as grpc has it, once it has been tried: grpc itself does not say why it cannot serve there.

    Raises CannotServe with the system's reason.
    """
    try:
        if address.startswith("unix:"):
            _try_path(Path(address.removeprefix("unix:")))
            return address
        host, _, port = address.rpartition(":")
        if not port.isdecimal() or int(port) > MAX_TCP_PORT:
            raise OSError(None, f"an address is host:port, with a port up to {MAX_TCP_PORT}, or unix:path")
        _try_port(host.strip("[]"), int(port))
    except OSError as error:
        raise CannotServe(f"cannot serve on {address}: {error.strerror or error}") from error
    return address if host else f"[::]:{port}"


def _try_path(path: Path) -> None:
    """Raises OSError. A socket that was left there is removed."""
    if len(os.fsencode(path)) >= _UNIX_PATH_BYTES:
        raise OSError(None, f"the path of a socket has fewer than {_UNIX_PATH_BYTES} bytes")
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISSOCK(path.stat().st_mode):
            path.unlink()
    with socket.socket(socket.AF_UNIX) as trial:
        trial.bind(os.fspath(path))
    path.unlink()


_UNIX_PATH_BYTES = 108


def _try_port(host: str, port: int) -> None:
    """Raises OSError."""
    found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    for family, kind, protocol, _, where in found:
        with socket.socket(family, kind, protocol) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                trial.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            trial.bind(where)


def tls_credentials(
    certificate: Path, key: Path, authority: Path | None, *, demand_client: bool
) -> grpc.ServerCredentials:
    """TLS for a server from PEM files; a client's certificate is asked for, and verified, only on demand.

    Files that have changed are used for the connections made afterwards; ones that do not fit are left unused.
    Raises OSError (ssl.SSLError is one)."""
    files = [certificate, key, *([authority] if authority is not None else [])]

    def stamps() -> list[int]:
        return [path.stat().st_mtime_ns for path in files]

    def read() -> grpc.ServerCertificateConfiguration:
        # grpc takes anything, and then serves nobody: let Python read it first
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        if authority is not None:
            context.load_verify_locations(authority)
        return grpc.ssl_server_certificate_configuration(
            [(key.read_bytes(), certificate.read_bytes())],
            authority.read_bytes() if authority is not None else None,
        )

    used = stamps()

    def renewed() -> grpc.ServerCertificateConfiguration | None:
        nonlocal used
        try:
            now = stamps()
            if now == used:
                return None
            configuration = read()
        except OSError as error:
            LOGGER.error("TLS: %s cannot be used, the one before still is: %s", certificate, error.strerror or error)
            return None
        used = now
        LOGGER.info("TLS: new certificate from %s", certificate)
        return configuration

    return grpc.dynamic_ssl_server_credentials(
        read(),
        renewed,  # type: ignore[arg-type]  # its stubs know of no None, which says that nothing has changed
        require_client_authentication=demand_client,
    )
