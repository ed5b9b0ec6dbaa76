"""Counters: steered packets and bytes of each instance, drops by reason, events."""

import finsy as fy
import pytest
from finsy.proto import p4r

from hitless.words import REASONS
from tests.packet.bench import Bench


def cell(bench: Bench, index: int) -> tuple[int, int]:
    """Packets and bytes that were steered to an instance."""
    request = p4r.ReadRequest(
        device_id=1, entities=[fy.P4CounterEntry("steered", index=index).encode(bench.client.schema)]
    )
    (entity,) = [entity for answer in bench.client._stub.Read(request) for entity in answer.entities]
    return entity.counter_entry.data.packet_count, entity.counter_entry.data.byte_count


def test_packets_and_bytes_of_each_instance_are_counted(bench: Bench) -> None:
    service = bench.service()
    service.report(2)
    frame = service.datagram(b"12345678")
    for _ in range(5):
        assert service.member_of(frame) == 2
    assert cell(bench, service.index << 6 | 2) == (5, 5 * len(frame))
    assert cell(bench, service.index << 6 | 1) == (0, 0)


def test_a_packet_that_went_round_is_counted_once(bench: Bench) -> None:
    service = bench.service()
    service.report(0)
    service.report(1)
    bench.client.delete(service.instance(0))
    with bench.counts("events", "EVICT_GONE"), bench.counts("events", "GONE"):
        assert service.ask() == 1
    assert cell(bench, service.index << 6)[0] == 0
    assert cell(bench, service.index << 6 | 1)[0] == 1


def test_what_is_dropped_is_not_counted_as_steered(bench: Bench) -> None:
    service = bench.service()
    service.report(0)
    bench.client.modify(
        fy.P4TableEntry(
            "instances",
            match=fy.P4TableMatch(instance=service.index << 6),
            action=fy.P4TableAction("at_node", node="192.0.2.1", generation=1, path_cost=0),
        )
    )
    bench.told(1, service.datagram(), "NO_ROUTE")
    assert cell(bench, service.index << 6)[0] == 0


def test_accepted_reports_and_moves_are_counted(bench: Bench) -> None:
    service = bench.service(policy=("single", {"margin": 100, "dwell": 0}))
    with bench.counts("events", "REPORT", 3), bench.counts("events", "FIRST"), bench.counts("events", "BETTER"):
        service.report(0)
        service.report(1)
        service.report(0, cpu=1000)


@pytest.mark.parametrize("table", ["services", "policies"])
def test_a_service_without_intent_drops_requests_and_reports(bench: Bench, table: str) -> None:
    service = bench.service()
    bench.client.delete(fy.P4TableEntry(table, match=fy.P4TableMatch(service=service.index)))
    with bench.drops_one("UNCONFIGURED"):
        bench.send(1, service.datagram())
    with bench.drops_one("UNCONFIGURED"):
        bench.send(2, service.report_frame(0, service.payload(0)))


def test_nothing_is_counted_that_has_no_name(bench: Bench) -> None:
    service = bench.service()
    service.report(0)
    assert service.ask() == 0
    for counter, names in bench.names.items():
        if names:
            assert bench.client.counters(counter).keys() <= set(names.values())


def test_each_name_has_its_own_index(bench: Bench) -> None:
    for names in (bench.names["drops"], bench.names["events"]):
        assert names
        assert len(set(names.values())) == len(names)
        assert set(names.values()) <= set(range(1, REASONS))
