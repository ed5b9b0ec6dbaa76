"""A client of the Thrift services, and what tests write with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from softswitch.engine.engine import Engine
from softswitch.thrift.definitions import replication, simple_switch, standard
from softswitch.thrift.idl import Method
from thrift.protocol.TBinaryProtocol import TBinaryProtocol
from thrift.Thrift import TApplicationException, TMessageType
from thrift.transport.TSocket import TSocket
from thrift.transport.TTransport import TBufferedTransport

NO_OPTIONS = standard.EntryOptions(priority=0)


class Service:
    """The methods of one service, as calls."""

    def __init__(self, methods: dict[str, Method], name: str, protocol: Any) -> None:
        self._methods, self._name, self._protocol = methods, name, protocol

    def __getattr__(self, label: str) -> Any:
        method, protocol = self._methods[label], self._protocol

        def call(*arguments: Any) -> Any:
            protocol.writeMessageBegin(f"{self._name}:{label}", TMessageType.CALL, 1)
            method.arguments(**dict(zip(method.fields, arguments, strict=True))).write(protocol)
            protocol.writeMessageEnd()
            protocol.trans.flush()
            _, kind, _ = protocol.readMessageBegin()
            answer = TApplicationException() if kind == TMessageType.EXCEPTION else method.result()
            answer.read(protocol)
            protocol.readMessageEnd()
            if isinstance(answer, Exception):
                raise answer
            for field in method.errors:
                if (error := getattr(answer, field)) is not None:
                    raise error
            return getattr(answer, "success", None)

        return call


class ThriftClient:
    """Clients of all services over one connection, as simple_switch_CLI has them."""

    def __init__(self, port: int) -> None:
        socket = TSocket("127.0.0.1", port)
        socket.setTimeout(20_000)
        self._transport = TBufferedTransport(socket)
        protocol = TBinaryProtocol(self._transport)
        self.standard = Service(standard.Standard, "standard", protocol)
        self.pre = Service(replication.SimplePre, "simple_pre", protocol)
        self.lag = Service(replication.SimplePreLAG, "simple_pre_lag", protocol)
        self.switch = Service(simple_switch.SimpleSwitch, "simple_switch", protocol)

    def __enter__(self) -> ThriftClient:
        self._transport.open()
        return self

    def __exit__(self, *_: object) -> None:
        self._transport.close()


@dataclass(frozen=True)
class ThriftSwitch:
    """A switch as device 1: where it serves P4Runtime, where Thrift, and a client of the latter."""

    address: str
    thrift_port: int
    engine: Engine
    client: ThriftClient


def code(kind: Any, call: Any, *arguments: Any) -> str:
    """The name of the code with which a call ends; `kind` is the enum."""
    try:
        call(*arguments)
    except Exception as error:
        found = getattr(error, "code", None)
        if found is None:
            raise
        return str(kind(found).name)
    raise AssertionError("the call was done")


def exact(value: int, octets: int = 1) -> Any:
    """A field of a key."""
    return standard.Match(type=standard.MatchType.EXACT, exact=standard.ExactMatch(key=value.to_bytes(octets, "big")))


def lpm(value: int, length: int, octets: int = 2) -> Any:
    """A field of a key."""
    match = standard.LpmMatch(key=value.to_bytes(octets, "big"), prefix_length=length)
    return standard.Match(type=standard.MatchType.LPM, lpm=match)


def ternary(value: int, mask: int, octets: int = 1) -> Any:
    """A field of a key."""
    match = standard.TernaryMatch(key=value.to_bytes(octets, "big"), mask=mask.to_bytes(octets, "big"))
    return standard.Match(type=standard.MatchType.TERNARY, ternary=match)


def between(low: int, high: int, octets: int = 2) -> Any:
    """A field of a key."""
    match = standard.RangeMatch(low=low.to_bytes(octets, "big"), high=high.to_bytes(octets, "big"))
    return standard.Match(type=standard.MatchType.RANGE, range=match)
