"""What a fabric file must mean, beyond its shape: names that exist, ids and addresses that are used once."""

from collections.abc import Hashable, Iterable, Iterator, Mapping
from ipaddress import IPv4Address
from itertools import combinations

from controller.fabric.paths import tree
from controller.fabric.schema import Fabric, Fallback, Gateway, LinkEnd, PinnedToNode, Service
from controller.fabric.sources import NO_SOURCES
from hitless.component.triggers import contradictions
from hitless.located import Location
from hitless.mqtt.identities import (
    BROKER,
    CLIENT_PREFIX,
    CONTROLLER,
    EMITTER_SUFFIX,
    TRIGGER_PREFIX,
    emitter_identity,
    trigger_identity,
)
from hitless.words import MEMBERS, SERVICE_NETWORK, Affinity

Problem = tuple[Location, str]

COMMON_NAME = 64
"""Letters that the name in a certificate has at most (RFC 5280, ub-common-name)."""


def mistakes(fabric: Fabric) -> list[Problem]:
    """Every contradiction in the fabric: where it stands, and what was expected."""
    return [*_bus(fabric), *_switches(fabric), *_hosts(fabric), *_nodes(fabric), *_services(fabric)]


def _repeated(values: Iterable[tuple[Location, Hashable, str]], mend: str) -> Iterator[Problem]:
    """A problem at each place whose value stood at an earlier place already."""
    first: dict[Hashable, Location] = {}
    for location, value, text in values:
        if value in first:
            yield location, f"{text} is taken by {_dotted(first[value])}: {mend}"
        else:
            first[value] = location


def _dotted(location: Location) -> str:
    return ".".join(str(part) for part in location)


def _unknown(what: str, name: str, known: Iterable[str]) -> str:
    listed = ", ".join(sorted(known)) or "none is defined"
    return f"expected the name of a {what} ({listed}), got {name!r}"


def _bus(fabric: Fabric) -> Iterator[Problem]:
    for name in fabric.nodes:
        if (owner := _owner(name)) is not None:
            yield ("nodes", name), f"expected another name: on the bus, {name} is {owner}"
        if len(emitter_identity(name)) > COMMON_NAME:
            longest = COMMON_NAME - len(EMITTER_SUFFIX)
            yield ("nodes", name), f"expected at most {longest} letters: its emitter's certificate holds no longer name"
    if fabric.api is not None:
        if fabric.tls.bus is None:
            yield ("api",), "expected tls.bus too: tokens and commands do not cross a network in clear"
        for number, name in enumerate(fabric.api.read):
            if name in fabric.api.operate:
                yield ("api", "read", number), f"{name} stands in operate, which includes reading: name it once"


def _owner(name: str) -> str | None:
    """Whose name on the bus this is, so that no node can have it."""
    if name in (CONTROLLER, BROKER):
        return f"the {name}'s"
    prefixes = {CLIENT_PREFIX: "a client's", TRIGGER_PREFIX: "a service's triggers'"}
    owners = [owner for prefix, owner in prefixes.items() if name.startswith(prefix)]
    return owners[0] if owners else "an emitter's" if name.endswith(EMITTER_SUFFIX) else None


def _switches(fabric: Fabric) -> Iterator[Problem]:
    yield from _repeated(
        ((("switches", name, "p4runtime"), spec.p4runtime, spec.p4runtime) for name, spec in fabric.switches.items()),
        "give each switch its own P4Runtime address",
    )
    for number, link in enumerate(fabric.links):
        for side, end in (("from", link.one), ("to", link.other)):
            if end.switch not in fabric.switches:
                yield ("links", number, side, "switch"), _unknown("switch", end.switch, fabric.switches)
        if link.one.switch == link.other.switch:
            yield ("links", number, "to", "switch"), f"expected another switch than {link.one.switch}"
    first, *others = fabric.switches
    reached = tree(fabric, first)
    for other in others:
        if other not in reached:
            yield ("switches", other), f"expected a way to {first}: add what is missing to links"


def _ends(fabric: Fabric) -> Iterator[tuple[Location, LinkEnd]]:
    for number, link in enumerate(fabric.links):
        yield ("links", number, "from"), link.one
        yield ("links", number, "to"), link.other


def _gateways(fabric: Fabric) -> Iterator[tuple[Location, Gateway]]:
    """The switches' own addresses and where they stand: switches without one use the fabric's."""
    shared = False
    for name, spec in fabric.switches.items():
        if spec.gateway is not None:
            yield ("switches", name, "gateway"), spec.gateway
        elif not shared:
            shared = True
            yield ("gateway",), fabric.gateway
        else:
            yield ("switches", name), fabric.gateway


def _hosts(fabric: Fabric) -> Iterator[Problem]:
    gateways = list(_gateways(fabric))
    for where, gateway in gateways:
        if gateway.address in SERVICE_NETWORK:
            yield (*where, "address"), f"expected an address outside {SERVICE_NETWORK}, which is for services"
    for name, host in fabric.hosts.items():
        if host.switch not in fabric.switches:
            yield ("hosts", name, "switch"), _unknown("switch", host.switch, fabric.switches)
        if host.address in SERVICE_NETWORK:
            yield ("hosts", name, "address"), f"expected an address outside {SERVICE_NETWORK}, which is for services"
    yield from _of_no_machine(gateways, fabric)
    yield from _repeated(
        [((*where, "address"), gateway.address, str(gateway.address)) for where, gateway in gateways]
        + [(("hosts", name, "address"), host.address, str(host.address)) for name, host in fabric.hosts.items()],
        "give each host and each switch's gateway its own address",
    )
    yield from _repeated(
        [((*where, "mac"), gateway.mac, gateway.mac) for where, gateway in gateways]
        + [(("hosts", name, "mac"), host.mac, host.mac) for name, host in fabric.hosts.items()]
        + [((*where, "mac"), end.mac, end.mac) for where, end in _ends(fabric)],
        "give each host and each end of a link its own MAC address",
    )
    yield from _repeated(
        [
            (("hosts", name, "port"), (host.switch, host.port), f"port {host.port} of {host.switch}")
            for name, host in fabric.hosts.items()
        ]
        + [
            ((*where, "port"), (end.switch, end.port), f"port {end.port} of {end.switch}")
            for where, end in _ends(fabric)
        ],
        "give each host and each link its own port",
    )


def _of_no_machine(gateways: Iterable[tuple[Location, Gateway]], fabric: Fabric) -> Iterator[Problem]:
    """Addresses that no packet may come from, wherever it comes in."""
    places: list[tuple[Location, IPv4Address]] = [((*where, "address"), gateway.address) for where, gateway in gateways]
    places += [(("hosts", name, "address"), host.address) for name, host in fabric.hosts.items()]
    for where, address in places:
        network = next((one for one in NO_SOURCES if address in one), None)
        if network is not None:
            yield where, f"expected the address of a machine: nothing may come from {network}"


def _nodes(fabric: Fabric) -> Iterator[Problem]:
    for name in fabric.nodes:
        if name not in fabric.hosts:
            yield ("nodes", name), _unknown("host", name, fabric.hosts)
    yield from _repeated(
        ((("nodes", name, "node_id"), node.node_id, f"node id {node.node_id}") for name, node in fabric.nodes.items()),
        "give each node an id that no other has had",
    )


def _services(fabric: Fabric) -> Iterator[Problem]:
    services = fabric.services
    if fabric.reports.address not in SERVICE_NETWORK:
        yield ("reports", "address"), f"expected an address in {SERVICE_NETWORK}"
    yield from _repeated(
        ((("services", name, "service_id"), service.service_id, f"service id {service.service_id}")
         for name, service in services.items()),
        "give each service an id that no other has had",
    )  # fmt: skip
    yield from _repeated(
        ((("services", name, "index"), service.index, f"index {service.index}") for name, service in services.items()),
        "give each service an index of its own",
    )
    yield from _repeated(
        ((("services", name, "address"), (service.address, service.protocol, service.port),
          f"{service.address} {service.protocol} {service.port}")
         for name, service in services.items()),
        "give each service its own address or port",
    )  # fmt: skip
    yield from _shared_ports(services)
    for name, service in services.items():
        yield from _service(fabric, name, service)


def _shared_ports(services: Mapping[str, Service]) -> Iterator[Problem]:
    """An instance also answers at its node's own address, so services that share a node need different ports."""
    for (first, one), (second, other) in combinations(services.items(), 2):
        shared = sorted(one.instances.keys() & other.instances.keys())
        if shared and (one.protocol, one.port) == (other.protocol, other.port):
            taken = f"{other.protocol} port {other.port} on {shared[0]} is taken by services.{first}.port"
            yield ("services", second, "port"), f"{taken}: give services that share a node ports of their own"


def _service(fabric: Fabric, name: str, service: Service) -> Iterator[Problem]:
    where: Location = ("services", name)
    if service.address not in SERVICE_NETWORK:
        yield (*where, "address"), f"expected an address in {SERVICE_NETWORK}"
    elif service.address == fabric.reports.address:
        yield (*where, "address"), "expected another address: this one is where reports go (reports.address)"
    if service.protocol == "tcp" and service.affinity is not Affinity.FLOW:
        yield (*where, "affinity"), f"expected flow, as for every TCP service, got {service.affinity.name.lower()}"
    if service.dead_after_ms < service.stale_after_ms:
        yield (
            (*where, "dead_after_ms"),
            f"expected at least stale_after_ms ({service.stale_after_ms}), got {service.dead_after_ms}",
        )
    least = 2 * max(fabric.reports.interval_ms, fabric.reports.idle_interval_ms)
    if service.stale_after_ms < least:
        longer = "interval_ms" if fabric.reports.interval_ms >= fabric.reports.idle_interval_ms else "idle_interval_ms"
        expected = f"expected at least two report intervals ({least}: twice reports.{longer})"
        yield (*where, "stale_after_ms"), f"{expected}, got {service.stale_after_ms}"
    yield from _instances(fabric, where, service)
    for trigger, field, problem in contradictions(service.triggers, service.protocol):
        yield (*where, "triggers", trigger, field), problem
    if service.triggers and len(trigger_identity(name)) > COMMON_NAME:
        longest = COMMON_NAME - len(TRIGGER_PREFIX)
        yield (*where, "triggers"), f"expected a service with a name of at most {longest} letters, for a certificate"
    if service.steered_by is not None and service.steered_by not in fabric.switches:
        yield (*where, "steered_by"), _unknown("switch", service.steered_by, fabric.switches)
    chosen = service.policy
    if isinstance(chosen, PinnedToNode) and chosen.node not in service.instances:
        yield (*where, "policy", "pinned", "node"), _unknown("node with an instance", chosen.node, service.instances)
    if isinstance(service.on_no_live, Fallback):
        addresses: set[IPv4Address] = {host.address for host in fabric.hosts.values()}
        if service.on_no_live.fallback not in addresses:
            yield (*where, "on_no_live", "fallback"), "expected the address of one of the hosts, so that it has a route"


def _instances(fabric: Fabric, where: Location, service: Service) -> Iterator[Problem]:
    for node in service.instances:
        if node not in fabric.nodes:
            yield (*where, "instances", node), _unknown("node", node, fabric.nodes)
    yield from _repeated(
        (((*where, "instances", node, "member"), instance.member, f"member {instance.member}")
         for node, instance in service.instances.items()),
        f"give each instance a slot of its own, 0 to {MEMBERS - 1}",
    )  # fmt: skip
