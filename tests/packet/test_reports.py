"""A report counts only from the bound port and source, and only if it is newer than the last one."""

from typing import Any

import pytest

from hitless.steering.rank import Score, load, single_rank
from hitless.wire.report import Report, decode
from hitless.words import MemberStatus
from tests.packet.bench import Bench
from tests.packet.layout import CLIENT_PORT, node_address, node_port
from tests.packet.p4runtime import entry
from tests.packet.service import Service
from tests.packet.test_staleness import report_all
from tests.patience import until


def accepted(service: Service, member: int = 0, **fields: Any) -> bool:
    """Whether a report with this epoch and sequence is accepted; else it must be counted as old."""
    before, events = service.bench.drops("REPORT_OLD"), service.bench.events("REPORT")
    service.bench.send(node_port(member), service.report_frame(member, service.payload(member, **fields)))
    until(
        lambda: (service.bench.drops("REPORT_OLD") - before) + (service.bench.events("REPORT") - events) == 1,
        "the report to be counted as accepted or old",
    )
    return service.bench.events("REPORT") == events + 1


def test_a_report_is_remembered(bench: Bench) -> None:
    service = bench.service()
    assert service.probe(1)["age"] == 2**48 - 1
    service.report(1, epoch=3, sequence=9, cpu=700, cpu_own=200)
    told = service.probe(1)
    assert (told["epoch"], told["sequence"], told["status"], told["eligible"]) == (3, 9, MemberStatus.READY, 1)
    assert told["rank"] == 65535 - 500
    assert (told["best"], told["best_rank"]) == (1, told["rank"])
    # Nobody else was touched.
    assert [service.probe(member)["status"] for member in (0, 2, 3)] == [0, 0, 0]


@pytest.mark.parametrize(
    ("first", "second", "newer"),
    [
        ((1, 5), (1, 6), True),
        ((1, 5), (1, 5), False),
        ((1, 5), (1, 4), False),
        ((1, 5), (2, 0), True),
        ((2, 0), (1, 9), False),
        ((1, 2**32 - 1), (1, 0), True),
        ((1, 0), (1, 2**32 - 1), False),
        ((1, 7), (1, 7 + 2**31 - 1), True),
        ((1, 7), (1, 7 + 2**31), False),
        ((2**32 - 1, 9), (0, 0), True),
        ((0, 0), (2**32 - 1, 9), False),
        ((5, 5), (5 + 2**31 - 1, 0), True),
        ((5, 5), (5 + 2**31, 6), False),
    ],
)
def test_only_what_is_newer_by_serial_arithmetic(
    bench: Bench, first: tuple[int, int], second: tuple[int, int], newer: bool
) -> None:
    service = bench.service()
    assert accepted(service, epoch=first[0], sequence=first[1])
    assert accepted(service, epoch=second[0], sequence=second[1]) is newer
    expected = second if newer else first
    told = service.probe(0)
    assert (told["epoch"], told["sequence"]) == expected


def test_an_old_report_changes_nothing(bench: Bench) -> None:
    service = bench.service()
    service.report(0, sequence=10, cpu=100)
    before = service.probe(0)
    assert not accepted(service, sequence=9, cpu=0, ready=False)
    after = service.probe(0)
    assert (after["rank"], after["status"], after["sequence"]) == (before["rank"], MemberStatus.READY, 10)
    assert after["now"] - after["age"] == before["now"] - before["age"]


def test_a_new_generation_accepts_any_epoch(bench: Bench) -> None:
    service = bench.service()
    service.report(0, epoch=50, sequence=50)
    assert not accepted(service, epoch=1, sequence=1)
    bench.client.modify(service.instance(0, generation=2), service.binding(0, generation=2))
    assert accepted(service, epoch=1, sequence=1)
    assert not accepted(service, epoch=1, sequence=1)
    assert accepted(service, epoch=1, sequence=2)


@pytest.mark.parametrize("forgery", ["port", "client", "source", "node", "service"])
def test_only_from_the_bound_port_and_source(bench: Bench, forgery: str) -> None:
    service = bench.service()
    service.report(0)
    before = service.probe(0)
    payload = service.payload(0, cpu=1000)
    frame, port = service.report_frame(0, payload), node_port(0)
    if forgery == "port":
        port = node_port(1)
    elif forgery == "client":
        port = CLIENT_PORT
    elif forgery == "source":
        frame = service.report_frame(0, payload, source=node_address(1))
    elif forgery == "node":
        frame = service.report_frame(
            0, Report(service_id=service.service_id, node_id=2, epoch=1, sequence=99, ready=True).encode()
        )
    else:
        frame = service.report_frame(0, Report(service_id=999, node_id=1, epoch=1, sequence=99, ready=True).encode())
    with bench.drops_one("REPORT_UNBOUND"):
        bench.send(port, frame)
    assert service.probe(0)["sequence"] == before["sequence"]


@pytest.mark.parametrize(
    ("offset", "value"),
    [(0, 0x49), (1, 0), (2, 0), (2, 2), (3, 0x81), (3, 0x05), (43, 1), (43, 0x80)],
    ids=["magic", "magic", "version 0", "version 2", "flag 128", "flag 4", "reserved", "reserved"],
)
def test_a_malformed_report_is_dropped(bench: Bench, offset: int, value: int) -> None:
    service = bench.service()
    payload = bytearray(service.payload(0))
    payload[offset] = value
    with bench.drops_one("REPORT_MALFORMED"):
        bench.send(node_port(0), service.report_frame(0, bytes(payload)))


@pytest.mark.parametrize("length", [0, 1, 51, 53])
def test_a_report_of_another_length_is_dropped(bench: Bench, length: int) -> None:
    service = bench.service()
    payload = service.payload(0).ljust(length, b"\0")[:length]
    with bench.drops_one("REPORT_MALFORMED"):
        bench.send(node_port(0), service.report_frame(0, payload))


@pytest.mark.parametrize(
    ("fields", "status", "rank"),
    [
        ({"draining": True}, MemberStatus.DRAINING, 1),
        ({"ready": False}, MemberStatus.NOT_READY, 0),
        ({"ready": False, "draining": True}, MemberStatus.NOT_READY, 0),
    ],
)
def test_draining_is_the_last_resort_and_not_ready_none(
    bench: Bench, fields: dict[str, bool], status: int, rank: int
) -> None:
    service = bench.service()
    service.report(0, **fields)
    told = service.probe(0)
    assert (told["status"], told["rank"], told["eligible"]) == (status, rank, int(rank > 0))


SCORES = [
    Score(cpu=0),
    Score(cpu=4),
    Score(cpu=16),
    Score(cpu=17),
    Score(memory=2, queue=31, contention=31),
    Score(cpu=1, memory=0, queue=9, busy_after=4),
    Score(queue=16, busy_after=0, contention=17),
    Score(queue=31, interval=3, contention=31),
    Score(queue=31, interval=31, contention=31),
    Score(memory=16, queue=16, interval=0),
    Score(queue=31, contention=3),
    Score(),
]
LOADS: list[dict[str, Any]] = [
    {"cpu": 300, "cpu_own": 100, "memory": 250, "queue_depth": 7, "service_interval": 9000, "contention": 410},
    {"cpu": 100, "cpu_own": 300, "memory": 1000, "queue_depth": 4, "concurrency": 3, "service_interval": 7},
    {"cpu": 65535, "memory": 65535, "queue_depth": 65535, "service_interval": 2**32 - 1, "contention": 65535},
    {"queue_depth": 65535, "concurrency": 65535},
]


@pytest.mark.parametrize("score", SCORES, ids=str)
def test_the_rank_is_what_the_contract_says(bench: Bench, score: Score) -> None:
    service = bench.service(
        score={"w_cpu": score.cpu, "w_memory": score.memory, "w_queue": score.queue, "busy_after": score.busy_after},
        w_interval=score.interval,
        w_contention=score.contention,
        path_costs={0: 0, 1: 20, 2: 65535},
    )
    for member, path_cost in service.path_costs.items():
        for fields in LOADS:
            service.report(member, **fields)
            report = Report(service_id=service.service_id, node_id=1, epoch=1, sequence=1, ready=True, **fields)
            assert service.probe(member)["rank"] == single_rank(load(report, score, path_cost))


def test_without_scoring_only_the_path_cost_counts(bench: Bench) -> None:
    service = bench.service(path_costs={0: 11})
    bench.client.delete(entry("scoring", match={"service": service.index}))
    service.report(0, cpu=900, memory=900, queue_depth=900, service_interval=900, contention=900)
    assert service.probe(0)["rank"] == 65535 - 11


def test_a_copy_goes_unchanged_to_the_other_switches(bench: Bench) -> None:
    service = bench.service()
    bench.copy(service.index, 3, 4)
    bench.client.modify(service.binding(0, copy_group=service.index))
    payload = service.payload(0)
    frame = bytes(service.report_frame(0, payload))
    bench.wires.flush()
    bench.send(node_port(0), frame)
    copies = [bench.receive(), bench.receive()]
    assert sorted(copy for copy in copies if copy is not None) == [(3, frame), (4, frame)]
    assert decode(frame[42:]) == decode(payload)
    # The same again is old, here as on any other switch: a copy that comes back goes no further.
    with bench.drops_one("REPORT_OLD"):
        bench.send(node_port(0), frame)


@pytest.mark.parametrize("ready", [True, False])
def test_it_goes_on_to_the_others_though_nobody_is_eligible_and_the_host_has_gone(bench: Bench, ready: bool) -> None:
    service = bench.service()
    service.report(0)
    service.report(0, ready=ready)
    assert service.host() == 0
    bench.client.delete(service.instance(0))
    service.configure(stale_after=0)
    goes_on(service, 1)


def test_it_goes_on_to_the_others_though_it_finds_everyone_gone(bench: Bench) -> None:
    service = bench.service(members=64)
    report_all(service, range(64))
    service.configure(stale_after=0)
    bench.client.delete(*(service.instance(member) for member in range(64)))
    with bench.counts("events", "EVICT_GONE", 64):
        goes_on(service, 1, ready=True)


def goes_on(service: Service, member: int, *, ready: bool = False) -> None:
    """A member's report is counted as accepted and copied, and is no drop."""
    bench = service.bench
    bench.copy(service.index, 3, 4)
    bench.client.modify(service.binding(member, copy_group=service.index))
    frame = bytes(service.report_frame(member, service.payload(member, ready=ready)))
    drops = [bench.drops(reason) for reason in bench.names["drops"]]
    bench.wires.flush()
    with bench.counts("events", "REPORT"):
        bench.send(node_port(member), frame)
        copies = [bench.receive(), bench.receive()]
    assert sorted(copy for copy in copies if copy is not None) == [(3, frame), (4, frame)]
    assert [bench.drops(reason) for reason in bench.names["drops"]] == drops
