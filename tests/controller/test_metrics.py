"""Metrics, read over HTTP as Prometheus reads them."""

import asyncio
import socket
from collections import Counter
from dataclasses import replace

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from controller.observe.prometheus import FabricCollector, MetricsError, MetricsServer
from controller.operator.documents import InstanceView
from controller.switches.view import Count, MemberState, SwitchCounters, SwitchState
from hitless.steering.words import MemberStatus
from tests.ports import free_port

MEMBER = MemberState(
    service="detect",
    node="edge1",
    member=0,
    status=MemberStatus.READY,
    eligible=True,
    rank=65000,
    age_us=12_500,
    epoch=1,
    sequence=2,
    sent=3,
    host="edge1",
    best="edge1",
    best_rank=65000,
    now_us=4,
)


def samples(collector: FabricCollector) -> dict[tuple[str, ...], float]:
    """(name, label values in the order of the label names) -> value."""
    port = free_port()

    async def read() -> str:
        async with (
            MetricsServer("127.0.0.1", port, collector),
            aiohttp.ClientSession() as http,
            http.get(f"http://127.0.0.1:{port}/metrics") as response,
        ):
            assert response.status == 200
            return await response.text()

    return {
        (sample.name, *(sample.labels[label] for label in sorted(sample.labels))): sample.value
        for family in text_string_to_metric_families(asyncio.run(read()))
        for sample in family.samples
    }


def test_what_switches_tell() -> None:
    state = SwitchState(
        "s1",
        "unix:/nowhere",
        connected=True,
        pushes=1,
        members={("detect", "edge1"): MEMBER, ("detect", "edge2"): replace(MEMBER, node="edge2", rank=0, age_us=None)},
        counters=SwitchCounters(
            steered={("detect", "edge1"): Count(10, 1000)},
            drops={"REPORT_OLD": Count(2, 188)},
            events={"BETTER": 1},
        ),
        migrations=Counter({("detect", "BETTER"): 1}),
    )
    seen = samples(
        FabricCollector("in-network", hosts=lambda: {"detect": "edge1", "web": None}, switches=lambda: {"s1": state})
    )
    assert seen == {
        ("hitless_migrations_total", "in-network", "BETTER", "detect"): 1,
        ("hitless_host", "edge1", "detect"): 1,
        ("hitless_rank", "edge1", "detect"): 65000,
        ("hitless_rank", "edge2", "detect"): 0,
        ("hitless_report_age_seconds", "edge1", "detect"): 0.0125,
        ("hitless_switch_connected", "s1"): 1,
        ("hitless_switch_pushes_total", "s1"): 1,
        ("hitless_switch_steered_packets_total", "edge1", "detect", "s1"): 10,
        ("hitless_switch_steered_bytes_total", "edge1", "detect", "s1"): 1000,
        ("hitless_switch_dropped_packets_total", "REPORT_OLD", "s1"): 2,
        ("hitless_switch_events_total", "BETTER", "s1"): 1,
    }


def test_what_reconfiguration_tells() -> None:
    view = InstanceView(status="ready", rank=7, age_us=1_000_000, epoch=1, sequence=1, eligible=True)
    seen = samples(
        FabricCollector(
            "reconfiguration",
            hosts=lambda: {"detect": "edge2"},
            instances=lambda: {("detect", "edge2"): view},
            migrations=lambda: {("detect", "STALE"): 3},
        )
    )
    assert seen[("hitless_migrations_total", "reconfiguration", "STALE", "detect")] == 3
    assert seen[("hitless_rank", "edge2", "detect")] == 7
    assert seen[("hitless_report_age_seconds", "edge2", "detect")] == 1


def test_a_port_that_is_taken_is_told_with_what_to_do() -> None:
    async def body(port: int) -> None:
        with pytest.raises(MetricsError, match=rf"127\.0\.0\.1:{port}.*metrics\.port"):
            async with MetricsServer("127.0.0.1", port, FabricCollector("in-network", hosts=dict)):
                pass

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        asyncio.run(body(int(taken.getsockname()[1])))
