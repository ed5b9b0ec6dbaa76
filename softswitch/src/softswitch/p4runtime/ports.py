"""Ports that are added, removed and set while a switch runs: a small gRPC service beside P4Runtime.

P4Runtime has no ports, and Thrift is not served to other machines. Messages are `google.protobuf.Struct`, so that a
client in any language needs nothing generated: `softswitch.v1.Ports/{List,Add,Remove,Set}`.
"""

from __future__ import annotations

import dataclasses
import errno
import ipaddress
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from google.protobuf import descriptor_pb2, descriptor_pool, json_format, struct_pb2
from google.protobuf.message import DecodeError
from grpc import StatusCode

from softswitch.bmv2.v1model import MAX_PORT
from softswitch.engine.abi import Direction
from softswitch.engine.engine import Engine
from softswitch.engine.shaping import Link, PortShaping, changed
from softswitch.grpc_server import Service, Unary
from softswitch.p4runtime.errors import P4RuntimeError, invalid

if TYPE_CHECKING:
    from softswitch.grpc_server import Context

LOGGER = logging.getLogger("softswitch.ports")

PACKAGE = "softswitch.v1"
SERVICE = f"{PACKAGE}.Ports"

_METHODS = ("List", "Add", "Remove", "Set")

_Json = dict[str, Any]


def service(engine: Engine) -> Service:
    """The service over an engine.

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
        shaping = [_shaping(port, found) for port, found in sorted(engine.shaping().items())]
        return {"ports": ports, "shaping": shaping}

    def add(request: _Json) -> _Json:
        port, interface = _port(request), str(request["interface"])
        try:
            engine.add_port(port, interface)
        except ValueError as error:
            raise P4RuntimeError(StatusCode.ALREADY_EXISTS, str(error)) from error
        except PermissionError as error:
            raise P4RuntimeError(
                StatusCode.PERMISSION_DENIED, f"interface {interface}: the switch lacks CAP_NET_RAW"
            ) from error
        except OSError as error:
            code = StatusCode.NOT_FOUND if error.errno == errno.ENODEV else StatusCode.FAILED_PRECONDITION
            raise P4RuntimeError(code, error.strerror or str(error)) from error
        LOGGER.info("port %d is %s", port, interface)
        return {}

    def remove(request: _Json) -> _Json:
        port = _port(request)
        try:
            engine.remove_port(port)
        except KeyError:
            raise P4RuntimeError(StatusCode.NOT_FOUND, f"there is no port {port}") from None
        LOGGER.info("port %d is removed", port)
        return {}

    def set_port(request: _Json) -> _Json:
        port = _port(request)
        direction = _DIRECTIONS.get(str(request.pop("direction", "out")))
        seed = _whole(request, "seed")
        priority, depth, pps = (_whole(request, name) for name in ("priority", "queue_depth", "queue_rate_pps"))
        del request["port"]
        if direction is None:
            raise invalid(f"direction: expected {' or '.join(_DIRECTIONS)}")
        if wrong := [name for name, value in request.items() if name not in _LINK or not isinstance(value, float)]:
            raise invalid(f"{wrong[0]}: expected numbers for {', '.join((*_LINK, *_QUEUE))}")
        if "rate_bps" in request:
            request["rate_bps"] = _whole(request, "rate_bps")
        asked = {"queue_depth": depth, "queue_rate_pps": pps, "seed": seed} | request
        if all(value is None for value in asked.values()):
            raise invalid(f"port {port}: nothing to set; there are {', '.join((*_LINK, *_QUEUE))}")
        try:
            link = changed(engine.link(port, direction), **request) if request or seed is not None else None
            if depth is not None:
                engine.set_queue_depth(port, depth, priority)
            if pps is not None:
                engine.set_queue_rate(port, pps, priority)
            if link is not None:
                engine.set_link(port, direction, link, seed)
        except ValueError as error:
            raise invalid(str(error)) from error
        told = ", ".join(f"{name} {value:g}" for name, value in asked.items() if value is not None)
        LOGGER.info("port %d (%s) is set: %s", port, direction.name.lower(), told)
        return {}

    handlers = (list_ports, add, remove, set_port)
    return Service(SERVICE, {name: _handler(do) for name, do in zip(_METHODS, handlers, strict=True)})


def _port(request: _Json) -> int:
    port = request["port"]
    # Numbers of a Struct are floats: a fraction, an infinity or NaN among them.
    if not isinstance(port, float) or not 0 <= port <= MAX_PORT or port % 1:
        raise invalid(f"{port!r} is not a port number in 0..{MAX_PORT}")
    return int(port)


_LINK = tuple(field.name for field in dataclasses.fields(Link))
_QUEUE = ("queue_depth", "queue_rate_pps", "priority", "seed")
_DIRECTIONS = {direction.name.lower(): direction for direction in Direction}


def _whole(request: _Json, name: str) -> int | None:
    """Taken out of the request; None where it is not there."""
    value = request.pop(name, None)
    if value is None:
        return None
    if not isinstance(value, float) or not 0 <= value < 2**53 or value % 1:
        raise invalid(f"{name}: {value!r} is not a whole number of 0 or more")
    return int(value)


def _shaping(port: int, shaping: PortShaping) -> _Json:
    links = {
        direction.name.lower(): dataclasses.asdict(state.link)
        | {n: v for n, v in state._asdict().items() if n != "link"}
        for direction, state in shaping.links.items()
    }
    queues = [queue._asdict() for queue in shaping.queues]
    return {"port": port, "queued": shaping.queued, "queues": queues} | links


def _handler(do: Callable[[_Json], _Json]) -> Unary:
    async def handle(data: bytes, context: Context) -> bytes:
        # grpc shows a certificate only when it was asked for, and so verified
        if "x509_pem_cert" not in context.auth_context() and not is_local(context.peer()):
            text = "ports are changed from the switch's own machine, or with a client certificate"
            raise P4RuntimeError(StatusCode.PERMISSION_DENIED, text)
        try:
            answer = do(dict(struct_pb2.Struct.FromString(data).items()))
        except (DecodeError, KeyError, TypeError, ValueError) as error:
            raise invalid(f"{type(error).__name__}: {error}") from error
        return json_format.ParseDict(answer, struct_pb2.Struct()).SerializeToString()

    return handle


def is_local(peer: str) -> bool:
    """Whether a peer, as grpc names it, is of this machine: loopback, or a socket in the file system."""
    kind, _, address = unquote(peer).partition(":")
    if kind not in ("ipv4", "ipv6"):
        return kind in ("unix", "unix-abstract")
    host = address.rpartition(":")[0].strip("[]").partition("%")[0]
    parsed = ipaddress.ip_address(host)
    return (getattr(parsed, "ipv4_mapped", None) or parsed).is_loopback


def _describe() -> None:
    """Let reflection tell what the methods take and give."""
    file = descriptor_pb2.FileDescriptorProto(
        name="softswitch/v1/ports.proto", package=PACKAGE, syntax="proto3", dependency=[struct_pb2.DESCRIPTOR.name]
    )
    described = file.service.add(name=SERVICE.rpartition(".")[2])
    message = f".{struct_pb2.Struct.DESCRIPTOR.full_name}"
    for name in _METHODS:
        described.method.add(name=name, input_type=message, output_type=message)
    descriptor_pool.Default().AddSerializedFile(file.SerializeToString())


_describe()
