"""Steering by reconfiguration: the nodes' MQTT metrics come in, endpoints go out. The shell around `decisions`."""

import asyncio
import time
from collections import Counter
from collections.abc import Collection, Mapping
from typing import ClassVar

from controller.keys.ring import Binding, BindingKeys
from controller.observe.events import EndpointEvent
from controller.steering.decisions import Decision, Reconfiguration
from controller.steering.doubts import Doubt
from controller.steering.interface import Hosts, Instances, Observation, SteeringContext, SteeringError
from controller.switches.view import SwitchState
from hitless.modes import RECONFIGURATION, Mode
from hitless.mqtt import topics
from hitless.mqtt.messages import Metrics, host_changed

NS_PER_US = 1000
TICKS_PER_STALENESS = 10
"""Staleness is noticed a tenth of `stale_after` late at most."""


class ReconfigurationSteering:
    """The controller as the one who steers: tells clients, callers and gateways of new hosts."""

    mode: ClassVar[Mode] = RECONFIGURATION
    at_node_addresses: ClassVar[bool] = True
    subscriptions: ClassVar[tuple[str, ...]] = (topics.METRICS.filter(),)

    def __init__(self, context: SteeringContext) -> None:
        self._fabric = fabric = context.fabric
        self._context = context
        self._services = Reconfiguration(fabric, context.pins, context.excluded)
        self._migrations: Counter[tuple[str, str]] = Counter()
        stale = min((service.stale_after_ms for service in fabric.services.values()), default=1000)
        self._interval_s = stale / 1000 / TICKS_PER_STALENESS

    @property
    def switches(self) -> Mapping[str, SwitchState]:
        """None are in use."""
        return {}

    @property
    def hosts(self) -> Hosts:
        """The nodes whose endpoints are published."""
        return self._services.hosts

    @property
    def upstream_hosts(self) -> Hosts:
        """The same nodes: a caller's own configuration names them."""
        return self._services.hosts

    @property
    def instances(self) -> Instances:
        """Every instance by its metrics."""
        return self._services.views(_now_us())

    @property
    def doubts(self) -> Mapping[tuple[str, str], Doubt]:
        """None: nobody sees what the nodes do."""
        return {}

    @property
    def migrations(self) -> Mapping[tuple[str, str], int]:
        """As decided here."""
        return self._migrations

    async def observe(self) -> Observation:
        """Every service by its metrics."""
        return Observation(self.hosts, self.instances)

    def check(self, service: str) -> None:
        """Endpoints travel by the broker."""
        error = self._context.broker_error()
        if error is not None:
            raise SteeringError(f"the broker is not connected: {error}")

    async def override(self, pins: Mapping[str, str], excluded: Collection[str]) -> None:
        """Decide anew with these pins, and leave the excluded nodes at once."""
        self._carry_out(self._services.override(_now_us(), pins, excluded))

    async def set_keys(self, keys: Mapping[Binding, BindingKeys]) -> None:
        """Metrics carry no keys: the broker knows who publishes."""

    def presence(self, node: str, online: bool) -> None:
        """Leave a node that has gone at once."""
        self._carry_out(self._services.presence(_now_us(), node, online))

    def metrics(self, service: str, node: str, metrics: Metrics) -> None:
        """Decide by what a node tells."""
        self._carry_out(self._services.report(_now_us(), service, node, metrics.report()))

    def adopt(self, service: str, address: str) -> None:
        """Leave a service where an earlier controller had it."""
        for node, host in self._fabric.hosts.items():
            if str(host.address) == address:
                self._services.adopt(service, node)
        self._context.moved()

    async def run(self) -> None:
        """Leave whoever falls silent."""
        while True:
            await asyncio.sleep(self._interval_s)
            self._carry_out(self._services.tick(_now_us()))

    def _carry_out(self, decisions: list[Decision]) -> None:
        for decision in decisions:
            if decision.before is not None:
                self._migrations[decision.service, decision.reason.name] += 1
            self._publish(decision)
        if decisions:
            self._context.moved()

    def _publish(self, decision: Decision) -> None:
        update = self._context.endpoints.set(
            decision.service,
            address=str(self._fabric.hosts[decision.host].address),
            port=self._fabric.services[decision.service].port,
            reason=host_changed(decision.reason.name, decision.before, decision.host),
        )
        self._context.publish(decision.service, update)
        self._context.record(
            EndpointEvent(
                service=decision.service,
                reason=decision.reason,
                from_node=decision.before,
                to_node=decision.host,
                from_rank=decision.before_rank,
                to_rank=decision.rank,
                node=decision.node,
                epoch=decision.epoch,
                sequence=decision.sequence,
                term=update.term,
                version=update.version,
                address=update.address,
                port=update.port,
            )
        )


def _now_us() -> int:
    return time.monotonic_ns() // NS_PER_US
