"""Steering by reconfiguration: the nodes' MQTT metrics come in, decisions go out. The shell around `reconfigure`."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping

from controller.fabric.file import Fabric
from controller.nodes.bus import Bus
from controller.operator.documents import InstanceView
from controller.steering.decisions import Decision, Reconfiguration
from controller.steering.interface import Sight, SteeringError
from controller.switches.view import SwitchState
from hitless.mqtt.messages import Metrics

log = logging.getLogger(__name__)

NS_PER_US = 1000
LOOKS_PER_STALENESS = 10
"""Staleness is noticed a tenth of `stale_after` late at most."""


class MetricSteering:
    """The controller as the one who steers."""

    switches: Mapping[str, SwitchState] = {}
    """None are in use."""

    def __init__(
        self, fabric: Fabric, pins: Mapping[str, str], bus: Bus, decided: Callable[[list[Decision]], None]
    ) -> None:
        """`decided` is called with every decision at once."""
        self._pure = Reconfiguration(fabric, pins)
        self._bus = bus
        self._decided = decided
        self.migrations: Counter[tuple[str, str]] = Counter()
        """(service, reason) -> how often it moved from one node to another."""
        stale = min((service.stale_after_ms for service in fabric.services.values()), default=1000)
        self._interval_s = stale / 1000 / LOOKS_PER_STALENESS

    @property
    def hosts(self) -> Mapping[str, str | None]:
        """Service -> node whose endpoint is published."""
        return self._pure.hosts

    def adopt(self, service: str, node: str) -> None:
        """An earlier controller left the service there."""
        self._pure.adopt(service, node)

    def metrics(self, service: str, node: str, metrics: Metrics) -> None:
        """Metrics have come."""
        self._tell(self._pure.report(_now_us(), service, node, metrics.report()))

    def presence(self, node: str, online: bool) -> None:
        """A node has come or gone."""
        self._tell(self._pure.presence(_now_us(), node, online))

    def views(self) -> Mapping[tuple[str, str], InstanceView]:
        """Every instance by its metrics, by (service, node)."""
        return self._pure.views(_now_us())

    async def look(self) -> Sight:
        """Every service by its metrics."""
        return Sight(self.hosts, self.views())

    def check(self, service: str) -> None:
        """Endpoints travel by the broker."""
        if not self._bus.connected:
            raise SteeringError(f"the broker is not connected: {self._bus.error}")

    async def pin(self, pins: Mapping[str, str]) -> None:
        """Decide anew with these pins."""
        self._tell(self._pure.pin(_now_us(), pins))

    async def run(self) -> None:
        """Leave whoever falls silent."""
        while True:
            await asyncio.sleep(self._interval_s)
            self._tell(self._pure.look(_now_us()))

    def _tell(self, decisions: list[Decision]) -> None:
        for decision in decisions:
            if decision.before is not None:
                self.migrations[decision.service, decision.reason.name] += 1
        if decisions:
            self._decided(decisions)


def _now_us() -> int:
    return time.monotonic_ns() // NS_PER_US
