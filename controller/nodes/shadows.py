"""Which role each instance plays and whether it drains, told to the nodes by their components' shadows. Pure.

The old gateway of a moved TCP service, once it knows that it stands by, ends each open connection after the next
answer, so that keep-alive connections follow the service. A role is only wanted of services with one host at a time.
The same shadows tell each instance the key that it tags its reports with.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from controller.fabric.file import Fabric, Service
from controller.keys.ring import Binding
from hitless.mqtt.messages import ShadowDelta, ShadowState
from hitless.wire.report import Key as ReportKey

Key = tuple[str, str]
"""(node, component)."""


def wanted(
    fabric: Fabric,
    hosts: Mapping[str, str | None],
    pins: Collection[str],
    drains: Collection[tuple[str, str]],
    keys: Mapping[Binding, ReportKey] = MappingProxyType({}),
) -> dict[Key, ShadowState]:
    """The state that every instance's component should have.

    `hosts`: service -> node that serves its new work, None while unknown. `pins`: services pinned by the operator,
    which have one host whatever their policy. `drains`: (service, node). `keys`: what instances tag reports with.
    """

    def role(name: str, service: Service, node: str) -> Literal["host", "standby"] | None:
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
    _wanted: dict[Key, ShadowState] = field(default_factory=dict)
    _secrets: Mapping[Key, ReportKey] = field(default_factory=dict)
    _version: dict[Key, int] = field(default_factory=dict)
    _reported: dict[Key, ShadowState] = field(default_factory=dict)

    def want(
        self, states: Mapping[Key, ShadowState], secrets: Mapping[Key, ReportKey] = MappingProxyType({})
    ) -> dict[Key, ShadowDelta]:
        """Set what is wanted of all, and the keys that it names; returns the deltas of those that change."""
        self._secrets = secrets
        changed = {key: state for key, state in states.items() if self._wanted.get(key) != state}
        self._wanted = dict(states)
        for key in changed:
            self._version[key] = self._version.get(key, 0) + 1
        return {key: self._delta(key) for key in changed}

    def present(self, node: str) -> dict[Key, ShadowDelta]:
        """A node has come, or our connection has: every delta of its components, whatever it said before."""
        for key in [key for key in self._reported if key[0] == node]:
            del self._reported[key]
        return {key: self._delta(key) for key in self._wanted if key[0] == node}

    def reported(self, node: str, component: str, state: ShadowState) -> ShadowDelta | None:
        """A node tells a component's state; returns the delta if it is not as wanted, once for each such state."""
        key = (node, component)
        before = self._reported.get(key)
        self._reported[key] = state
        if key not in self._wanted or state == self._wanted[key] or state == before:
            return None
        return self._delta(key)

    def _delta(self, key: Key) -> ShadowDelta:
        secret = self._secrets.get(key)
        return ShadowDelta(
            version=(self.term << 32) + self._version.get(key, 0),
            state=self._wanted[key],
            report_key=secret.secret.hex() if secret else None,
        )
