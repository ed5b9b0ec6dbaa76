"""What a fabric must be for its network to be laid out with Mininet on one machine; `network` builds what passes."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from controller.fabric import file as fabric_file
from controller.fabric.file import Fabric
from hitless.located import Location
from topologies.emulation import EMULATORS, emulated

HOSTS_PREFIX = 24
"""Of the subnet that a host shares with its gateway."""
MANAGEMENT_PREFIX = 30
"""Of the subnet of a management link, which carries P4Runtime between the controller's host and a switch, and nothing
else: it holds the switch's address, which the fabric file names, and the host's."""
MANAGEMENT_PORT = 255
"""The port of a switch in Mininet's book that its management link takes."""
INTERFACE_NAME = 15
"""Longest name of an interface in Linux (IFNAMSIZ, without its end)."""

Obstacle = tuple[Location, str]


def load(path: Path, *, bridged: bool, target: str = "softswitch") -> Fabric:
    """Read a fabric file whose network can be laid out here, with learning bridges if `bridged`, else with a `target`.

    Raises FabricError: what cannot be laid out is told by line, as what is wrong in itself.
    """
    fabric = fabric_file.load(path)
    fabric_file.refuse(path, list(obstacles(fabric, bridged=bridged, target=target)))
    return fabric


def obstacles(fabric: Fabric, *, bridged: bool, target: str) -> Iterator[Obstacle]:
    """What keeps a fabric from being laid out, with its place in the file. Pure."""
    yield from _services_of_the_controller(fabric)
    yield from _management(fabric)
    yield from _names(fabric)
    yield from _ports(fabric)
    for name, host in fabric.hosts.items():
        gateway = fabric.gateway_for(name).address
        if host.address not in _subnet(gateway, HOSTS_PREFIX):
            place = ("hosts", name, "address")
            yield place, f"expected an address of {_subnet(gateway, HOSTS_PREFIX)}, where its gateway is"
    if bridged:
        yield from _bridges(fabric)
    if bridged or target not in EMULATORS:
        able = " and ".join(EMULATORS)
        yield from (
            (place, f"only {able} emulates links: take it as target, or leave this out") for place in emulated(fabric)
        )


def controller_host(fabric: Fabric) -> str | None:
    """The host that has the broker's address: broker and controller run there."""
    return next((name for name, host in fabric.hosts.items() if str(host.address) == fabric.broker.host), None)


def _services_of_the_controller(fabric: Fabric) -> Iterator[Obstacle]:
    if controller_host(fabric) is None:
        yield ("broker", "host"), "expected the address of one of the hosts: broker and controller run there"
    elif fabric.repository.host != fabric.broker.host:
        yield ("repository", "host"), f"expected {fabric.broker.host}, the broker's host: the controller runs there"


def _management(fabric: Fabric) -> Iterator[Obstacle]:
    taken: dict[IPv4Network, str] = {}
    for name, switch in fabric.switches.items():
        place = ("switches", name, "p4runtime")
        text = switch.p4runtime.rpartition(":")[0]
        try:
            address = IPv4Address(text)
        except ValueError:
            yield place, f"expected an IPv4 address and a port, for a management link leads there, got {text!r}"
            continue
        subnet = _subnet(address, MANAGEMENT_PREFIX)
        if address.is_loopback or address not in tuple(subnet.hosts()):
            yield place, f"{address} cannot be an end of a management link; expected such as 192.168.255.1:9559"
        elif subnet in taken:
            yield place, f"expected a subnet /{MANAGEMENT_PREFIX} of its own: {taken[subnet]} is in {subnet} too"
        elif (
            host := next((one for one in fabric.hosts if subnet.overlaps(_subnet_of(fabric, one))), None)
        ) is not None:
            yield place, f"expected a subnet of its own: host {host} is in {_subnet_of(fabric, host)}"
        taken.setdefault(subnet, name)


def _names(fabric: Fabric) -> Iterator[Obstacle]:
    for name in fabric.hosts:
        if name in fabric.switches:
            yield ("hosts", name), "a switch has this name too: expected another one"
        yield from _fits("hosts", name, f"{name}-eth0")
    for name in fabric.switches:
        longest = max((len(str(port)), port) for port in (0, *_ports_of(fabric, name)))[1]
        yield from _fits("switches", name, max(f"{name}-p4rt", f"{name}-eth{longest}", key=len))


def _fits(kind: str, name: str, interface: str) -> Iterator[Obstacle]:
    if (excess := len(interface) - INTERFACE_NAME) > 0:
        yield (
            (kind, name),
            f"expected a name that is shorter by {excess}: {interface} is too long for an interface's name",
        )


def _ports(fabric: Fabric) -> Iterator[Obstacle]:
    problem = f"expected a port below {MANAGEMENT_PORT}, which is the management link's"
    for name, host in fabric.hosts.items():
        if host.port >= MANAGEMENT_PORT:
            yield ("hosts", name, "port"), problem
    for number, link in enumerate(fabric.links):
        for side, end in zip(("from", "to"), link.ends, strict=True):
            if end.port >= MANAGEMENT_PORT:
                yield ("links", number, side, "port"), problem


def _bridges(fabric: Fabric) -> Iterator[Obstacle]:
    subnets = {name: _subnet_of(fabric, name) for name in fabric.hosts}
    first = next(iter(subnets.values()))
    for name, subnet in subnets.items():
        if subnet != first:
            yield ("hosts", name, "address"), f"expected an address of {first}: behind learning bridges nobody routes"
    joined = {name: name for name in fabric.switches}
    for number, link in enumerate(fabric.links):
        one, other = (joined[end.switch] for end in link.ends)
        if one == other:
            yield ("links", number), "closes a loop, in which learning bridges would send frames round for ever"
        joined = {name: one if group == other else group for name, group in joined.items()}


def _ports_of(fabric: Fabric, switch: str) -> Iterator[int]:
    yield from (host.port for _, host in fabric.hosts_on(switch))
    yield from (end.port for link in fabric.links for end in link.ends if end.switch == switch)


def _subnet_of(fabric: Fabric, host: str) -> IPv4Network:
    return _subnet(fabric.hosts[host].address, HOSTS_PREFIX)


def _subnet(address: IPv4Address, prefix: int) -> IPv4Network:
    return IPv4Network((address, prefix), strict=False)
