"""What Prometheus reads: moves, ranks, report ages, switch counters, as they are when it asks."""

from collections.abc import Iterable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from controller.authority.watch import CertificateWatch
from controller.steering.interface import Steering
from controller.switches.view import SwitchState


class MetricsError(Exception):
    """Metrics cannot be served; the message says where and why."""


@dataclass(frozen=True)
class FabricCollector(Collector):
    """Turns what a controller's steering knows into metrics."""

    steering: Steering
    certificates: CertificateWatch = field(default_factory=lambda: CertificateWatch({}))

    def collect(self) -> Iterable[Metric]:
        """Every metric, now."""
        yield from _services(self.steering)
        yield from _switches(self.steering.switches)
        yield from _certificates(self.certificates)


def _services(steering: Steering) -> Iterable[Metric]:
    moved = CounterMetricFamily(
        "hitless_migrations", "Changes of a service's host.", labels=("service", "reason", "mode")
    )
    for (service, reason), count in steering.migrations.items():
        moved.add_metric((service, reason, steering.mode), count)
    yield moved
    host = GaugeMetricFamily(
        "hitless_host", "1 for the node that takes a service's new work.", labels=("service", "node")
    )
    for service, node in steering.hosts.items():
        if node is not None:
            host.add_metric((service, node), 1)
    yield host
    rank = GaugeMetricFamily(
        "hitless_rank",
        "How good an instance is for the next piece of work: 0 not eligible, 1 draining.",
        labels=("service", "node"),
    )
    age = GaugeMetricFamily(
        "hitless_report_age_seconds", "Since an instance's last accepted report.", labels=("service", "node")
    )
    for (service, node), view in steering.instances.items():
        rank.add_metric((service, node), view.rank)
        if view.age_us is not None:
            age.add_metric((service, node), view.age_us / 1_000_000)
    yield rank
    yield age
    doubted = GaugeMetricFamily(
        "hitless_doubted", "1 while an instance's claims are not relied on.", labels=("service", "node")
    )
    for service, node in steering.doubts:
        doubted.add_metric((service, node), 1)
    yield doubted


def _switches(switches: Mapping[str, SwitchState]) -> Iterable[Metric]:
    connected = GaugeMetricFamily(
        "hitless_switch_connected", "1 while the switch is connected and provisioned.", labels=("switch",)
    )
    pushes = CounterMetricFamily(
        "hitless_switch_pushes", "Times that this controller installed the program.", labels=("switch",)
    )
    steered = CounterMetricFamily(
        "hitless_switch_steered_packets", "Packets steered to an instance.", labels=("switch", "service", "node")
    )
    octets = CounterMetricFamily(
        "hitless_switch_steered_bytes", "Bytes steered to an instance.", labels=("switch", "service", "node")
    )
    answered = CounterMetricFamily(
        "hitless_switch_answered_packets",
        "Packets that an instance behind the switch sent from its port.",
        labels=("switch", "service", "node"),
    )
    drops = CounterMetricFamily("hitless_switch_dropped_packets", "Packets dropped.", labels=("switch", "reason"))
    events = CounterMetricFamily("hitless_switch_events", "What the program counted.", labels=("switch", "event"))
    newcomers = CounterMetricFamily(
        "hitless_switch_new_flows",
        "Flows that began, by what they found in the service's share of the flow store.",
        labels=("switch", "service", "place"),
    )
    for name, state in switches.items():
        connected.add_metric((name,), state.connected)
        pushes.add_metric((name,), state.pushes)
        for (service, node), count in state.counters.steered.items():
            steered.add_metric((name, service, node), count.packets)
            octets.add_metric((name, service, node), count.octets)
        for (service, node), count in state.counters.answered.items():
            answered.add_metric((name, service, node), count.packets)
        for reason, count in state.counters.drops.items():
            drops.add_metric((name, reason), count.packets)
        for event, times in state.counters.events.items():
            events.add_metric((name, event), times)
        for service, places in state.counters.newcomers.items():
            for place, times in places.items():
                newcomers.add_metric((name, service, place.name.lower()), times)
    return connected, pushes, steered, octets, answered, drops, events, newcomers


def _certificates(watch: CertificateWatch) -> Iterable[Metric]:
    expiry = GaugeMetricFamily(
        "hitless_certificate_expiry_timestamp_seconds", "When a certificate expires, since 1970.", labels=("name",)
    )
    for name, until in watch.expiries.items():
        expiry.add_metric((name,), until)
    offset = GaugeMetricFamily(
        "hitless_node_clock_offset_seconds", "How far a node's clock is ahead of the controller's.", labels=("node",)
    )
    for node, ahead in watch.offsets.items():
        offset.add_metric((node,), ahead)
    return expiry, offset


class MetricsServer:
    """Serves /metrics over HTTP while it is entered. Raises MetricsError when the port cannot be had."""

    def __init__(self, host: str, port: int, collector: Collector) -> None:
        self._host = host
        self._port = port
        self._registry = CollectorRegistry()
        self._registry.register(collector)
        self._exit = AsyncExitStack()

    async def __aenter__(self) -> Self:
        application = web.Application()
        application.router.add_get("/metrics", self._metrics)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        self._exit.push_async_callback(runner.cleanup)
        try:
            await web.TCPSite(runner, self._host, self._port).start()
        except OSError as error:
            await self._exit.aclose()
            raise MetricsError(
                f"metrics at {self._host}:{self._port}: {error.strerror}: "
                "choose another port in the fabric file (metrics.port), or end what has it"
            ) from error
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._exit.aclose()

    async def _metrics(self, request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(self._registry), headers={"Content-Type": content_type})
