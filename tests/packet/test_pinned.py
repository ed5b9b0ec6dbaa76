"""`pinned`: the operator's choice beats rank, drain and readiness, not death; letting go moves nothing by itself."""

from typing import Any

import pytest

from tests.packet.bench import Bench
from tests.packet.service import Service

LONG = 60_000_000
PINNED, EVICT_STALE, STALE = 7, 8, 5
pytestmark = pytest.mark.frozen


def pinned(bench: Bench, member: int = 1, **options: float) -> Service:
    """A service with member 0 as its host, pinned to another."""
    service = bench.service(policy=("single", {"margin": 400, "dwell": LONG}), **options)
    service.report(0)
    service.report(1)
    service.report(2)
    assert service.host() == 0
    service.set_policy("pinned", member=member)
    return service


def test_it_works_from_the_first_report_on(bench: Bench) -> None:
    service = bench.service(policy=("pinned", {"member": 2}))
    service.report(0)
    assert service.ask() == 0, "the pinned member is not there yet: the best"
    service.report(2, cpu=1000)
    assert service.host() == 2
    assert service.ask() == 2
    assert [(told["reason"], told["from_member"], told["to_member"]) for told in service.digests(2)] == [
        (1, 255, 0),
        (PINNED, 0, 2),
    ]


def test_the_pinned_member_can_be_the_first_host(bench: Bench) -> None:
    service = bench.service(policy=("pinned", {"member": 0}))
    service.report(0)
    assert service.host() == 0
    (told,) = service.digests(1)
    assert (told["reason"], told["from_member"], told["from_rank"], told["to_member"]) == (PINNED, 255, 0, 0)


def test_it_serves_though_nobody_is_eligible(bench: Bench) -> None:
    service = bench.service(policy=("pinned", {"member": 1}))
    service.report(1, ready=False)
    assert service.ask() == 1


@pytest.mark.parametrize("fields", [{"cpu": 1000}, {"draining": True}, {"ready": False}])
def test_it_overrides_rank_drain_and_readiness(bench: Bench, fields: dict[str, Any]) -> None:
    service = pinned(bench)
    service.report(1, **fields)
    assert service.ask() == 1
    service.report(0)
    assert service.ask() == 1


def test_a_packet_is_diverted_without_waiting_for_a_report(bench: Bench) -> None:
    service = pinned(bench)
    assert service.host() == 0
    assert service.ask() == 1
    assert service.host() == 1
    (_, moved) = service.digests(2)
    assert (moved["reason"], moved["from_member"], moved["to_member"], moved["sequence"]) == (PINNED, 0, 1, 0)


def test_a_report_records_it_where_no_packet_comes(bench: Bench) -> None:
    service = pinned(bench)
    service.report(0)
    assert service.host() == 1


def test_death_beats_it_and_return_restores_it(bench: Bench) -> None:
    service = pinned(bench)
    assert service.ask() == 1
    bench.pass_time(0.4)
    service.report(0)
    service.report(2, cpu=100)
    service.configure(stale_after=0.3)
    assert service.ask() == 0
    assert [told["reason"] for told in service.digests(4)][2:] == [EVICT_STALE, STALE]
    service.configure(stale_after=60)
    service.report(1)
    assert service.ask() == 1


def test_a_stand_in_does_not_change_with_the_ranks(bench: Bench) -> None:
    service = pinned(bench, member=3)
    assert service.ask() == 0
    service.report(0, cpu=900)
    assert service.ask() == 0


def test_letting_go_moves_nothing_by_itself(bench: Bench) -> None:
    service = pinned(bench)
    assert service.ask() == 1
    service.set_policy("single", margin=400, dwell=0)
    for member in (0, 1, 2):
        service.report(member)
    assert service.host() == 1
    assert service.ask() == 1
    service.report(1, cpu=1000)
    assert service.host() in (0, 2)


def test_after_letting_go_a_report_ends_a_drain_and_no_packet_does(bench: Bench) -> None:
    service = pinned(bench)
    assert service.ask() == 1
    service.report(1, draining=True)
    service.set_policy("single", margin=400, dwell=LONG)
    assert service.ask() == 1
    service.report(2)
    assert service.host() in (0, 2)


def test_the_dwell_after_letting_go_counts_from_the_move(bench: Bench) -> None:
    service = pinned(bench)
    assert service.ask() == 1
    service.set_policy("single", margin=400, dwell=LONG)
    service.report(1, cpu=1000)
    assert service.host() == 1


def test_pinning_where_it_is_tells_nothing(bench: Bench) -> None:
    service = pinned(bench, member=0)
    service.report(0)
    assert service.ask() == 0
    assert len(service.digests(2, wait=0.1)) == 1
