"""From the fabric to the table entries of one switch: pure, so that running it twice gives the same entries."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address

from controller.fabric_schema import SERVICE_NETWORK, Fabric, Fallback, Pinned, Service, Single

MICROSECONDS = 1000
"""In a millisecond: the fabric file counts in milliseconds, the switch in microseconds."""
UDP = 17
TCP = 6
ICMP = 1
NOWHERE = 511
"""The `home` port of an address that is always answered for."""
AFFINITIES = {"none": 0, "flow": 1, "request": 2}
ON_NO_LIVE = {"last": 0, "fallback": 1, "drop": 2}

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
        return f"{self.name}({', '.join(f'{name}={value}' for name, value in self.params)})"


Entries = Mapping[Place, Act]
"""The contents of a switch's tables."""


@dataclass(frozen=True, slots=True)
class Overrides:
    """What operators asked for at run time, over the fabric file's word."""

    pins: Mapping[str, str] = field(default_factory=dict)
    """Service -> node that is to be its host."""


def _shown(value: int | tuple[int, int]) -> str:
    return f"{IPv4Address(value[0])}/{value[1]}" if isinstance(value, tuple) else str(value)


def instance_index(service: Service, member: int) -> int:
    """The index of an instance in every per-instance table, register and counter: service ++ member."""
    return service.index << 6 | member


def desired_entries(fabric: Fabric, switch: str, overrides: Overrides = Overrides()) -> dict[Place, Act]:
    """Every entry that a switch should have. Raises KeyError when an override names what the fabric does not have."""
    return dict(
        [
            *_hosts(fabric, switch),
            *_arp(fabric, switch),
            *_own_addresses(fabric, switch),
            *(
                pair
                for name, service in fabric.services_on(switch)
                for pair in _service(fabric, switch, service, overrides.pins.get(name))
            ),
        ]
    )


def _mac(text: str) -> int:
    return int(text.replace(":", ""), 16)


def _host_route(address: IPv4Address) -> tuple[int, int]:
    return int(address), 32


def _hosts(fabric: Fabric, switch: str) -> Iterator[tuple[Place, Act]]:
    source = _mac(fabric.gateway.mac)
    for _, host in fabric.hosts_on(switch):
        yield (
            Place("routes", (("address", _host_route(host.address)),)),
            Act("forward", (("port", host.port), ("source", source), ("destination", _mac(host.mac)))),
        )


def _arp(fabric: Fabric, switch: str) -> Iterator[tuple[Place, Act]]:
    """The switch answers with its own MAC for its gateway, the services, and hosts behind other ports (proxy ARP)."""
    mac = _mac(fabric.gateway.mac)
    always = (_host_route(fabric.gateway.address), (int(SERVICE_NETWORK.network_address), SERVICE_NETWORK.prefixlen))
    for address in always:
        yield Place("arp", (("address", address),)), Act("reply", (("mac", mac), ("home", NOWHERE)))
    for _, host in fabric.hosts_on(switch):
        yield (
            Place("arp", (("address", _host_route(host.address)),)),
            Act("reply", (("mac", mac), ("home", host.port))),
        )


def _endpoint(address: IPv4Address, protocol: int, port: int) -> Place:
    return Place("endpoints", (("address", int(address)), ("protocol", protocol), ("port", port)))


def _own_addresses(fabric: Fabric, switch: str) -> Iterator[tuple[Place, Act]]:
    yield _endpoint(fabric.reports.address, UDP, fabric.reports.port), Act("to_reports")
    services = (service.address for _, service in fabric.services_on(switch))
    for address in {fabric.gateway.address, fabric.reports.address, *services}:
        yield _endpoint(address, ICMP, 0), Act("to_ping")


def _service(fabric: Fabric, switch: str, service: Service, pin: str | None) -> Iterator[tuple[Place, Act]]:
    key: Key = (("service", service.index),)
    yield (
        _endpoint(service.address, TCP if service.protocol == "tcp" else UDP, service.port),
        Act("to_service", (("service", service.index),)),
    )
    yield Place("services", key), _configure(service)
    yield Place("policies", key), _policy(service, pin)
    yield Place("scoring", key), _score(service)
    for node, instance in service.instances.items():
        host = fabric.hosts[node]
        if host.switch != switch:
            continue
        yield (
            Place("instances", (("instance", instance_index(service, instance.member)),)),
            Act("at_node", (("node", int(host.address)), ("generation", instance.generation))),
        )
        yield (
            Place(
                "bindings",
                (
                    ("port", host.port),
                    ("source", int(host.address)),
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
                    ("copy_group", 0),
                    ("key_id", 0),
                    ("key", 0),
                    ("next_key_id", 0),
                    ("next_key", 0),
                    ("authenticate", 0),
                ),
            ),
        )


def _configure(service: Service) -> Act:
    fallback = service.on_no_live.fallback if isinstance(service.on_no_live, Fallback) else None
    return Act(
        "configure",
        (
            ("affinity", AFFINITIES[service.affinity]),
            # Draws go over the slots up to the last one that is taken.
            ("members", max(instance.member for instance in service.instances.values()) + 1),
            ("idle_after", service.idle_after_ms * MICROSECONDS),
            ("stale_after", service.stale_after_ms * MICROSECONDS),
            ("dead_after", service.dead_after_ms * MICROSECONDS),
            ("on_no_live", ON_NO_LIVE["fallback" if fallback else str(service.on_no_live)]),
            ("fallback", int(fallback) if fallback else 0),
        ),
    )


def _policy(service: Service, pin: str | None) -> Act:
    if pin is not None:
        return Act("pinned", (("member", service.instances[pin].member),))
    chosen = service.policy.chosen
    if isinstance(chosen, Pinned):
        return Act("pinned", (("member", service.instances[chosen.node].member),))
    if isinstance(chosen, Single):
        return Act("single", (("margin", chosen.margin), ("dwell", chosen.dwell_ms * MICROSECONDS)))
    return Act("spread", (("load_penalty", chosen.load_penalty),))


def _score(service: Service) -> Act:
    score = service.score
    return Act(
        "score",
        (
            ("w_cpu", score.cpu),
            ("w_memory", score.memory),
            ("w_queue", score.queue),
            ("busy_after", score.busy_after),
            ("w_interval", score.interval),
        ),
    )
