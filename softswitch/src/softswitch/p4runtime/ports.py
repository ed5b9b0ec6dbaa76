"""Ports that are added and removed while a switch runs: a small gRPC service beside P4Runtime.

P4Runtime has no ports, and BMv2's Thrift server is not here. Messages are `google.protobuf.Struct`, so that a client in
any language needs nothing generated: `softswitch.v1.Ports/{List,Add,Remove}`.
"""

from __future__ import annotations

import errno
import ipaddress
import logging
from collections.abc import Callable
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import DecodeError
from google.protobuf.struct_pb2 import Struct
from grpc import StatusCode

from softswitch.bmv2.v1model import MAX_PORT
from softswitch.engine.engine import Engine
from softswitch.rpc.calls import RpcError
from softswitch.rpc.server import Call, Streaming

LOGGER = logging.getLogger("softswitch.ports")

SERVICE = "softswitch.v1.Ports"

_Json = dict[str, Any]


def methods(engine: Engine) -> dict[str, Streaming]:
    """The service over an engine, by path.

    A port gives a switch an interface of its machine, so only callers on that machine (over loopback) or with a client
    certificate that the server verified may use it; others get PERMISSION_DENIED.
    """

    def list_ports(request: _Json) -> _Json:
        losses = engine.port_losses()
        ports = [
            {"port": port, "interface": interface, "up": up, "cut": losses[port][0], "unsent": losses[port][1]}
            for port, (interface, up) in sorted(engine.ports().items())
            if port in losses
        ]
        return {"ports": ports}

    def add(request: _Json) -> _Json:
        port, interface = _port(request), str(request["interface"])
        try:
            engine.add_port(port, interface)
        except ValueError as error:
            raise RpcError(StatusCode.ALREADY_EXISTS, str(error)) from error
        except PermissionError as error:
            raise RpcError(
                StatusCode.PERMISSION_DENIED, f"interface {interface}: the switch lacks CAP_NET_RAW"
            ) from error
        except OSError as error:
            code = StatusCode.NOT_FOUND if error.errno == errno.ENODEV else StatusCode.FAILED_PRECONDITION
            raise RpcError(code, error.strerror or str(error)) from error
        LOGGER.info("port %d is %s", port, interface)
        return {}

    def remove(request: _Json) -> _Json:
        port = _port(request)
        try:
            engine.remove_port(port)
        except KeyError:
            raise RpcError(StatusCode.NOT_FOUND, f"there is no port {port}") from None
        LOGGER.info("port %d is removed", port)
        return {}

    handlers = {"List": list_ports, "Add": add, "Remove": remove}
    return {f"/{SERVICE}/{name}": _handler(do) for name, do in handlers.items()}


def _port(request: _Json) -> int:
    port = request["port"]
    # Numbers of a Struct are floats: a fraction, an infinity or NaN among them.
    if not isinstance(port, float) or not 0 <= port <= MAX_PORT or port % 1:
        raise RpcError(StatusCode.INVALID_ARGUMENT, f"{port!r} is not a port number in 0..{MAX_PORT}")
    return int(port)


def _handler(do: Callable[[_Json], _Json]) -> Streaming:
    async def handle(call: Call) -> None:
        if not call.about_peer("peercert") and not is_local(call.about_peer("peername")):
            text = "ports are changed from the switch's own machine, or with a client certificate"
            raise RpcError(StatusCode.PERMISSION_DENIED, text)
        try:
            request = dict(Struct.FromString(await call.receive() or b"").items())
            answer = do(request)
        except (DecodeError, KeyError, TypeError, ValueError) as error:
            raise RpcError(StatusCode.INVALID_ARGUMENT, f"{type(error).__name__}: {error}") from error
        await call.send(json_format.ParseDict(answer, Struct()).SerializeToString())

    return handle


def is_local(peer: object) -> bool:
    """Whether a socket's peer name is of this machine: loopback, or a socket in the file system."""
    if not isinstance(peer, tuple):
        return isinstance(peer, str | bytes)
    address = ipaddress.ip_address(peer[0].partition("%")[0])
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback
