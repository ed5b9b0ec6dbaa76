"""`two_choices`, `round_robin` and `random`: the baselines. They too meet eligible members only."""

from collections import Counter
from itertools import pairwise

import pytest

from tests.packet.bench import Bench
from tests.packet.service import Service

DRAWING = ("two_choices", "round_robin", "random_choice")
SECOND = 1_000_000


def service_under(bench: Bench, policy: str, members: int, **options: object) -> Service:
    """A service with a report from each of its members."""
    service = bench.service(policy=(policy, {}), members=members, **options)
    for member in range(members):
        service.report(member)
    return service


def test_round_robin_takes_turns_over_what_is_eligible(bench: Bench) -> None:
    service = service_under(bench, "round_robin", 5)
    assert [service.ask() for _ in range(10)] == [0, 1, 2, 3, 4] * 2
    service.report(3, ready=False)
    service.report(1, draining=True)
    assert [service.ask() for _ in range(6)] == [0, 2, 4] * 2
    service.report(3)
    assert [service.ask() for _ in range(4)] == [0, 2, 3, 4]
    assert [service.probe(member)["sent"] for member in range(5)] == [5, 2, 5, 3, 5]


def test_random_reaches_all_evenly(bench: Bench) -> None:
    service = service_under(bench, "random_choice", 8)
    for member in range(8):
        service.report(member, backlog=member * SECOND)
    drawn = [service.ask() for _ in range(400)]
    counts = Counter(drawn)
    assert set(counts) == set(range(8))
    # 50 expected each, standard deviation 6.6.
    assert all(20 <= count <= 90 for count in counts.values()), counts
    # Neighbours in time are independent: with 8 members every eighth repeats the one before.
    repeats = sum(one == other for one, other in pairwise(drawn))
    assert 20 <= repeats <= 90


def test_two_choices_takes_the_better_of_two_different_ones(bench: Bench) -> None:
    service = service_under(bench, "two_choices", 4)
    for member in range(4):
        service.report(member, backlog=member * SECOND)
    counts = Counter(service.ask() for _ in range(240))
    # Of the six pairs the best is in three, the second the better one in two, the third in one, the worst in none.
    assert counts[3] == 0
    assert 90 <= counts[0] <= 150
    assert 50 <= counts[1] <= 110
    assert 15 <= counts[2] <= 70


def test_two_choices_is_exact_with_two_members_and_does_not_age(bench: Bench) -> None:
    service = service_under(bench, "two_choices", 2)
    service.report(1, backlog=2)
    service.report(0, backlog=3)
    assert {service.ask() for _ in range(20)} == {1}
    service.report(0, backlog=1)
    assert {service.ask() for _ in range(20)} == {0}


@pytest.mark.parametrize("policy", DRAWING)
def test_draws_meet_eligible_members_only(bench: Bench, policy: str) -> None:
    service = service_under(bench, policy, 64)
    alive = {15, 31, 47, 63}
    for member in set(range(64)) - alive:
        service.report(member, ready=False, draining=bool(member % 2))
    assert {service.ask() for _ in range(60)} == alive
    service.report(63, draining=True)
    assert {service.ask() for _ in range(60)} == alive - {63}


@pytest.mark.parametrize("policy", DRAWING)
def test_when_all_drain_they_take_turns(bench: Bench, policy: str) -> None:
    service = service_under(bench, policy, 3)
    for member in range(3):
        service.report(member, draining=True)
    assert {service.ask() for _ in range(9)} == {0, 1, 2}


@pytest.mark.parametrize("policy", DRAWING)
def test_a_drawn_member_that_is_gone_is_taken_out_and_another_drawn(bench: Bench, policy: str) -> None:
    service = service_under(bench, policy, 3)
    bench.client.delete(service.instance(1))
    assert {service.ask() for _ in range(20)} == {0, 2}
    assert service.probe(1)["eligible"] == 0


@pytest.mark.parametrize("policy", DRAWING)
def test_nobody_to_draw(bench: Bench, policy: str) -> None:
    service = service_under(bench, policy, 2)
    for member in range(2):
        service.report(member, ready=False)
    with bench.drops_one("NO_LIVE"):
        bench.send(1, service.datagram())


@pytest.mark.parametrize("policy", DRAWING)
def test_a_flow_stays_where_it_was_drawn(bench: Bench, policy: str) -> None:
    service = service_under(bench, policy, 8, protocol="tcp", affinity=1)
    first = {sport: service.member_of(service.segment("S", sport=sport)) for sport in range(12)}
    assert len(set(first.values())) > 1
    for sport, member in first.items():
        assert service.member_of(service.segment("A", sport=sport)) == member


def test_policies_change_by_one_entry(bench: Bench) -> None:
    service = service_under(bench, "round_robin", 3)
    assert [service.ask() for _ in range(3)] == [0, 1, 2]
    service.set_policy("pinned", member=2)
    assert {service.ask() for _ in range(3)} == {2}
    service.set_policy("round_robin")
    assert [service.ask() for _ in range(3)] == [0, 1, 2]


@pytest.mark.parametrize("policy", DRAWING)
def test_what_has_no_entry_goes_by_its_hash_always_alike(bench: Bench, policy: str) -> None:
    service = service_under(bench, policy, 8, protocol="tcp", affinity=1)
    for member in range(8):
        service.report(member, backlog=member * SECOND)
    drawn = {sport: service.member_of(service.segment("A", sport=sport)) for sport in range(24)}
    assert len(set(drawn.values())) > 4
    for sport, member in drawn.items():
        assert service.member_of(service.segment("A", sport=sport)) == member
    assert service.probe(0)["sent"] == 0


def test_what_goes_by_its_hash_is_nobodys_turn(bench: Bench) -> None:
    service = service_under(bench, "round_robin", 3, protocol="tcp", affinity=1)
    for turn in range(6):
        for sport in range(turn):
            service.member_of(service.segment("A", sport=100 + sport))
        assert service.member_of(service.segment("S", sport=turn)) == turn % 3
