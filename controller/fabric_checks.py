"""What a fabric file must mean, beyond its shape: names that exist, ids and addresses that are used once."""

from collections.abc import Hashable, Iterable, Iterator, Mapping
from ipaddress import IPv4Address
from itertools import combinations

from controller.fabric_schema import SERVICE_NETWORK, Fabric, Fallback, Pinned, Service
from hitless.located import Location

Problem = tuple[Location, str]


def mistakes(fabric: Fabric) -> list[Problem]:
    """Every contradiction in the fabric: where it stands, and what was expected."""
    return [*_switches(fabric), *_hosts(fabric), *_nodes(fabric), *_services(fabric)]


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


def _switches(fabric: Fabric) -> Iterator[Problem]:
    yield from _repeated(
        ((("switches", name, "p4runtime"), spec.p4runtime, spec.p4runtime) for name, spec in fabric.switches.items()),
        "give each switch its own P4Runtime address",
    )


def _hosts(fabric: Fabric) -> Iterator[Problem]:
    gateway = fabric.gateway
    if gateway.address in SERVICE_NETWORK:
        yield ("gateway", "address"), f"expected an address outside {SERVICE_NETWORK}, which is for services"
    for name, host in fabric.hosts.items():
        if host.switch not in fabric.switches:
            yield ("hosts", name, "switch"), _unknown("switch", host.switch, fabric.switches)
        if host.address in SERVICE_NETWORK:
            yield ("hosts", name, "address"), f"expected an address outside {SERVICE_NETWORK}, which is for services"
    yield from _repeated(
        [(("gateway", "address"), gateway.address, str(gateway.address))]
        + [(("hosts", name, "address"), host.address, str(host.address)) for name, host in fabric.hosts.items()],
        "give each host its own address",
    )
    yield from _repeated(
        [(("gateway", "mac"), gateway.mac, gateway.mac)]
        + [(("hosts", name, "mac"), host.mac, host.mac) for name, host in fabric.hosts.items()],
        "give each host its own MAC address",
    )
    yield from _repeated(
        (
            (("hosts", name, "port"), (host.switch, host.port), f"port {host.port} of {host.switch}")
            for name, host in fabric.hosts.items()
        ),
        "give each host its own port",
    )


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
    if service.protocol == "tcp" and service.affinity != "flow":
        yield (*where, "affinity"), f"expected flow, as for every TCP service, got {service.affinity}"
    if service.dead_after_ms < service.stale_after_ms:
        yield (
            (*where, "dead_after_ms"),
            f"expected at least stale_after_ms ({service.stale_after_ms}), got {service.dead_after_ms}",
        )
    if service.stale_after_ms < 2 * fabric.reports.interval_ms:
        yield (
            (*where, "stale_after_ms"),
            f"expected at least two report intervals ({2 * fabric.reports.interval_ms}), got {service.stale_after_ms}",
        )
    yield from _instances(fabric, where, service)
    chosen = service.policy.chosen
    if isinstance(chosen, Pinned) and chosen.node not in service.instances:
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
        "give each instance a slot of its own, 0 to 63",
    )  # fmt: skip
    behind = {fabric.hosts[node].switch: node for node in service.instances if node in fabric.hosts}
    if len(behind) > 1:
        apart = ", ".join(f"{node} behind {switch}" for switch, node in sorted(behind.items()))
        yield (*where, "instances"), f"expected nodes behind one switch, got {apart}: the fabric has no links"
