"""What the operator asked for beyond the fabric file: services pinned, instances drained, nodes excluded. Pure.

An override pins a service to a node. `migrate` lets go of it after the service's dwell; a held one stays until
released.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from controller.fabric.schema import Fabric, Service
from hitless.steering.policies import Single

DEFAULT_DWELL_S = Single().dwell / 1e6


class CommandError(Exception):
    """A command that cannot be carried out; the message says what there is instead."""


@dataclass(frozen=True, slots=True)
class Override:
    """A service pinned to a node."""

    node: str
    dwell_s: float
    """How long it was to last, in seconds; without meaning when it is held."""
    until: float | None
    """Monotonic time in seconds at which it is let go; None when it is held."""


@dataclass(slots=True)
class OperatorIntent:
    """The operator's overrides and drains."""

    fabric: Fabric
    overrides: dict[str, Override] = field(default_factory=dict)
    """By service."""
    drains: set[tuple[str, str]] = field(default_factory=set)
    """(service, node) that take no new work."""
    excluded: set[str] = field(default_factory=set)
    """Nodes that get nothing, and whose reports do not count."""

    @classmethod
    def restored(
        cls,
        fabric: Fabric,
        holds: Mapping[str, str],
        drains: Collection[tuple[str, str]],
        excluded: Collection[str] = (),
    ) -> tuple["OperatorIntent", list[str]]:
        """The intent as it was before a restart, and what of them the fabric file no longer has."""
        intent, gone = cls(fabric), []
        for node in sorted(excluded):
            try:
                intent.exclude(node)
            except CommandError as error:
                gone.append(f"exclusion of {node} dropped: {error}")
        for service, node in holds.items():
            try:
                intent.migrate(service, node, hold=True, now=0.0)
            except CommandError as error:
                gone.append(f"hold of {service} on {node} dropped: {error}")
        for service, node in sorted(drains):
            try:
                intent.drain(service, node)
            except CommandError as error:
                gone.append(f"drain of {service} on {node} dropped: {error}")
        return intent, gone

    def check(self, service: str, node: str) -> Service:
        """The service, if there is one with an instance on the node. Raises CommandError."""
        found = self.service(service)
        if node not in found.instances:
            raise CommandError(f"service {service} has no instance on {node}; it has: {', '.join(found.instances)}")
        return found

    def migrate(self, service: str, node: str, *, hold: bool, now: float) -> Override:
        """Make a node the host of a service's new work, for the dwell or until released. Raises CommandError."""
        dwell = dwell_s(self.check(service, node))
        if node in self.excluded:
            raise CommandError(f"{node} is excluded; hitless include {node} lets it serve again")
        override = Override(node, dwell, None if hold else now + dwell)
        self.overrides[service] = override
        return override

    def release(self, service: str) -> bool:
        """Let go of a service; False when nothing held it. Raises CommandError."""
        self.service(service)
        return self.overrides.pop(service, None) is not None

    def drain(self, service: str, node: str, *, undo: bool = False) -> bool:
        """Let an instance take no new work, or take it again; False when it was so already. Raises CommandError."""
        self.check(service, node)
        change = ((service, node) in self.drains) is undo
        (self.drains.discard if undo else self.drains.add)((service, node))
        return change

    def exclude(self, node: str) -> list[str] | None:
        """Send nothing to a node; returns the services that it was pinned to, which are let go of.

        None when it was excluded already. Raises CommandError.
        """
        self._node(node)
        if node in self.excluded:
            return None
        self.excluded.add(node)
        released = [service for service, override in self.overrides.items() if override.node == node]
        for service in released:
            del self.overrides[service]
        return released

    def include(self, node: str) -> bool:
        """Let a node serve again; False when it was not excluded. Raises CommandError."""
        self._node(node)
        change = node in self.excluded
        self.excluded.discard(node)
        return change

    def left_alone(self) -> list[str]:
        """The services all of whose nodes are excluded."""
        return [name for name, spec in self.fabric.services.items() if spec.instances.keys() <= self.excluded]

    def expire(self, now: float) -> list[str]:
        """Let go of every override whose time is over; returns their services."""
        over = [service for service, one in self.overrides.items() if one.until is not None and one.until <= now]
        for service in over:
            del self.overrides[service]
        return over

    def next_expiry(self) -> float | None:
        """When `expire` has something to do next."""
        return min((one.until for one in self.overrides.values() if one.until is not None), default=None)

    @property
    def pins(self) -> dict[str, str]:
        """Service -> node it is pinned to now."""
        return {service: override.node for service, override in self.overrides.items()}

    @property
    def holds(self) -> dict[str, str]:
        """Service -> node it is held on until released."""
        return {service: one.node for service, one in self.overrides.items() if one.until is None}

    def _node(self, name: str) -> None:
        if name not in self.fabric.nodes:
            known = ", ".join(self.fabric.nodes) or "none"
            raise CommandError(f"no node {name} in fabric {self.fabric.name}; nodes: {known}")

    def service(self, name: str) -> Service:
        """The service of that name. Raises CommandError."""
        try:
            return self.fabric.services[name]
        except KeyError:
            known = ", ".join(self.fabric.services) or "none"
            raise CommandError(f"no service {name} in fabric {self.fabric.name}; services: {known}") from None


def dwell_s(service: Service) -> float:
    """How long a migration keeps a service where it was sent, in seconds."""
    return service.policy.dwell / 1e6 if isinstance(service.policy, Single) else DEFAULT_DWELL_S
