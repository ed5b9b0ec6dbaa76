"""From the fabric to the table entries of one switch: pure, so that running it twice gives the same entries."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network

from controller.fabric.paths import ReportPath, Route, report_paths, routes, way
from controller.fabric.schema import Fabric, Service
from controller.fabric.settings import settings
from controller.fabric.sources import speakers
from controller.keys.ring import Binding, BindingKeys
from hitless.component.endpoint import ServiceProtocol
from hitless.steering.policies import Policy, Random
from hitless.steering.settings import Settings
from hitless.words import (
    DROP_PORT,
    MEMBER_BITS,
    NEWCOMER_BITS,
    PROTOCOL_ICMP,
    PROTOCOL_TCP,
    PROTOCOL_UDP,
    SERVICE_BITS,
    SERVICE_NETWORK,
    FlowPlace,
)

GROUPS = "multicast_group"
"""Where multicast groups stand: in no table, but they are compared and written like a table's entries."""
ANY = (0, 0)
"""Every address, as a prefix."""
PROTOCOLS: Mapping[ServiceProtocol, int] = {"tcp": PROTOCOL_TCP, "udp": PROTOCOL_UDP}
"""In IPv4's header."""
SECRETS = frozenset({"key", "next_key"})
"""Parameters that no log may show."""

Key = tuple[tuple[str, int | tuple[int, int]], ...]
"""(field, value) pairs in the table's order; an LPM value is (address, prefix length)."""


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where an entry stands: a table and a match key. A switch has at most one entry at a place."""

    table: str
    key: Key

    def __str__(self) -> str:
        fields = ", ".join(f"{name}={_shown(value)}" for name, value in self.key)
        return f"{self.table}[{fields}]"


@dataclass(frozen=True, slots=True)
class Act:
    """What an entry does: an action and its parameters, in the action's order."""

    name: str
    params: tuple[tuple[str, int], ...] = ()

    def __str__(self) -> str:
        params = (f"{name}={'secret' if name in SECRETS and value else value}" for name, value in self.params)
        return f"{self.name}({', '.join(params)})"


Entries = Mapping[Place, Act]
"""The contents of a switch's tables."""


@dataclass(frozen=True, slots=True)
class Overrides:
    """What is known only at run time: the operators' word over the fabric file's, and the keys."""

    pins: Mapping[str, str] = field(default_factory=dict)
    """Service -> node that is to be its host."""
    keys: Mapping[Binding, BindingKeys] = field(default_factory=dict)
    """What reports are authenticated with."""
    excluded: frozenset[str] = frozenset()
    """The nodes whose instances are as if they were not there: they get nothing, and none of their reports counts."""
    doubted: frozenset[Binding] = frozenset()
    """The instances whose reports make them a last resort at best."""


def _shown(value: int | tuple[int, int]) -> str:
    return f"{IPv4Address(value[0])}/{value[1]}" if isinstance(value, tuple) else str(value)


def instance_index(service: Service, member: int) -> int:
    """The index of an instance in every per-instance table, register and counter: service ++ member."""
    return service.index << MEMBER_BITS | member


def newcomers_index(service: Service, place: FlowPlace) -> int:
    """The index in the counter of flows that begin: service ++ place."""
    return service.index << NEWCOMER_BITS - SERVICE_BITS | place


def desired_entries(fabric: Fabric, switch: str, overrides: Overrides = Overrides()) -> dict[Place, Act]:
    """Every entry that a switch should have. Raises KeyError when an override names what the fabric does not have."""
    around = routes(fabric, switch)
    steered = dict(fabric.services_on(switch))
    entries = [*_sources(fabric, switch), *_routes(fabric, switch, around)]
    entries += [*_arp(fabric, switch, around), *_own_addresses(fabric, switch)]
    for name, service in fabric.services.items():
        paths = {
            node: through[switch]
            for node in service.instances
            if node not in overrides.excluded and switch in (through := report_paths(fabric, name, node))
        }
        wanted = settings(fabric, name, overrides.pins.get(name))
        if name in steered:
            entries += _steered(service)
            entries += _intent(service, wanted, wanted.policy)
            entries += _instances(fabric, switch, service, around, overrides.excluded)
        elif paths:
            # What it takes to accept the reports and send them on: no endpoint, and a policy that elects no host.
            entries += _intent(service, wanted, Random())
        for node, path in paths.items():
            binding = (name, node)
            entries += _binding(fabric, service, node, path, overrides.keys.get(binding), binding in overrides.doubted)
        entries += _answers(fabric, switch, service)
    return dict([*entries, *_tunnels(fabric, switch)])


def _mac(text: str) -> int:
    return int(text.replace(":", ""), 16)


def _host_route(address: IPv4Address) -> tuple[int, int]:
    return int(address), 32


def _prefix(network: IPv4Network) -> tuple[int, int]:
    return int(network.network_address), network.prefixlen


def _sources(fabric: Fabric, switch: str) -> Iterator[tuple[Place, Act]]:
    """Who may speak at each port, and how the switch speaks there."""
    address = int(fabric.gateway_of(switch).address)
    for port, behind in speakers(fabric, switch).items():
        speak = Act("speak", (("mac", _mac(behind.mac)), ("address", address)))
        allowed = [_host_route(source) for source in sorted(behind.addresses)] + [ANY] * behind.any
        for source in allowed:
            yield Place("sources", (("port", port), ("source", source))), speak
        for network in behind.refused(fabric):
            yield Place("sources", (("port", port), ("source", _prefix(network)))), Act("no_speaker")


def _towards(fabric: Fabric, switch: str, around: Mapping[str, Route]) -> Iterator[tuple[IPv4Address, Route]]:
    """The addresses that are reached through other switches: hosts, gateways, services that are steered elsewhere."""
    for host in fabric.hosts.values():
        if host.switch in around:
            yield host.address, around[host.switch]
    own = fabric.gateway_of(switch).address
    for other, route in around.items():
        if (address := fabric.gateway_of(other).address) != own:
            yield address, route
    here = {service.address for _, service in fabric.services_on(switch)}
    for name, service in fabric.services.items():
        nearest = next((other for other in around if other in fabric.steering_switches(name)), None)
        if service.address not in here and nearest is not None:
            yield service.address, around[nearest]


def _routes(fabric: Fabric, switch: str, around: Mapping[str, Route]) -> Iterator[tuple[Place, Act]]:
    source = _mac(fabric.gateway_of(switch).mac)
    for _, host in fabric.hosts_on(switch):
        yield (
            Place("routes", (("address", _host_route(host.address)),)),
            Act("forward", (("port", host.port), ("source", source), ("destination", _mac(host.mac)))),
        )
    for address, route in _towards(fabric, switch, around):
        out, into = route.first.out, route.first.into
        yield (
            Place("routes", (("address", _host_route(address)),)),
            Act("forward", (("port", out.port), ("source", _mac(out.mac)), ("destination", _mac(into.mac)))),
        )
    yield Place("routes", (("address", _prefix(SERVICE_NETWORK)),)), Act("no_host")
    for address in _own(fabric, switch):
        yield Place("routes", (("address", _host_route(address)),)), Act("own")


def _arp(fabric: Fabric, switch: str, around: Mapping[str, Route]) -> Iterator[tuple[Place, Act]]:
    """The switch answers with its own MAC for its gateway, the services, and hosts behind other ports (proxy ARP).

    Nobody is behind the drop port, so what is at home there is always answered for.
    """
    gateway = fabric.gateway_of(switch)
    mac = _mac(gateway.mac)
    always = (_host_route(gateway.address), _prefix(SERVICE_NETWORK))
    for address in always:
        yield Place("arp", (("address", address),)), Act("reply", (("mac", mac), ("home", DROP_PORT)))
    for _, host in fabric.hosts_on(switch):
        yield (
            Place("arp", (("address", _host_route(host.address)),)),
            Act("reply", (("mac", mac), ("home", host.port))),
        )
    for distant, route in _towards(fabric, switch, around):
        if distant not in SERVICE_NETWORK:
            yield (
                Place("arp", (("address", _host_route(distant)),)),
                Act("reply", (("mac", mac), ("home", route.first.out.port))),
            )


def _endpoint(address: IPv4Address, protocol: int, port: int) -> Place:
    return Place("endpoints", (("address", int(address)), ("protocol", protocol), ("port", port)))


def _own_addresses(fabric: Fabric, switch: str) -> Iterator[tuple[Place, Act]]:
    yield _endpoint(fabric.reports.address, PROTOCOL_UDP, fabric.reports.port), Act("to_reports")
    for address in _own(fabric, switch):
        yield _endpoint(address, PROTOCOL_ICMP, 0), Act("to_ping")


def _own(fabric: Fabric, switch: str) -> set[IPv4Address]:
    """The addresses that a switch answers for itself."""
    services = (service.address for _, service in fabric.services_on(switch))
    return {fabric.gateway_of(switch).address, fabric.reports.address, *services}


def _steered(service: Service) -> Iterator[tuple[Place, Act]]:
    place = _endpoint(service.address, PROTOCOLS[service.protocol], service.port)
    yield place, Act("to_service", (("service", service.index),))


def _answers(fabric: Fabric, switch: str, service: Service) -> Iterator[tuple[Place, Act]]:
    """What the instances behind this switch answer is counted, whoever steers to them, and at which address they were
    called: clients may know their nodes'."""
    for node, instance in service.instances.items():
        host = fabric.hosts[node]
        if host.switch == switch:
            for address in (service.address, host.address):
                key: Key = (
                    ("port", host.port),
                    ("address", int(address)),
                    ("protocol", PROTOCOLS[service.protocol]),
                    ("service_port", service.port),
                )
                counts = Act("from_instance", (("service", service.index), ("member", instance.member)))
                yield Place("answers", key), counts


def _intent(service: Service, wanted: Settings, policy: Policy) -> Iterator[tuple[Place, Act]]:
    key: Key = (("service", service.index),)
    yield Place("services", key), Act(wanted.action, wanted.params)
    yield Place("policies", key), Act(policy.action, policy.params)
    yield Place("scoring", key), Act(wanted.score.action, wanted.score.params)


def _instances(
    fabric: Fabric, switch: str, service: Service, around: Mapping[str, Route], excluded: Collection[str]
) -> Iterator[tuple[Place, Act]]:
    for node, instance in service.instances.items():
        if node in excluded:
            continue
        host = fabric.hosts[node]
        place = Place("instances", (("instance", instance_index(service, instance.member)),))
        common = (("node", int(host.address)), ("generation", instance.generation))
        cost = ("path_cost", fabric.nodes[node].path_cost)
        if host.switch == switch:
            yield place, Act("at_node", (*common, cost))
        elif host.switch in around:
            source = int(fabric.gateway_of(switch).address)
            tunnel = (("tunnel_source", source), ("path_mtu", around[host.switch].mtu))
            yield place, Act("at_remote_node", (*common, *tunnel, cost))


def _binding(
    fabric: Fabric, service: Service, node: str, path: ReportPath, keys: BindingKeys | None, doubted: bool
) -> Iterator[tuple[Place, Act]]:
    instance = service.instances[node]
    group = 0
    if path.onward:
        # Group 0 is none, so the groups begin with 1.
        group = instance_index(service, instance.member) + 1
        yield Place(GROUPS, (("group", group),)), Act("copy", tuple(("port", port) for port in path.onward))
    yield (
        Place(
            "bindings",
            (
                ("port", path.port),
                ("source", int(fabric.hosts[node].address)),
                ("service_id", service.service_id),
                ("node_id", fabric.nodes[node].node_id),
            ),
        ),
        Act(
            "bind",
            (
                ("service", service.index),
                ("member", instance.member),
                ("generation", instance.generation),
                ("path_cost", fabric.nodes[node].path_cost),
                ("copy_group", group),
                *_key(fabric, keys),
                ("doubted", int(doubted)),
            ),
        ),
    )


def heard_of(fabric: Fabric, entries: Entries, hosts: Mapping[str, str]) -> Entries:
    """The entries with which a switch hears, of the services in `hosts`, the reports of that node alone."""
    heard = {fabric.services[name].index: fabric.services[name].instances[node].member for name, node in hosts.items()}

    def kept(place: Place, act: Act) -> bool:
        params = dict(act.params)
        return place.table != "bindings" or heard.get(params["service"]) in (None, params["member"])

    return {place: act for place, act in entries.items() if kept(place, act)}


def _key(fabric: Fabric, keys: BindingKeys | None) -> Iterator[tuple[str, int]]:
    """The keys as the switch has them; without a next key, the current one stands in both places."""
    for prefix, key in (("", keys and keys.current), ("next_", keys and (keys.next or keys.current))):
        yield f"{prefix}key_id", key.id if key else 0
        yield f"{prefix}key", int.from_bytes(key.secret) if key else 0
    yield "authenticate", int(fabric.reports.authentication == "required")


def _tunnels(fabric: Fabric, switch: str) -> Iterator[tuple[Place, Act]]:
    """Where tunnels end here: the nodes behind this switch that other switches steer to; and where each begins."""
    for name, service in fabric.services.items():
        for other in fabric.steering_switches(name):
            if other == switch:
                continue
            port = list(way(fabric, other, switch))[-1].into.port
            begins = _host_route(fabric.gateway_of(other).address)
            for node in service.instances:
                host = fabric.hosts[node]
                if host.switch == switch:
                    end = ("address", int(host.address))
                    yield Place("tunnels", (end, ("source", begins))), Act("decapsulate", (("port", port),))
                    yield Place("tunnels", (end, ("source", ANY))), Act("no_tunnel")
