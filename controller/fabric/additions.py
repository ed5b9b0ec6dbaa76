"""A service that is added to a running fabric: its ids, address and port, and how it is written. Pure."""

from collections.abc import Collection, Iterable, Sequence
from ipaddress import IPv4Address
from typing import Any

from pydantic import TypeAdapter, ValidationError

from controller.fabric.checks import mistakes
from controller.fabric.schema import Fabric, Service
from controller.fabric.values import Name
from hitless.component.endpoint import ServiceProtocol
from hitless.faults import faults
from hitless.words import MEMBERS, SERVICE_NETWORK, SERVICES

FIRST_PORT: dict[ServiceProtocol, int] = {"tcp": 8000, "udp": 9000}
"""Where free ports are looked for."""
LAST_ID = 65535
LAST_PORT = 65535

_NAME: TypeAdapter[str] = TypeAdapter(Name)

Entry = dict[str, Any]
"""A service as it stands in a fabric file."""


class AdditionError(Exception):
    """A service that cannot be added; the message says why, and what to do."""


def added(
    fabric: Fabric, name: str, component: str, protocol: ServiceProtocol, nodes: Sequence[str], port: int | None = None
) -> Entry:
    """The entry of a new service for a component on some nodes. Raises AdditionError.

    Ids and indices that services have had before and have no more are not known here: the next ones after the highest
    are taken as long as there are any.
    """
    services = fabric.services.values()
    try:
        _NAME.validate_python(name)
    except ValidationError as error:
        raise AdditionError(f"service {name}: {faults(error, 'its name')}") from None
    if name in fabric.services:
        other = fabric.services[name].component
        raise AdditionError(
            f"service {name} is there and has the component {other}: give the recipe another `service`, or that name"
        )
    if not nodes:
        known = ", ".join(fabric.nodes) or "none"
        raise AdditionError(f"no service names {component}: say with --node on which nodes it is to be one ({known})")
    for node in nodes:
        if node not in fabric.nodes:
            known = ", ".join(fabric.nodes) or "none"
            raise AdditionError(f"no node {node} in fabric {fabric.name}; nodes: {known}")
    if len(set(nodes)) > MEMBERS:
        raise AdditionError(f"expected at most {MEMBERS} nodes, got {len(set(nodes))}")
    taken = {service.port for service in services if service.protocol == protocol}
    if port is not None and port in taken:
        owner = next(one for one, has in fabric.services.items() if (has.protocol, has.port) == (protocol, port))
        raise AdditionError(f"{protocol} port {port} is {owner}'s: give another --port, or none to have a free one")
    return {
        "service_id": next_number((service.service_id for service in services), 1, LAST_ID, "service id"),
        "index": next_number((service.index for service in services), 0, SERVICES - 1, "index of services"),
        "address": str(free_address({service.address for service in services} | {fabric.reports.address})),
        "port": port or next_free(taken, FIRST_PORT[protocol], LAST_PORT, f"{protocol} port"),
        "protocol": protocol,
        "affinity": "flow" if protocol == "tcp" else "request",
        "component": component,
        "policy": {"single": {}},
        "instances": {node: {"member": member, "generation": 1} for member, node in enumerate(dict.fromkeys(nodes))},
    }


def with_service(fabric: Fabric, name: str, entry: Entry) -> Fabric:
    """The fabric with one service more. Raises AdditionError where the two contradict each other."""
    if name in fabric.services:
        raise AdditionError(f"services.{name} is in the fabric file")
    try:
        service = Service.model_validate(entry)
    except ValidationError as error:
        raise AdditionError(f"services.{name}: {faults(error, 'the service')}") from None
    changed = fabric.model_copy(update={"services": {**fabric.services, name: service}})
    found = list(mistakes(changed))
    if found:
        raise AdditionError("; ".join(f"{'.'.join(map(str, place))}: {problem}" for place, problem in found))
    return changed


def served_by(fabric: Fabric, component: str) -> list[str]:
    """The services that name a component."""
    return [name for name, service in fabric.services.items() if service.component == component]


def next_number(taken: Iterable[int], first: int, last: int, what: str) -> int:
    """The number after the highest, or else the lowest that is free. Raises AdditionError where none is."""
    known = set(taken)
    following = max(known, default=first - 1) + 1
    return max(following, first) if following <= last else next_free(known, first, last, what)


def next_free(taken: Collection[int], first: int, last: int, what: str) -> int:
    """The lowest number of a range that is free. Raises AdditionError where none is."""
    found = next((number for number in range(first, last + 1) if number not in taken), None)
    if found is None:
        raise AdditionError(f"no {what} of {first} to {last} is free")
    return found


def free_address(taken: Collection[IPv4Address]) -> IPv4Address:
    """The lowest address of the services' network that is free. Raises AdditionError where none is."""
    found = next((address for address in SERVICE_NETWORK.hosts() if address not in taken), None)
    if found is None:
        raise AdditionError(f"no address of {SERVICE_NETWORK} is free")
    return found


def written(name: str, entry: Entry) -> str:
    """A service as it is to stand in a fabric file, with the heading above it."""
    lines = ["services:", f"  {name}:"]
    for field, value in entry.items():
        if field == "instances":
            lines.append("    instances:")
            lines += [
                f"      {node}: {{member: {one['member']}, generation: {one['generation']}}}"
                for node, one in value.items()
            ]
        elif field == "policy":
            lines.append("    policy: {single: {}}")
        else:
            lines.append(f"    {field}: {value}")
    return "\n".join(lines) + "\n"
