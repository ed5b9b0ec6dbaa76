"""Where a service moves: a client, two nodes and a controller around a middle, which is a switch or a Linux router.

Both middles have the same hosts, addresses and wires. The hosts know the middle by one
address and send everything there.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

from experiments.native.lab import (
    CLIENT,
    CLIENT_MAC,
    CLIENT_PORT,
    FIRST_NODE_PORT,
    NODE_MAC,
    NODES,
    SERVICES,
    SWITCH_MAC,
    Lab,
    Service,
    Wired,
    route,
)
from hitless.steering.policies import Pinned, Policy

MEMBERS = 2
CONTROLLER, CONTROLLER_MAC = int(IPv4Address("10.0.2.1")), 0x020000000200
CONTROLLER_PORT = FIRST_NODE_PORT + MEMBERS
MIDDLE = int(IPv4Address("10.255.255.1"))
"""The router's own address; on the switch's side the hosts' next hop in name only."""
INTERFACE = "e"
"""Of each host."""
W_QUEUE = 3
"""Left shift of the queue in the load: a busy node's queue of 100 is twice the default margin."""
STEERED, WRITTEN = 1, 2
"""Services on the switch: one that it moves itself, one whose host the controller writes."""


def text(address: int) -> str:
    """An address as commands have it."""
    return str(IPv4Address(address))


def node(member: int) -> str:
    """A node's namespace."""
    return f"node{member}"


@dataclass(frozen=True)
class Host:
    """A host behind a port of the middle."""

    name: str
    """Its namespace."""
    port: int
    address: int
    mac: int


HOSTS = (
    Host("client", CLIENT_PORT, CLIENT, CLIENT_MAC),
    *(Host(node(member), FIRST_NODE_PORT + member, NODES + member, NODE_MAC + member) for member in range(MEMBERS)),
    Host("controller", CONTROLLER_PORT, CONTROLLER, CONTROLLER_MAC),
)


@dataclass
class Ground(Wired):
    """The hosts and the middle's namespace, `switch`. The nodes own the services' addresses."""

    def lay(self) -> None:
        """The namespaces and their wires, and the hosts' addresses and routes."""
        self.make("switch")
        for host in HOSTS:
            self.make(host.name)
            self.join(("switch", f"s{host.port}"), (host.name, INTERFACE))
            self._configure(host)
        self.interfaces = {host.port: f"s{host.port}" for host in HOSTS}

    def _configure(self, host: Host) -> None:
        ip = [
            ["link", "set", "lo", "up"],
            ["link", "set", INTERFACE, "address", mac(host.mac)],
            ["address", "add", f"{text(host.address)}/32", "dev", INTERFACE],
            ["neigh", "add", text(MIDDLE), "lladdr", mac(SWITCH_MAC), "nud", "permanent", "dev", INTERFACE],
            ["route", "add", "default", "via", text(MIDDLE), "dev", INTERFACE, "onlink"],
        ]
        if host.address - NODES in range(MEMBERS):
            ip += [["address", "add", f"{text(SERVICES + number)}/32", "dev", "lo"] for number in (STEERED, WRITTEN)]
        for words in ip:
            self.run(["ip", *words], host.name)


def mac(value: int) -> str:
    """A MAC address as commands have it."""
    return ":".join(f"{octet:02x}" for octet in value.to_bytes(6))


@dataclass
class Router(Ground):
    """The middle is Linux, which forwards."""

    def lay(self) -> None:
        """All of it."""
        super().lay()
        self.run(["sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv4.conf.all.send_redirects=0"], "switch")
        self.run(["ip", "link", "set", "lo", "up"], "switch")
        self.run(["ip", "address", "add", f"{text(MIDDLE)}/32", "dev", "lo"], "switch")
        for host in HOSTS:
            interface = f"s{host.port}"
            for words in (
                ["link", "set", interface, "address", mac(SWITCH_MAC)],
                ["neigh", "add", text(host.address), "lladdr", mac(host.mac), "nud", "permanent", "dev", interface],
                ["route", "add", f"{text(host.address)}/32", "dev", interface],
            ):
                self.run(["ip", *words], "switch")


@asynccontextmanager
async def switch(target: str, folder: Path, policy: Policy) -> AsyncIterator[tuple[Ground, Lab]]:
    """The middle is a switch with the steering program. `policy` is that of the service that it moves itself."""
    with Ground(folder) as ground:
        async with Lab(target, MEMBERS, ground) as lab:
            for service in (Service(STEERED, MEMBERS, policy, W_QUEUE), Service(WRITTEN, MEMBERS, Pinned(0))):
                await lab.write(lab.entries(service))
            await lab.write([route(CONTROLLER, CONTROLLER_PORT, CONTROLLER_MAC)])
            await lab.leave()
            yield ground, lab
