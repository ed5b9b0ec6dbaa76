"""The steering decision, in simulated time: every rule of the contract, and that nothing moves without a cause."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.fabric.file import load as load_fabric
from controller.fabric.settings import settings
from hitless.steering.arithmetic import elapsed, newer
from hitless.steering.outcome import Verdict
from hitless.steering.policies import Pinned, Single, Spread
from hitless.steering.rank import Score, load, single_rank
from hitless.steering.service import ServiceSteering
from hitless.steering.settings import InstanceSettings, Settings
from hitless.steering.tree import Tree
from hitless.wire.report import Report
from hitless.words import MEMBERS, SPREAD_BEST, Affinity, MemberStatus, OnNoLive, Reason

FABRIC = Path(__file__).with_name("fabric.yaml")
SECOND = 1_000_000
DWELL = 3 * SECOND
SINGLE = Settings(
    policy=Single(margin=400, dwell=DWELL, evidence=0),
    score=Score(cpu=0),
    instances={0: InstanceSettings(1), 1: InstanceSettings(1), 2: InstanceSettings(1)},
)
"""Load is what others use of the CPU."""

STEADY = replace(SINGLE, stale_after=3600 * SECOND)
"""Nobody goes stale, so that nobody needs to report all the time."""


def report(sequence: int, epoch: int = 1, *, ready: bool = True, **fields: Any) -> Report:
    return Report(service_id=1, node_id=7, epoch=epoch, sequence=sequence, ready=ready, **fields)


class Bench:
    """A service whose time the test turns."""

    def __init__(self, given: Settings = SINGLE) -> None:
        self.steering = ServiceSteering(given)
        self.now = 1000
        self.sequence = 0

    def report(self, member: int, **fields: Any) -> list[tuple[Reason, int | None, int | None]]:
        self.sequence += 1
        outcome = self.steering.report(self.now, member, report(self.sequence, **fields))
        assert outcome.verdict is Verdict.ACCEPTED
        return [(event.reason, event.from_member, event.to_member) for event in outcome.events]

    def request(self) -> tuple[Verdict, int | None, list[Reason]]:
        outcome = self.steering.request(self.now)
        return outcome.verdict, outcome.member, [event.reason for event in outcome.events]


@given(st.lists(st.tuples(st.integers(0, MEMBERS - 1), st.integers(0, 5)), max_size=200))
def test_the_root_is_the_exact_best(changes: list[tuple[int, int]]) -> None:
    tree = Tree()
    ranks = [0] * MEMBERS
    for member, rank in changes:
        ranks[member] = rank
        best = tree.change(member, rank)
        assert best.rank == max(ranks)
        assert ranks[best.member] == best.rank or best.rank == 0
        assert [tree.rank(one) for one in range(MEMBERS)] == ranks


def test_of_equals_the_half_that_was_not_touched_wins() -> None:
    tree = Tree()
    tree.change(3, 9)
    assert tree.change(40, 9).member == 3
    assert tree.change(3, 9).member == 40


@given(st.integers(0, 2**32 - 1), st.integers(1, 2**32 - 1))
def test_serial_numbers_wrap(base: int, step: int) -> None:
    ahead = base + step & 2**32 - 1
    assert newer(ahead, base) is (step < 2**31)
    assert not (newer(ahead, base) and newer(base, ahead))


def test_a_clock_set_back_makes_nothing_old() -> None:
    assert elapsed(100, 200) == 0
    assert elapsed(100, 2**48 - 50) == 150


@pytest.mark.parametrize(
    ("fields", "score", "path_cost", "expected"),
    [
        ({"cpu": 700, "cpu_own": 600}, Score(cpu=0), 0, 100),
        ({"cpu": 600, "cpu_own": 700}, Score(cpu=0), 0, 0),
        ({"cpu": 700}, Score(cpu=3), 5, 5605),
        ({"cpu": 700}, Score(cpu=31), 5, 5),
        ({"memory": 3, "queue_depth": 9}, Score(memory=1, queue=2, busy_after=4), 0, 22),
        ({"queue_depth": 5}, Score(queue=2, busy_after=4), 0, 0),
        ({"queue_depth": 9, "concurrency": 4}, Score(queue=2), 0, 20),
        ({"queue_depth": 65535, "concurrency": 65535}, Score(queue=2, busy_after=65535), 0, 0),
        ({"service_interval": 4096}, Score(interval=4), 0, 256),
        ({"service_interval": 4096}, Score(interval=31), 0, 0),
        ({"contention": 300}, Score(contention=2), 7, 1207),
        ({"contention": 300}, Score(contention=31), 7, 7),
        ({"cpu": 65535, "memory": 65535}, Score(cpu=16, memory=16), 65535, 2**32 - 1),
    ],
)
def test_load(fields: dict[str, int], score: Score, path_cost: int, expected: int) -> None:
    assert load(report(1, **fields), score, path_cost) == expected


def test_the_busiest_still_beats_one_that_drains_or_starts_work_too_late() -> None:
    assert single_rank(2**32 - 1) == 3
    assert single_rank(0) == 65535


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["report", "request"]),
            st.integers(0, 3),
            st.sampled_from([0, 0, 1, 30, 100, 2000]),
            st.sampled_from([0, 0, 40, 1000]),
        ),
        max_size=60,
    )
)
def test_new_work_goes_where_it_starts_first_however_far_and_however_old_the_reports(
    happens: list[tuple[str, int, int, int]],
) -> None:
    far = (0, 50, 50, 700)
    instances = {member: InstanceSettings(1, path_cost) for member, path_cost in enumerate(far)}
    bench = Bench(Settings(policy=Spread(), instances=instances, stale_after=SECOND))
    starts: dict[int, int] = {}
    for what, member, passed, backlog in happens:
        bench.now += passed
        if what == "report":
            bench.report(member, backlog=backlog, service_interval=20)
            # With what was sent and not received, which counts as on its way.
            starts[member] = SPREAD_BEST - bench.steering.probe(bench.now, member).rank
        elif starts:
            soonest = {one: max(start, bench.now + far[one]) for one, start in starts.items()}
            _, chosen, _ = bench.request()
            assert chosen is not None and soonest[chosen] == min(soonest.values())
            starts[chosen] = soonest[chosen] + 20


class TestEvidence:
    """`single` with a margin of 400 that takes three clear reports."""

    LASTING = replace(STEADY, policy=Single(margin=400, dwell=0, evidence=3))

    def test_no_single_report_moves_it_however_clear(self) -> None:
        bench = Bench(self.LASTING)
        bench.report(0)
        bench.report(1)
        for _ in range(20):
            assert bench.report(0, cpu=65535) == []
            assert bench.report(0) == []
            assert bench.report(0) == []

    def test_what_is_clearer_counts_for_two(self) -> None:
        bench = Bench(self.LASTING)
        bench.report(0)
        bench.report(1)
        moves = [bench.report(0, cpu=1200) for _ in range(2)]
        assert moves == [[], [(Reason.BETTER, 0, 1)]]

    def test_what_lasts_moves_it(self) -> None:
        bench = Bench(self.LASTING)
        bench.report(0)
        bench.report(1)
        moves = [bench.report(0, cpu=600) for _ in range(6)]
        assert moves == [[]] * 5 + [[(Reason.BETTER, 0, 1)]]

    def test_a_margin_of_nothing_needs_no_evidence(self) -> None:
        bench = Bench(replace(STEADY, policy=Single(margin=0, dwell=0)))
        bench.report(0)
        bench.report(1)
        assert bench.report(0, cpu=1) == [(Reason.BETTER, 0, 1)]

    def test_a_start_that_comes_too_late_needs_neither_evidence_nor_dwell(self) -> None:
        bench = Bench(replace(STEADY, policy=Single(margin=400, dwell=DWELL, start_within=9000)))
        bench.report(0)
        bench.report(1, cpu=900)
        assert bench.report(0, backlog=9000) == []
        assert bench.report(0, backlog=9001) == [(Reason.LATE_START, 0, 1)]
        bench.report(0, backlog=9001)
        assert bench.report(1, backlog=9002) == [], "nobody starts it in time"

    def test_since_when_it_has_lasted(self) -> None:
        bench = Bench(self.LASTING)
        bench.report(0)
        bench.report(1)
        for _ in range(2):
            bench.now += 10
            bench.report(0)
        quiet = bench.now
        for _ in range(2):
            bench.now += 10
            bench.report(0, cpu=700)
        probe = bench.steering.probe(bench.now, 1)
        assert (probe.evidence, probe.since) == (600, quiet)


class TestAcceptance:
    def test_only_newer_reports_count(self) -> None:
        steering = ServiceSteering(SINGLE)
        verdicts = [
            steering.report(1, 0, report(sequence, epoch)).verdict is Verdict.ACCEPTED
            for sequence, epoch in [(5, 3), (5, 3), (4, 3), (6, 3), (1, 2), (1, 4), (7, 3), (2, 4)]
        ]
        assert verdicts == [True, False, False, True, False, True, False, True]

    def test_sequences_and_epochs_wrap(self) -> None:
        steering = ServiceSteering(SINGLE)
        last = 2**32 - 1
        for sequence, epoch, expected in [(last, last, True), (0, last, True), (last, last, False), (0, 0, True)]:
            assert (steering.report(1, 0, report(sequence, epoch)).verdict is Verdict.ACCEPTED) is expected

    @pytest.mark.parametrize(
        ("new", "old", "counts"),
        [
            ((5, 8), (5, 7), True),
            ((5, 7), (5, 7), False),
            ((5, 6), (5, 7), False),
            ((6, 0), (5, 7), True),
            ((4, 9), (5, 7), False),
            ((0, 0), (2**32 - 1, 7), True),
            ((5, 0), (5, 2**32 - 1), True),
            ((5, 2**31), (5, 0), False),
        ],
    )
    def test_the_epoch_goes_before_the_sequence(self, new: tuple[int, int], old: tuple[int, int], counts: bool) -> None:
        steering = ServiceSteering(SINGLE)
        assert steering.report(1, 0, report(old[1], old[0])).verdict is Verdict.ACCEPTED
        assert (steering.report(2, 0, report(new[1], new[0])).verdict is Verdict.ACCEPTED) is counts

    def test_an_old_report_changes_nothing(self) -> None:
        bench = Bench()
        bench.report(0, cpu=10)
        before = bench.steering.probe(5000, 0)
        assert bench.steering.report(4000, 0, report(1, cpu=999)).verdict is Verdict.OLD
        assert bench.steering.probe(5000, 0) == before

    def test_a_new_generation_accepts_any_epoch(self) -> None:
        bench = Bench()
        bench.report(0, epoch=9)
        bench.steering.settings = replace(SINGLE, instances={**SINGLE.instances, 0: InstanceSettings(2)})
        assert bench.report(0, epoch=1) == []
        assert bench.request() == (Verdict.STEERED, 0, [])

    def test_who_is_not_bound_is_not_heard(self) -> None:
        assert ServiceSteering(SINGLE).report(1, 9, report(1)).verdict is Verdict.UNBOUND


class TestSingle:
    def test_the_first_report_makes_a_host(self) -> None:
        bench = Bench()
        assert bench.request() == (Verdict.DROPPED, None, [])
        assert bench.report(1, cpu=900) == [(Reason.FIRST, None, 1)]
        assert bench.report(0) == []
        assert bench.request() == (Verdict.STEERED, 1, [])

    def test_it_moves_for_more_than_the_margin_and_after_the_dwell(self) -> None:
        bench = Bench(STEADY)
        bench.report(0)
        bench.report(1)
        bench.now += DWELL - 1
        bench.report(1)
        assert bench.report(0, cpu=401) == []
        assert bench.report(0, cpu=400) == []
        bench.now += 1
        assert bench.report(1) == []
        assert bench.report(0, cpu=401) == [(Reason.BETTER, 0, 1)]

    def test_the_event_tells_what_decided(self) -> None:
        bench = Bench(STEADY)
        bench.report(0)
        bench.now += DWELL
        bench.report(1, cpu=100)
        outcome = bench.steering.report(bench.now, 0, report(77, cpu=900, cpu_own=100))
        (event,) = outcome.events
        assert (event.from_rank, event.to_rank) == (65535 - 800, 65535 - 100)
        assert (event.node_id, event.epoch, event.sequence, event.time) == (7, 1, 77, bench.now)

    @pytest.mark.parametrize(
        ("state", "reason"), [({"draining": True}, Reason.DRAINING), ({"ready": False}, Reason.NOT_READY)]
    )
    def test_it_leaves_at_once_who_drains_or_is_not_ready(self, state: dict[str, bool], reason: Reason) -> None:
        bench = Bench()
        bench.report(0)
        bench.report(1, cpu=1000)
        assert bench.report(0, **state) == [(reason, 0, 1)]

    def test_the_only_instance_goes_on_serving_while_it_drains(self) -> None:
        bench = Bench()
        bench.report(0)
        assert bench.report(0, draining=True) == []
        assert bench.request() == (Verdict.STEERED, 0, [])
        assert bench.report(1, draining=True) == []
        assert bench.report(1) == [(Reason.DRAINING, 0, 1)]

    def test_a_request_leaves_a_stale_host(self) -> None:
        bench = Bench()
        bench.report(0)
        bench.report(1, cpu=900)
        bench.now += 150_000
        bench.report(1, cpu=900)
        bench.now += 50_000
        assert bench.request() == (Verdict.STEERED, 0, [])
        bench.now += 1
        assert bench.request() == (Verdict.STEERED, 1, [Reason.EVICT_STALE, Reason.STALE])
        assert bench.steering.probe(bench.now, 0).status is MemberStatus.ABSENT

    def test_a_look_finds_what_a_request_would(self) -> None:
        bench = Bench()
        bench.report(0)
        bench.now += 200_001
        bench.report(1)
        assert bench.steering.host == 1
        bench.now += 200_001
        assert [event.reason for event in bench.steering.tick(bench.now)] == [Reason.EVICT_STALE]
        assert bench.steering.tick(bench.now) == ()

    def test_many_dead_at_once_cost_one_request(self) -> None:
        everyone = {member: InstanceSettings(1) for member in range(64)}
        bench = Bench(replace(SINGLE, instances=everyone))
        for member in range(64):
            bench.report(member)
        bench.now += 200_001
        bench.report(17)
        verdict, member, reasons = bench.request()
        assert (verdict, member) == (Verdict.STEERED, 17)
        assert reasons.count(Reason.EVICT_STALE) + reasons.count(Reason.STALE) <= 65

    def test_another_generation_is_gone(self) -> None:
        bench = Bench()
        bench.report(0)
        bench.report(1)
        bench.steering.settings = replace(SINGLE, instances={0: InstanceSettings(2), 1: InstanceSettings(1)})
        assert bench.request() == (Verdict.STEERED, 1, [Reason.EVICT_GONE, Reason.GONE])

    def test_recovery_is_the_first_new_report(self) -> None:
        bench = Bench()
        bench.report(0)
        bench.now += 10 * SECOND
        assert bench.steering.tick(bench.now) != ()
        assert not bench.steering.probe(bench.now, 0).eligible
        assert bench.report(0) == []
        assert bench.steering.probe(bench.now, 0).eligible
        assert bench.request() == (Verdict.STEERED, 0, [])

    @given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 400)), max_size=300))
    def test_loads_within_the_margin_move_nothing(self, reports: list[tuple[int, int]]) -> None:
        bench = Bench()
        bench.report(0)
        for member, cpu in reports:
            bench.now += 10_000
            assert bench.report(member, cpu=cpu) == [] or bench.steering.host == 0
        assert bench.steering.host == 0

    def test_a_hosts_own_use_moves_nothing(self) -> None:
        """The service uses 70 % of its host, then of whoever is the host: for a minute nothing moves."""
        bench = Bench()
        moves = []
        for _ in range(6000):
            bench.now += 10_000
            for member in (0, 1):
                own = 700 if bench.steering.host == member else 0
                moves += bench.report(member, cpu=own + 30, cpu_own=own)
        assert moves == [(Reason.FIRST, None, 0)]

    @given(
        st.lists(
            st.tuples(*[st.integers(0, 1000)] * 3, st.integers(1, 8), st.floats(0, 1), st.integers(0, 200)),
            max_size=60,
        )
    )
    def test_by_default_no_use_and_nothing_that_a_service_does_at_rest_moves_it(
        self, rows: list[tuple[int, int, int, int, float, int]]
    ) -> None:
        """Whatever is used and however long a request takes: a queue as long as work is done at a time is normal."""
        bench = Bench(replace(STEADY, score=Score()))
        bench.report(0)
        bench.report(1)
        bench.now += 10 * DWELL
        for cpu, own, memory, workers, waits, contention in rows:
            bench.now += 10_000
            queue = round(waits * workers)
            told = {"cpu": cpu, "cpu_own": own, "memory": memory, "concurrency": workers, "queue_depth": queue}
            assert bench.report(0, **told, contention=contention, service_interval=cpu * 1000) == []

    @pytest.mark.parametrize(
        "felt",
        [{"contention": 300}, {"queue_depth": 12, "concurrency": 2}, {"contention": 150, "queue_depth": 4}],
        ids=["contention", "queue", "both"],
    )
    def test_by_default_a_host_whose_work_waits_makes_room_though_it_uses_less(self, felt: dict[str, int]) -> None:
        """What competes outside of its node's budget makes its use of that fall."""
        bench = Bench(replace(STEADY, score=Score()))
        bench.report(0, cpu=550, cpu_own=500)
        bench.report(1, cpu=50)
        bench.now += DWELL
        assert bench.report(0, cpu=350, cpu_own=300, **felt) == [(Reason.BETTER, 0, 1)]

    @given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 1000), st.integers(0, 500_000)), max_size=300))
    def test_moves_for_load_keep_the_dwell(self, reports: list[tuple[int, int, int]]) -> None:
        bench = Bench(STEADY)
        moved: int | None = None
        for member, cpu, pause in reports:
            bench.now += pause
            for reason, before, after in bench.report(member, cpu=cpu):
                assert before != after
                if reason is Reason.BETTER:
                    assert moved is not None
                    assert bench.now - moved >= DWELL
                moved = bench.now

    def test_returns_double_the_dwell_up_to_64_times(self) -> None:
        """Whoever is the host gets busy at once: the worst a fabric can do."""
        bench = Bench(STEADY)
        moves: list[int] = []
        while len(moves) < 10 and bench.now < 3600 * SECOND:
            bench.now += 10_000
            for member in (0, 1):
                busy = 900 if bench.steering.host == member else 0
                if bench.report(member, cpu=busy):
                    moves.append(bench.now)
        dwells = [round((after - before) / DWELL) for before, after in pairwise(moves)]
        assert dwells == [1, 1, 2, 4, 8, 16, 32, 64, 64]

    def test_a_move_long_after_restores_the_dwell(self) -> None:
        bench = Bench(STEADY)
        bench.report(0)
        moved = []
        for pause in (DWELL, DWELL, DWELL, DWELL, 100 * DWELL, DWELL):
            bench.now += pause
            host = bench.steering.host
            assert host is not None
            events = [*bench.report(1 - host), *bench.report(host, cpu=900)]
            moved.append(bench.steering.host != host)
            assert len(events) <= 1
        # There, back (the dwell is doubled: not yet), there again (doubled again); much later it is as at first.
        assert moved == [True, True, False, True, True, True]


class TestPinned:
    def test_the_operators_choice_overrides_rank_drain_and_readiness(self) -> None:
        bench = Bench()
        bench.report(0)
        bench.report(1, cpu=1000)
        bench.steering.settings = replace(SINGLE, policy=Pinned(1))
        assert bench.request() == (Verdict.STEERED, 1, [Reason.PINNED])
        assert bench.report(1, draining=True) == []
        assert bench.report(1, ready=False) == []
        assert bench.request() == (Verdict.STEERED, 1, [])

    def test_death_overrides_the_operator_until_it_is_back(self) -> None:
        bench = Bench(replace(SINGLE, policy=Pinned(1)))
        assert bench.report(0) == [(Reason.FIRST, None, 0)]
        assert bench.report(1) == [(Reason.PINNED, 0, 1)]
        bench.now += 200_001
        assert bench.report(0) == [(Reason.EVICT_STALE, 1, 0), (Reason.STALE, 1, 0)]
        assert bench.report(1, cpu=900) == [(Reason.PINNED, 0, 1)]

    def test_letting_go_moves_nothing_by_itself(self) -> None:
        bench = Bench()
        bench.report(0)
        bench.report(1, cpu=1000)
        bench.steering.settings = replace(SINGLE, policy=Pinned(1))
        bench.steering.tick(bench.now)
        bench.steering.settings = SINGLE
        assert bench.steering.tick(bench.now) == ()
        assert bench.report(0) == []
        assert bench.steering.host == 1
        bench.now += DWELL
        bench.report(1, cpu=1000)
        assert bench.report(0) == [(Reason.BETTER, 1, 0)]


class TestNoLive:
    @pytest.mark.parametrize(
        ("on_no_live", "expected"),
        [
            (OnNoLive.LAST, (Verdict.STEERED, 0)),
            (OnNoLive.FALLBACK, (Verdict.FALLBACK, None)),
            (OnNoLive.DROP, (Verdict.DROPPED, None)),
        ],
    )
    def test_the_service_says_what_then(self, on_no_live: OnNoLive, expected: tuple[Verdict, int | None]) -> None:
        bench = Bench(replace(SINGLE, on_no_live=on_no_live))
        bench.report(0)
        bench.now += 200_001
        assert bench.request() == (*expected, [Reason.EVICT_STALE])
        assert bench.request() == (*expected, [])
        assert bench.report(0) == []
        assert bench.request() == (Verdict.STEERED, 0, [])


class TestSpread:
    SPREAD = replace(SINGLE, policy=Spread())

    def test_the_earliest_start_wins_and_moves_on(self) -> None:
        bench = Bench(self.SPREAD)
        for member, backlog in ((0, 5000), (1, 2000), (2, 9000)):
            bench.report(member, backlog=backlog, service_interval=2500)
        chosen = [bench.request()[1] for _ in range(5)]
        assert chosen == [1, 1, 0, 1, 0]

    def test_the_estimate_drains_by_itself(self) -> None:
        bench = Bench(self.SPREAD)
        bench.report(0, service_interval=1000)
        bench.report(1, backlog=3000, service_interval=1000)
        bench.now += 50_000
        first, second = bench.request()[1], bench.request()[1]
        assert {first, second} == {0, 1}

    def test_work_on_its_way_counts(self) -> None:
        bench = Bench(self.SPREAD)
        bench.report(0, service_interval=1000, received=0)
        for _ in range(5):
            bench.request()
        bench.report(0, service_interval=1000, received=2)
        start = 2**48 - 1 - bench.steering.probe(bench.now, 0).rank
        assert start == bench.now + 3 * 1000

    def test_what_got_lost_is_forgotten(self) -> None:
        bench = Bench(self.SPREAD)
        bench.report(0, service_interval=1000, received=0)
        bench.request()
        for _ in range(64):
            bench.report(0, service_interval=1000, received=0)
        assert 2**48 - 1 - bench.steering.probe(bench.now, 0).rank == bench.now

    def test_a_restart_forgets_what_was_on_its_way(self) -> None:
        bench = Bench(self.SPREAD)
        bench.report(0, service_interval=1000, received=0)
        for _ in range(5):
            bench.request()
        bench.report(0, epoch=2, service_interval=1000, received=0)
        assert 2**48 - 1 - bench.steering.probe(bench.now, 0).rank == bench.now

    def test_load_is_a_penalty_if_asked_for(self) -> None:
        bench = Bench(replace(self.SPREAD, policy=Spread(load_penalty=3)))
        bench.report(0, cpu=100)
        assert 2**48 - 1 - bench.steering.probe(bench.now, 0).rank == bench.now + 800

    def test_draining_is_the_last_resort(self) -> None:
        bench = Bench(self.SPREAD)
        bench.report(0, draining=True)
        assert bench.request()[1] == 0
        bench.report(1, backlog=10**9)
        assert bench.request()[1] == 1


def test_settings_of_the_example() -> None:
    fabric = load_fabric(FABRIC)
    detect = settings(fabric, "detect")
    assert detect == Settings(
        policy=Single(400, DWELL),
        instances={0: InstanceSettings(1), 1: InstanceSettings(1)},
        score=Score(cpu=0, queue=31, busy_after=4),
        affinity=Affinity.REQUEST,
        members=2,
        first_slot=32768,
        slots=16384,
    )
    assert settings(fabric, "detect", "edge2").policy == Pinned(1)
