"""Which role each instance plays and whether it drains, told to the nodes by their components' shadows. Pure.

The old gateway of a moved TCP service, once it knows that it stands by, ends each open connection after the next
answer, so that keep-alive connections follow the service. A role is only wanted of services with one host at a time.
The same shadows tell each instance the key that it tags its reports with.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from controller.fabric.file import Fabric, Service
from controller.keys.ring import Binding
from hitless.mqtt.messages import InstanceRole, ShadowDelta, ShadowState
from hitless.wire.report import Key as ReportKey

Placement = tuple[str, str]
"""(node, component)."""


def wanted(
    fabric: Fabric,
    hosts: Mapping[str, str | None],
    pins: Collection[str],
    drains: Collection[tuple[str, str]],
    keys: Mapping[Binding, ReportKey] = MappingProxyType({}),
) -> dict[Placement, ShadowState]:
    """The state that every instance's component should have.

    `hosts`: service -> node that serves its new work, None while unknown. `pins`: services pinned by the operator,
    which have one host whatever their policy. `drains`: (service, node). `keys`: what instances tag reports with.
    """

    def role(name: str, service: Service, node: str) -> InstanceRole | None:
        host = hosts.get(name)
        one_host = name in pins or service.policy.one_host
        if service.protocol != "tcp" or not one_host or host is None:
            return None
        return "host" if node == host else "standby"

    return {
        (node, service.component): ShadowState(
            role=role(name, service, node),
            draining=(name, node) in drains,
            report_key_id=keys[name, node].id if (name, node) in keys else None,
        )
        for name, service in fabric.services.items()
        for node in service.instances
    }


@dataclass(slots=True)
class Shadows:
    """The components' shadows: what is wanted, what the nodes reported, which delta carries the difference."""

    term: int
    """Of this controller: the deltas of a later one are newer."""
    _wanted: dict[Placement, ShadowState] = field(default_factory=dict)
    _secrets: Mapping[Placement, ReportKey] = field(default_factory=dict)
    _version: dict[Placement, int] = field(default_factory=dict)
    _reported: dict[Placement, ShadowState] = field(default_factory=dict)

    def want(
        self, states: Mapping[Placement, ShadowState], secrets: Mapping[Placement, ReportKey] = MappingProxyType({})
    ) -> dict[Placement, ShadowDelta]:
        """Set what is wanted of all, and the keys that they name; returns the deltas of those that change."""
        self._secrets = secrets
        changed = {placement: state for placement, state in states.items() if self._wanted.get(placement) != state}
        self._wanted = dict(states)
        for placement in changed:
            self._version[placement] = self._version.get(placement, 0) + 1
        return {placement: self._delta(placement) for placement in changed}

    def wants(self, node: str, component: str) -> bool:
        """Whether a shadow is of an instance, so that its updates are its node's word."""
        return (node, component) in self._wanted

    def present(self, node: str) -> dict[Placement, ShadowDelta]:
        """A node has come, or our connection has: every delta of its components, whatever it said before."""
        for placement in [one for one in self._reported if one[0] == node]:
            del self._reported[placement]
        return {placement: self._delta(placement) for placement in self._wanted if placement[0] == node}

    def reported(self, node: str, component: str, state: ShadowState) -> ShadowDelta | None:
        """A node tells a component's state; returns the delta if it is not as wanted, once for each such state."""
        placement = (node, component)
        before = self._reported.get(placement)
        self._reported[placement] = state
        if placement not in self._wanted or state == self._wanted[placement] or state == before:
            return None
        return self._delta(placement)

    def _delta(self, placement: Placement) -> ShadowDelta:
        secret = self._secrets.get(placement)
        return ShadowDelta(
            version=(self.term << 32) + self._version.get(placement, 0),
            state=self._wanted[placement],
            report_key=secret.secret.hex() if secret else None,
        )
