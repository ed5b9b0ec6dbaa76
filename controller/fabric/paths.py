"""Routes between switches: shortest by hops, and by the file's order among equals. Pure.

A report enters at the switch that its node sits behind. Copies go from there to every switch that steers its service,
along the tree of shortest paths whose root is the entrance, so that no copy comes twice or goes round.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from controller.fabric.schema import Fabric, LinkEnd


@dataclass(frozen=True, slots=True)
class Hop:
    """One way over a link."""

    out: LinkEnd
    """The end at the switch that sends."""
    into: LinkEnd
    """The end at the switch that receives."""
    mtu: int


def hops(fabric: Fabric, switch: str) -> Iterator[Hop]:
    """The links of a switch, from its side, in the file's order."""
    for link in fabric.links:
        for out, into in (link.ends, link.ends[::-1]):
            if out.switch == switch:
                yield Hop(out, into, link.mtu)


def tree(fabric: Fabric, root: str) -> dict[str, Hop]:
    """Every other switch that `root` reaches, and the last hop of the shortest path there."""
    last: dict[str, Hop] = {}
    waiting = deque([root])
    while waiting:
        for hop in hops(fabric, waiting.popleft()):
            if hop.into.switch != root and hop.into.switch not in last:
                last[hop.into.switch] = hop
                waiting.append(hop.into.switch)
    return last


def path(last: Mapping[str, Hop], target: str) -> list[Hop]:
    """The hops from the root of a tree to one of its switches; none to the root itself, or to one out of reach."""
    found: list[Hop] = []
    while target in last:
        found.append(last[target])
        target = last[target].out.switch
    return found[::-1]


@dataclass(frozen=True, slots=True)
class Route:
    """How one switch reaches another."""

    first: Hop
    mtu: int
    """The least of its links, in bytes."""


def routes(fabric: Fabric, switch: str) -> dict[str, Route]:
    """How a switch reaches every other one."""
    last = tree(fabric, switch)
    return {target: Route(found[0], min(hop.mtu for hop in found)) for target in last for found in [path(last, target)]}


def way(fabric: Fabric, origin: str, target: str) -> Iterator[Hop]:
    """The hops of a packet from one switch to another: each switch on the way sends it on by its own route."""
    at = origin
    while at != target:
        hop = routes(fabric, at)[target].first
        yield hop
        at = hop.into.switch


def arrivals(fabric: Fabric, switch: str) -> dict[str, frozenset[int]]:
    """By the switch that packets come from first, the ports of this one by which they may come in, wherever they go."""
    return {
        origin: frozenset(
            hop.into.port
            for target in fabric.switches
            for hop in way(fabric, origin, target)
            if hop.into.switch == switch
        )
        for origin in fabric.switches
        if origin != switch
    }


@dataclass(frozen=True, slots=True)
class ReportPath:
    """How an instance's reports pass through one switch."""

    port: int
    """Where they come in."""
    onward: tuple[int, ...]
    """The ports of the copies that it sends on, ascending."""


def report_paths(fabric: Fabric, service: str, node: str) -> dict[str, ReportPath]:
    """The switches that take an instance's reports: where they enter, those that steer, and those in between."""
    host = fabric.hosts[node]
    last = tree(fabric, host.switch)
    used = {hop for target in fabric.steering_switches(service) for hop in path(last, target)}
    arrives = {host.switch: host.port} | {hop.into.switch: hop.into.port for hop in used}
    return {
        switch: ReportPath(port, tuple(sorted(hop.out.port for hop in used if hop.out.switch == switch)))
        for switch, port in arrives.items()
    }
