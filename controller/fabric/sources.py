"""Who may send from which address at a port of a switch (BCP 38: RFC 2827, RFC 3704). Pure.

A host sends from its own address, and a node from those of the services that it serves, since it answers clients
directly. Behind a link is what lies before it on the way here: hosts, the other switches' own addresses, and services,
in whose name their nodes and the switches that steer them speak.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Final

from controller.fabric.paths import arrivals, hops
from controller.fabric.schema import Fabric, Fallback
from hitless.words import SERVICE_NETWORK

NO_SOURCES: Final = tuple(map(IPv4Network, ("0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/3")))
"""What no packet may come from: "this network", the loopback, groups, reserved addresses, the broadcast (RFC 6890)."""


@dataclass(frozen=True, slots=True)
class Speakers:
    """What may be sent at a port."""

    mac: str
    """The switch's own there."""
    addresses: frozenset[IPv4Address]
    """Sources that are known to come from there."""
    any: bool = False
    """Others may come from there, too."""

    def refused(self, fabric: Fabric) -> Iterator[IPv4Network]:
        """Where others may come from there: which may not, since they are elsewhere or nowhere."""
        if self.any:
            yield from NO_SOURCES
            yield SERVICE_NETWORK
            yield from sorted(map(IPv4Network, known(fabric) - self.addresses))


def known(fabric: Fabric) -> frozenset[IPv4Address]:
    """The addresses of hosts and switches."""
    gateways = {fabric.gateway_of(switch).address for switch in fabric.switches}
    return frozenset(gateways | {host.address for host in fabric.hosts.values()})


def speakers(fabric: Fabric, switch: str) -> dict[int, Speakers]:
    """By port of a switch, what may come in there."""
    mac = fabric.gateway_of(switch).mac
    found = {
        host.port: Speakers(mac, frozenset(_of_host(fabric, name)), host.sources == "any")
        for name, host in fabric.hosts_on(switch)
    }
    origins = arrivals(fabric, switch)
    for hop in hops(fabric, switch):
        behind = [origin for origin, ports in origins.items() if hop.out.port in ports]
        if behind:
            addresses = frozenset(address for origin in behind for address in _of_switch(fabric, origin))
            uplinks = any(host.sources == "any" for origin in behind for _, host in fabric.hosts_on(origin))
            found[hop.out.port] = Speakers(hop.out.mac, addresses, uplinks)
    return found


def _of_host(fabric: Fabric, name: str) -> Iterator[IPv4Address]:
    address = fabric.hosts[name].address
    yield address
    for service in fabric.services.values():
        falls_back = isinstance(service.on_no_live, Fallback) and service.on_no_live.fallback == address
        if name in service.instances or falls_back:
            yield service.address


def _of_switch(fabric: Fabric, switch: str) -> Iterator[IPv4Address]:
    yield fabric.gateway_of(switch).address
    for name, _ in fabric.hosts_on(switch):
        yield from _of_host(fabric, name)
    for _, service in fabric.services_on(switch):
        yield service.address
