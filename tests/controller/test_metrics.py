"""Metrics, read over HTTP as Prometheus reads them."""

import asyncio
import re
import socket
from collections import Counter
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from controller.authority.watch import CertificateWatch
from controller.fabric.file import Fabric, load
from controller.observe.events import EndpointEvent, Event
from controller.observe.findings import Finding
from controller.operator.prometheus import FabricCollector, MetricsError, MetricsServer
from controller.steering.claims import Evidence
from controller.steering.endpoints import EndpointTable
from controller.steering.in_network import InNetworkSteering
from controller.steering.interface import SteeringContext
from controller.steering.reconfiguration import ReconfigurationSteering
from controller.switches.p4runtime import Program
from controller.switches.view import Count, MemberState, SwitchCounters
from hitless.mqtt.messages import EndpointUpdate, Metrics
from hitless.wire.report import Report
from hitless.words import FlowPlace, MemberStatus, Reason
from tests.ports import free_port

PAIR = load(Path(__file__).with_name("fabric.yaml"))
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
    own=0,
    received=3,
    held=0,
    host="edge1",
    best="edge1",
    best_rank=65000,
    now_us=4,
    report=Report(service_id=2, node_id=2, epoch=1, sequence=1, ready=True),
    evidence=0,
    lasted_us=0,
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


class Told:
    """What steering is given, and what it says."""

    def __init__(self, fabric: Fabric = PAIR) -> None:
        self.published: list[tuple[str, EndpointUpdate]] = []
        self.events: list[Event] = []
        self.context = SteeringContext(
            fabric=fabric,
            pins={},
            keys={},
            excluded=frozenset(),
            room={},
            endpoints=EndpointTable(term=1),
            publish=lambda service, update: self.published.append((service, update)),
            broker_error=lambda: None,
            record=self.events.append,
            moved=lambda: None,
        )


def test_what_switches_tell() -> None:
    steering = InNetworkSteering(Told().context)
    state = steering.switches["s1"]
    state.connected = True
    state.pushes = 1
    state.hosts = {"detect": "edge1", "thumbnail": None}
    state.members = {
        ("detect", "edge1"): MEMBER,
        ("detect", "edge2"): replace(MEMBER, node="edge2", rank=0, age_us=None),
    }
    state.counters = SwitchCounters(
        steered={("detect", "edge1"): Count(10, 1000)},
        drops={"REPORT_OLD": Count(2, 188)},
        events={"BETTER": 1},
        newcomers={"thumbnail": {FlowPlace.BUCKET: 7}},
    )
    state.migrations = Counter({("detect", "BETTER"): 1})
    assert samples(FabricCollector(steering)) == {
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
        ("hitless_switch_new_flows_total", "bucket", "thumbnail", "s1"): 7,
    }


def test_moves_of_several_switches_add_up() -> None:
    two = load(Path(__file__).parents[2] / "topologies" / "two_switches.yaml")
    steering = InNetworkSteering(Told(two).context)
    one, other = steering.switches.values()
    one.migrations = Counter({("detect", "BETTER"): 1, ("detect", "STALE"): 2})
    other.migrations = Counter({("detect", "BETTER"): 4})
    assert steering.migrations == {("detect", "BETTER"): 5, ("detect", "STALE"): 2}


def test_what_reconfiguration_tells() -> None:
    told = Told()
    steering = ReconfigurationSteering(told.context)
    for node, cpu in (("edge1", 100), ("edge2", 300)):
        report = Report(
            service_id=2, node_id=PAIR.nodes[node].node_id, epoch=1, sequence=1, ready=True, cpu=cpu, received=0
        )
        steering.metrics("detect", node, Metrics.of(report))
    steering.presence("edge1", False)
    seen = samples(FabricCollector(steering))
    (move,) = [one for one in told.events if isinstance(one, EndpointEvent) and one.from_node]
    assert (move.from_node, move.to_node) == ("edge1", "edge2")
    assert move.reason is Reason.GONE
    assert seen["hitless_migrations_total", "reconfiguration", "GONE", "detect"] == 1
    assert seen["hitless_host", "edge2", "detect"] == 1
    assert seen["hitless_rank", "edge2", "detect"] == 65535 - 300
    assert 0 < seen["hitless_report_age_seconds", "edge2", "detect"] < 60
    assert not [name for name, *_ in seen if name.startswith("hitless_switch")]
    assert [(service, update.address) for service, update in told.published] == [
        ("detect", "10.0.0.11"),
        ("detect", "10.0.0.12"),
    ]


def test_a_port_that_is_taken_is_told_with_what_to_do() -> None:
    async def body(port: int) -> None:
        with pytest.raises(MetricsError, match=rf"127\.0\.0\.1:{port}.*metrics\.port"):
            async with MetricsServer("127.0.0.1", port, FabricCollector(InNetworkSteering(Told().context))):
                pass

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        asyncio.run(body(int(taken.getsockname()[1])))


PAGE = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()


def test_the_page_names_every_metric_with_its_labels_and_no_other() -> None:
    steering = InNetworkSteering(Told().context)
    state = steering.switches["s1"]
    state.hosts = {"detect": "edge1"}
    state.members = {("detect", "edge1"): MEMBER}
    one = {("detect", "edge1"): Count(1, 1)}
    state.counters = SwitchCounters(
        one, {"TTL": Count(1, 1)}, {"BETTER": 1}, answered=one, newcomers={"detect": {FlowPlace.FIRST: 1}}
    )
    steering._audit._doubts.found(0.0, ("detect", "edge1"), Evidence(Finding.UNANSWERED, 5.0, 20, 0, 0, 20))
    state.migrations = Counter({("detect", "BETTER"): 1})
    certificates = CertificateWatch({})
    certificates.heard("edge1", 2e9, 0.5)
    there = {
        (sample.name, family.type, frozenset(sample.labels))
        for family in FabricCollector(steering, certificates).collect()
        for sample in family.samples
    }
    rows = re.findall(r"^\| `(hitless_\w+)` \| (\w+) \| ([^|]+) \| [^|]+ \| [^|]+ \|$", PAGE, re.M)
    assert {(name, kind, frozenset(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows} == there
    assert set(re.findall(r"\bhitless_\w*[a-z]\b", PAGE)) <= {name for name, _, _ in there}


@pytest.mark.parametrize(("column", "counter"), [("reason", "drops"), ("event", "events")])
def test_the_page_names_all_that_a_switch_counts_and_nothing_else(column: str, counter: str) -> None:
    (entry,) = [one for one in Program.compiled().schema().p4info.counters if one.preamble.alias == counter]
    (names,) = [one for one in entry.preamble.structured_annotations if one.name == "names"]
    (table,) = re.findall(rf"^\| {column} \| \|\n\|---\|---\|\n((?:\|.*\n)+)", PAGE, re.M)
    told = re.findall(r"^\| `(\w+)`", table, re.M)
    assert sorted(told) == sorted(pair.key for pair in names.kv_pair_list.kv_pairs)
