"""What a controller changes to move a service, each in the quickest way that its kind has."""

from __future__ import annotations

import asyncio
import ctypes
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Any, Protocol

from pyroute2 import AsyncIPRoute, AsyncNFCTSocket

from controller.switches.diff import Changes, Kind, Update
from controller.switches.entries import Act, Place
from controller.switches.p4runtime import Connection, Program
from experiments.moves.bus import CLIENT_CONTROL_PORT, Endpoint
from experiments.moves.checks import answering
from experiments.moves.ground import MEMBERS
from experiments.moves.launcher import Processes
from experiments.moves.ways import Way
from experiments.native.lab import CLIENT, DEVICE_ID, FIRST_NODE_PORT, NODES, SERVICE_PORT, SERVICES
from hitless.mqtt.session import Session


class RuleError(Exception):
    """A rule cannot be changed; the message says what was said."""


class Rules(Protocol):
    """The one rule that says where new work goes."""

    async def move_to(self, member: int) -> None:
        """Have new work go to a node; it does when this returns. Raises RuleError, SwitchError."""


class Table:
    """The switch's entry of who is the host, by P4Runtime."""

    def __init__(self, connection: Connection, service: int) -> None:
        self._connection = connection
        self._place = Place("policies", (("service", service),))

    async def move_to(self, member: int) -> None:
        """Modify it."""
        act = Act("pinned", (("member", member),))
        await self._connection.write(Changes(((Update(Kind.MODIFY, self._place, act),),)))


class Route:
    """The route of the service's address, by netlink: what `ip route replace` does, without a process for it."""

    def __init__(self, netlink: Any, interfaces: Sequence[int], service: int) -> None:
        """`interfaces`: the index of the one that each node is behind."""
        self._netlink = netlink
        self._interfaces = interfaces
        self._address = f"{IPv4Address(SERVICES + service)}/32"

    async def move_to(self, member: int) -> None:
        """Replace it; the kernel has acknowledged it then."""
        gateway = str(IPv4Address(NODES + member))
        await self._netlink.route("replace", dst=self._address, gateway=gateway, oif=self._interfaces[member])


class Translation:
    """What the service's address is translated to, by nftables; flows that are known are forgotten."""

    TABLE = "moves"

    def __init__(self, flows: Any, service: int) -> None:
        """`flows`: conntrack's netlink socket."""
        try:
            self._library = ctypes.CDLL("libnftables.so.1")
        except OSError as error:
            raise RuleError(f"dnat: {error}: install libnftables1, or leave dnat out (--only)") from None
        self._library.nft_ctx_new.restype = ctypes.c_void_p
        self._library.nft_ctx_get_error_buffer.restype = ctypes.c_char_p
        self._context = ctypes.c_void_p(self._library.nft_ctx_new(0))
        self._library.nft_ctx_buffer_error(self._context)
        self._flows = flows
        self._host = 0
        address = IPv4Address(SERVICES + service)
        self._do(
            f"add table ip {self.TABLE}; delete table ip {self.TABLE}; add table ip {self.TABLE};"
            f"add map ip {self.TABLE} host {{ type ipv4_addr : ipv4_addr; }};"
            f"add element ip {self.TABLE} host {{ {address} : {IPv4Address(NODES)} }};"
            f"add chain ip {self.TABLE} pre {{ type nat hook prerouting priority dstnat; }};"
            f"add rule ip {self.TABLE} pre udp dport {SERVICE_PORT} dnat to ip daddr map @host"
        )
        self._address = address

    async def move_to(self, member: int) -> None:
        """Replace it in one transaction, then flush the connections."""
        if member != self._host:
            self._do(
                f"delete element ip {self.TABLE} host {{ {self._address} }};"
                f"add element ip {self.TABLE} host {{ {self._address} : {IPv4Address(NODES + member)} }}"
            )
            self._host = member
        await self._flows.flush()

    def remove(self) -> None:
        """Translate nothing any more."""
        self._do(f"delete table ip {self.TABLE}")

    def _do(self, commands: str) -> None:
        if self._library.nft_run_cmd_from_buffer(self._context, commands.encode()):
            said = self._library.nft_ctx_get_error_buffer(self._context)
            raise RuleError(f"nft {commands}: {said.decode(errors='replace').strip() if said else 'refused'}")


class ClientTold:
    """Where the client sends, by a datagram to it."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    async def move_to(self, member: int) -> None:
        """Tell it; that it has heard is not known."""
        self._socket.sendto((NODES + member).to_bytes(4), (str(IPv4Address(CLIENT)), CLIENT_CONTROL_PORT))


class Both:
    """Two that change together, the one after the other."""

    def __init__(self, first: Rules, then: Rules) -> None:
        self._first = first
        self._then = then

    async def move_to(self, member: int) -> None:
        """Change both."""
        await self._first.move_to(member)
        await self._then.move_to(member)


@dataclass(frozen=True, slots=True)
class Places:
    """Where what a way changes is reached, each if the way has it."""

    switch: str | None = None
    """Where the switch serves P4Runtime."""
    session: Session | None = None
    """The controller's with the broker."""
    term: int = 0
    """Of its publications, which later ones exceed."""
    launchers: Sequence[str] = ()
    """The sockets of the nodes' launchers."""


@asynccontextmanager
async def rules_of(way: Way, places: Places) -> AsyncIterator[Rules]:
    """What a way changes. Raises RuleError, SwitchError, SessionError, OSError."""
    match way.rule:
        case "table":
            assert places.switch is not None, "there is one"
            connection = Connection("switch", places.switch, DEVICE_ID, Program.compiled().schema())
            async with connection:
                await connection.become_primary()
                yield Table(connection, way.service)
        case "route":
            async with _route(way) as route:
                yield route
        case "dnat":
            async with AsyncNFCTSocket() as flows:
                translation = Translation(flows, way.service)
                try:
                    yield translation
                finally:
                    translation.remove()
        case "endpoint":
            yield ClientTold()
        case "publication":
            assert places.session is not None, "there is one"
            endpoint = Endpoint(places.session, places.term)
            await endpoint.move_to(0)
            yield endpoint
        case "check":
            async with answering() as checks:
                yield checks
        case "process":
            async with _route(way) as route:
                launchers = [await asyncio.open_unix_connection(one) for one in places.launchers]
                both = Both(Processes(launchers), route)
                await both.move_to(0)
                yield both
                for _, writer in launchers:
                    writer.close()
        case None:
            raise ValueError("the switch moves the service by itself")


@asynccontextmanager
async def _route(way: Way) -> AsyncIterator[Route]:
    async with AsyncIPRoute() as netlink:
        names = [f"s{FIRST_NODE_PORT + member}" for member in range(MEMBERS)]
        found = [(await netlink.link_lookup(ifname=name))[0] for name in names]
        yield Route(netlink, found, way.service)
