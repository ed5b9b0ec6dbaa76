"""A digest on every change of a host and every eviction: who, why, when, by which ranks and which report."""

import pytest

from tests.packet.bench import Bench

NOBODY = 0xFF
LONG = 60_000_000
pytestmark = pytest.mark.frozen


def test_a_move_names_the_ranks_and_the_report_that_decided(bench: Bench) -> None:
    service = bench.service(policy=("single", {"margin": 100, "dwell": 0}))
    service.report(1, epoch=4, sequence=11, cpu=300)
    first = service.digests(1)[0]
    assert {name: first[name] for name in first if name != "switch_time"} == {
        "service": service.index,
        "reason": 1,
        "from_member": NOBODY,
        "to_member": 1,
        "from_rank": 0,
        "to_rank": 65535 - 300,
        "node_id": 2,
        "epoch": 4,
        "sequence": 11,
    }
    service.report(2, epoch=6, sequence=21, cpu=200)
    bench.pass_time(0.01)
    service.report(2, epoch=6, sequence=22, cpu=199)
    bench.pass_time(0.01)
    moved = service.digests(2)[1]
    told = service.probe(2)
    assert {name: moved[name] for name in moved if name != "switch_time"} == {
        "service": service.index,
        "reason": 2,
        "from_member": 1,
        "to_member": 2,
        "from_rank": 65535 - 300,
        "to_rank": 65535 - 199,
        "node_id": 3,
        "epoch": 6,
        "sequence": 22,
    }
    assert told["age"] == 10_000
    assert moved["switch_time"] == told["now"] - told["age"], "the time is the deciding report's arrival"


def test_the_report_of_another_node_decides_too(bench: Bench) -> None:
    service = bench.service(policy=("single", {"margin": 100, "dwell": LONG}))
    service.report(0, cpu=0)
    service.report(1, cpu=0)
    service.report(0, epoch=1, sequence=900, draining=True)
    moved = service.digests(2)[1]
    assert (moved["reason"], moved["from_rank"], moved["to_rank"]) == (3, 1, 65535)
    assert (moved["node_id"], moved["sequence"]) == (1, 900)


def test_an_eviction_by_a_packet_names_the_next_best_and_no_report(bench: Bench) -> None:
    service = bench.service(policy=("spread", {"load_penalty": 31}), stale_after=0.3)
    service.report(0)
    service.report(1, backlog=5_000_000)
    held = service.probe(0)["rank"]
    bench.pass_time(0.35)
    service.report(1, backlog=5_000_000)
    next_best = service.probe(1)["rank"]
    bench.pass_time(0.01)
    assert service.ask() == 1
    (told,) = service.digests(1)
    assert told.pop("switch_time") == service.probe(1)["now"]
    assert told == {
        "service": service.index,
        "reason": 8,
        "from_member": 0,
        "to_member": 1,
        "from_rank": held,
        "to_rank": next_best,
        "node_id": 0,
        "epoch": 0,
        "sequence": 0,
    }


def test_the_eviction_of_the_last_one_leads_to_nobody(bench: Bench) -> None:
    service = bench.service(on_no_live=0)
    service.report(0)
    bench.pass_time(0.35)
    service.configure(stale_after=0.3)
    assert service.ask() == 0
    told = service.digests(2)[1]
    assert (told["reason"], told["from_member"], told["to_member"], told["to_rank"]) == (8, 0, NOBODY, 0)
    assert service.ask() == 0
    assert len(service.digests(3, wait=0.1)) == 2, "it is taken out once"


def test_quiet_reports_and_requests_tell_nothing(bench: Bench) -> None:
    service = bench.service()
    for _ in range(5):
        service.report(0)
        service.report(1)
        assert service.ask() == 0
    assert len(service.digests(2, wait=0.1)) == 1
