"""Migration by reconfiguration: decides from the nodes' MQTT metrics as a switch would from their reports. Pure.

Time is what the caller says: microseconds of one monotonic clock, at which the metrics arrived.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from controller.fabric.file import Fabric
from controller.fabric.settings import settings
from controller.steering.interface import InstanceView
from hitless.steering.arithmetic import elapsed
from hitless.steering.outcome import Event
from hitless.steering.policies import Single
from hitless.steering.service import ServiceSteering
from hitless.steering.settings import Settings
from hitless.steering.units import US_PER_MS
from hitless.wire.report import Report
from hitless.words import Reason


@dataclass(frozen=True, slots=True)
class Decision:
    """A service's new work goes to another node from now on."""

    service: str
    reason: Reason
    before: str | None
    """The node that was the host; None for the first."""
    host: str
    before_rank: int
    rank: int
    node: str | None
    """Whose metrics decided; None when their absence did."""
    epoch: int
    sequence: int


class Reconfiguration:
    """The services of a fabric without a switch that steers.

    An endpoint holds for many requests, so a service that would be spread by a switch has one host at a time as well.
    """

    def __init__(self, fabric: Fabric, pins: Mapping[str, str], excluded: Collection[str] = ()) -> None:
        self._fabric = fabric
        self._pins = dict(pins)
        self._offline: set[str] = set()
        self._excluded = frozenset(excluded)
        self._services = {name: ServiceSteering(self._settings(name)) for name in fabric.services}
        self._inherited_hosts: dict[str, str] = {}
        self._first_heard: dict[str, int] = {}

    @property
    def hosts(self) -> dict[str, str | None]:
        """Service -> its host; before the first decision, the one it had under an earlier controller."""
        return {name: self._host(name) or self._inherited_hosts.get(name) for name in self._services}

    def adopt(self, service: str, node: str) -> None:
        """An earlier controller left the service there: it stays unless that node does not speak up in time."""
        if service in self._services and node in self._fabric.services[service].instances.keys() - self._excluded:
            self._inherited_hosts[service] = node

    def report(self, now: int, service: str, node: str, report: Report) -> list[Decision]:
        """Metrics of an instance have come; those of another service or node than theirs are ignored."""
        spec = self._fabric.services.get(service)
        if spec is None or node not in spec.instances:
            return []
        if (report.service_id, report.node_id) != (spec.service_id, self._fabric.nodes[node].node_id):
            return []
        first = self._first_heard.setdefault(service, now)
        if self._host(service) is None and self._inherited_hosts.get(service, node) != node:
            if now - first <= spec.stale_after_ms * US_PER_MS:
                return []
            del self._inherited_hosts[service]
        outcome = self._services[service].report(now, spec.instances[node].member, report)
        return self._decisions(service, outcome.events)

    def tick(self, now: int) -> list[Decision]:
        """Time has passed: whoever has been silent for too long is left."""
        return [
            decision
            for name, steering in self._services.items()
            for decision in self._decisions(name, steering.tick(now))
        ]

    def presence(self, now: int, node: str, online: bool) -> list[Decision]:
        """A node has gone from the broker, or come back to it. Nobody waits until a node that is gone is stale."""
        if online is (node not in self._offline):
            return []
        (self._offline.discard if online else self._offline.add)(node)
        decisions = []
        for name, spec in self._fabric.services.items():
            if node not in spec.instances:
                continue
            steering = self._services[name]
            steering.settings = self._settings(name)
            if self._host(name) is not None:
                decisions += self._decisions(name, steering.request(now).events)
        return decisions

    def override(self, now: int, pins: Mapping[str, str], excluded: Collection[str] = ()) -> list[Decision]:
        """Pin these services, and no others; have these nodes serve nothing, and no others."""
        self._pins, self._excluded = dict(pins), frozenset(excluded)
        for name, steering in self._services.items():
            steering.settings = self._settings(name)
        decisions = self.tick(now)
        for name, steering in self._services.items():
            if self._host(name) in self._excluded:
                decisions += self._decisions(name, steering.request(now).events)
        return decisions

    def views(self, now: int) -> dict[tuple[str, str], InstanceView]:
        """Every instance, by (service, node)."""
        views = {}
        for name, spec in self._fabric.services.items():
            for node, instance in spec.instances.items():
                seen = self._services[name].probe(now, instance.member)
                views[name, node] = InstanceView(
                    status=seen.status,
                    rank=seen.rank,
                    age_us=seen.age,
                    epoch=seen.epoch,
                    sequence=seen.sequence,
                    eligible=seen.eligible,
                    report=seen.report,
                    evidence=seen.evidence,
                    lasted_us=elapsed(now, seen.since),
                )
        return views

    def _host(self, service: str) -> str | None:
        member = self._services[service].host
        return None if member is None else self._fabric.services[service].node_of(member)

    def _settings(self, service: str) -> Settings:
        made = settings(self._fabric, service, self._pins.get(service))
        if not made.policy.one_host:
            made = replace(made, policy=Single())
        spec = self._fabric.services[service]
        present = {
            member: instance
            for member, instance in made.instances.items()
            if spec.node_of(member) not in self._offline | self._excluded
        }
        return replace(made, instances=present)

    def _decisions(self, service: str, events: tuple[Event, ...]) -> list[Decision]:
        spec = self._fabric.services[service]
        decisions = []
        for event in events:
            host = None if event.to_member is None else spec.node_of(event.to_member)
            if not event.moves or host is None:
                continue
            decisions.append(
                Decision(
                    service=service,
                    reason=event.reason,
                    before=None if event.from_member is None else spec.node_of(event.from_member),
                    host=host,
                    before_rank=event.from_rank,
                    rank=event.to_rank,
                    node=self._fabric.node_with_id(event.node_id),
                    epoch=event.epoch,
                    sequence=event.sequence,
                )
            )
        return decisions
