"""The queue of asynchronous invocations: pauses, ages, who is told; and that a crash at any point loses none."""

import itertools
import shutil
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.invocations import queue
from controller.invocations.queue import (
    Call,
    Failed,
    Invocation,
    Outcome,
    Policy,
    Queue,
    QueueFullError,
    Refused,
    Settle,
    State,
    Succeeded,
    Tell,
    Unreached,
    begin,
    called,
    revived,
    told,
)
from controller.invocations.store import DeadLetters, Store, StoreError

OUTCOMES: st.SearchStrategy[Outcome] = st.sampled_from(
    [Succeeded(200), Failed(500, "raised"), Unreached("no node"), Refused(404, "no such version")]
)
ALL_TOLD = Policy(on_failure=("mqtt", "service"))


def invocation(number: int = 1, *, service: str = "shout", at: float = 0.0, **fields: object) -> Invocation:
    return Invocation.model_validate(
        {"id": f"i{number}", "service": service, "accepted_at": at, "size": 10, **fields}, strict=False
    )


def test_errors_of_the_function_are_followed_by_lambdas_two_retries() -> None:
    own, policy = invocation(), Policy()
    state = begin(own)
    pauses = []
    now = 5.0
    while state.end is None:
        state = called(policy, own, state, Failed(500, "raised"), now)
        pauses.append(state.not_before - now)
        now = state.not_before
    assert pauses == [60, 120, 0]
    assert (state.end.condition, state.failures) == ("RetriesExhausted", 3)


def test_where_nobody_answers_it_is_tried_for_six_hours_and_does_not_count_as_an_error() -> None:
    own, policy = invocation(), Policy()
    state, now, pauses = begin(own), 0.0, []
    while state.end is None:
        state = called(policy, own, state, Unreached("no node"), now)
        pauses.append(state.not_before - now)
        now = state.not_before
    assert pauses[:10] == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300]
    assert state.end.condition == "EventAgeExceeded"
    assert 6 * 3600 - 300 < now <= 6 * 3600
    assert state.failures == 0


@given(st.lists(OUTCOMES, min_size=1, max_size=40))
def test_whatever_comes_of_the_calls_there_is_one_end_in_time(outcomes: list[Outcome]) -> None:
    own, policy = invocation(callback="http://x"), ALL_TOLD
    state, now = begin(own), 0.0
    for outcome in itertools.cycle(outcomes):
        state = called(policy, own, state, outcome, now)
        if state.end is not None:
            break
        assert state.not_before > now
        now = state.not_before
    assert now <= policy.max_age
    assert state.failures <= len(policy.retries) + 1
    assert state.to_tell == (("callback",) if state.end.succeeded else ("callback", "mqtt", "service"))


@given(st.lists(st.booleans(), min_size=1, max_size=12))
def test_who_wants_to_know_is_told_once_it_answers_or_given_up_after_a_day(answers: list[bool]) -> None:
    own, policy = invocation(callback="http://x"), ALL_TOLD
    state = called(policy, own, begin(own), Refused(404, "no such version"), 0.0)
    now, reached = 0.0, []
    for answer in itertools.cycle(answers):
        if not state.to_tell:
            break
        target = state.to_tell[0]
        state = told(policy, state, target, None if answer else "it is away", now)
        reached += [target] if answer else []
        assert state.not_before >= now
        now = state.not_before
    assert sorted([*reached, *state.given_up]) == ["callback", "mqtt", "service"]
    assert not reached or any(answers)
    assert state.given_up == () or now <= policy.tell_for + policy.last_wait


def test_a_dead_letter_that_is_tried_again_begins_anew_or_tells_what_nobody_was_told() -> None:
    own, policy = invocation(callback="http://x"), Policy(tell_for=1.0)
    failed = called(policy, own, begin(own), Refused(404, "no"), 0.0)
    assert revived(failed, 9.0) == State(since=9.0, not_before=9.0)
    done = told(policy, called(policy, own, begin(own), Succeeded(200), 0.0), "callback", "away", 5.0)
    assert done.given_up == ("callback",)
    again = revived(done, 9.0)
    assert again.end is not None
    assert (again.end.succeeded, again.to_tell) == (True, ("callback",))


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 50)), min_size=1, max_size=40),
    st.integers(1, 6),
    st.integers(1, 3),
)
def test_the_bounds_on_what_is_under_way_hold_and_nobody_waits_for_ever(
    arrivals: list[tuple[str, float]], at_a_time: int, of_one: int
) -> None:
    policy = Policy(at_a_time=at_a_time, of_one_service=of_one)
    own = Queue(policy, (), 0.0)
    everything = {}
    for number, (service, at) in enumerate(arrivals):
        one = everything[f"i{number}"] = invocation(number, service=service, at=at)
        own.reserve(one.size)
        own.add(one, begin(one))
    now, executed = 0.0, []
    under_way: list[Call | Tell | Settle] = []
    while len(own):
        under_way += own.due(now)
        assert len(under_way) <= at_a_time
        calls = Counter(everything[work.id].service for work in under_way if isinstance(work, Call))
        assert all(count <= of_one for count in calls.values())
        if not under_way:
            following = own.next_time()
            assert following is not None
            assert following > now
            now = following
            continue
        work = under_way.pop(0)
        found = own.get(work.id)
        assert found is not None
        if isinstance(work, Settle):
            own.settled(work.id)
        else:
            executed.append(work.id)
            own.saved(work.id, called(policy, found[0], found[1], Succeeded(200), now))
    assert sorted(executed) == sorted(everything)


def test_a_full_queue_takes_no_more_and_says_which_bound_it_has_reached() -> None:
    own = Queue(Policy(max_pending=2, max_bytes=25), (), 0.0)
    own.reserve(10)
    with pytest.raises(QueueFullError, match="max_megabytes"):
        own.reserve(16)
    own.add(one := invocation(1), begin(one))
    own.reserve(10)
    with pytest.raises(QueueFullError, match="max_pending"):
        own.reserve(0)
    own.give_back(10)
    own.reserve(15)


def test_a_clock_that_was_set_back_keeps_nothing_waiting() -> None:
    own, policy = invocation(at=1e9), Policy()
    state = State(since=1e9, not_before=1e9)
    assert (Queue(policy, [(own, state)], 100.0).next_time() or 1e9) <= 100.0 + policy.last_wait


class _Crash(Exception):
    """The process has died."""


class _Disk:
    """A disk that is as it was left by a process that died in its nth change, half done where it can be."""

    def __init__(self, dies_at: int | None) -> None:
        self.left = dies_at

    def _step(self) -> bool:
        if self.left is None:
            return False
        self.left -= 1
        return self.left < 0

    def write(self, path: Path, content: bytes) -> None:
        if self._step():
            path.with_name(f".{path.name}.new").write_bytes(content[: len(content) // 2])
            raise _Crash
        path.write_bytes(content)

    def move(self, source: Path, target: Path) -> None:
        if self._step():
            raise _Crash
        source.rename(target)


class _World:
    """Whoever is called and told, and what they saw of it."""

    def __init__(self, outcomes: list[Outcome], answers: list[bool]) -> None:
        self.outcomes = itertools.cycle(outcomes)
        self.answers = itertools.cycle(answers)
        self.executed: Counter[tuple[str, bytes]] = Counter()
        self.succeeded: set[str] = set()
        self.told: Counter[tuple[str, str]] = Counter()


def _work(
    root: Path, disk: _Disk, policy: Policy, world: _World, arrivals: list[Invocation], accepted: set[str]
) -> None:
    """What the keeper does, in one thread and in no time. Raises _Crash."""
    store = Store(root, write=disk.write, move=disk.move)
    try:
        now = 0.0
        own = Queue(policy, store.pending(), now)
        for one in arrivals:
            store.accept(one, one.id.encode(), begin(one))
            accepted.add(one.id)
            own.reserve(one.size)
            own.add(one, begin(one))
        while len(own):
            for work in own.due(now):
                found = own.get(work.id)
                assert found is not None
                one, state = found
                match work:
                    case Call():
                        outcome = next(world.outcomes)
                        world.executed[work.id, store.payload(work.id)] += 1
                        if isinstance(outcome, Succeeded):
                            world.succeeded.add(work.id)
                        store.answered(work.id, b"result")
                        state = called(policy, one, state, outcome, now)
                        store.save(work.id, state)
                        own.saved(work.id, state)
                    case Tell(target=target):
                        answer = next(world.answers)
                        world.told[work.id, target] += answer
                        state = told(policy, state, target, None if answer else "away", now)
                        store.save(work.id, state)
                        own.saved(work.id, state)
                    case Settle(place=place):
                        store.settle(work.id, place)
                        own.settled(work.id)
            now = max(now, own.next_time() or now)
    finally:
        store.close()


@settings(max_examples=12, deadline=None)
@given(st.lists(OUTCOMES, min_size=1, max_size=5), st.lists(st.booleans(), min_size=1, max_size=3), st.integers(1, 3))
def test_a_crash_at_every_point_loses_no_accepted_invocation(
    tmp_path_factory: pytest.TempPathFactory, outcomes: list[Outcome], answers: list[bool], count: int
) -> None:
    policy = Policy(on_failure=("mqtt",), retries=(1.0,), max_age=100.0, tell_for=10.0)
    arrivals = [invocation(number, callback="http://x" if number % 2 else None) for number in range(count)]
    root = tmp_path_factory.mktemp("queue")
    for dies_at in itertools.count():
        shutil.rmtree(root)
        world, accepted = _World(outcomes, answers), set[str]()
        crashed = False
        try:
            _work(root, _Disk(dies_at), policy, world, arrivals, accepted)
        except _Crash:
            crashed = True
            # The next process, with other invocations of its own.
            _work(root, _Disk(None), policy, world, [], accepted)
        dead = {one.id: state for one, state in DeadLetters(root).all()}
        for one in accepted:
            assert world.executed[one, one.encode()] >= 1
            if one in dead:
                state = dead[one]
                assert state.end is not None
                assert not state.end.succeeded or state.given_up
                reached = {target for number, target in world.told if number == one and world.told[number, target]}
            else:
                assert one in world.succeeded
                reached = {target for number, target in world.told if number == one and world.told[number, target]}
                assert reached >= ({"callback"} if arrivals[int(one[1:])].callback else set())
        # What was not accepted was not executed either, unless it was whole on disk when the process died.
        assert {number for number, _ in world.executed} - accepted <= {f"i{len(accepted)}"}
        assert not any((root / "pending").iterdir())
        if not crashed:
            break


def test_an_operator_lists_dead_letters_has_them_tried_again_and_discards_them(tmp_path: Path) -> None:
    store = Store(tmp_path / "q")
    for number in (1, 2):
        one = invocation(number, at=float(number))
        store.accept(one, b'{"n": 1}', begin(one))
        store.save(one.id, called(Policy(), one, begin(one), Refused(404, "no such version"), 3.0))
        store.settle(one.id, queue.Place.DEAD)
    letters = DeadLetters(tmp_path / "q")
    assert [(one.id, state.problem) for one, state in letters.all()] == [
        ("i1", "no such version"),
        ("i2", "no such version"),
    ]
    assert letters.discard("i1")
    assert not letters.retry("i1")
    assert not letters.retry("../dead/i2")
    assert letters.retry("i2")
    assert letters.all() == []
    ((again, state),) = store.to_retry(lambda state: revived(state, 9.0))
    assert (again.id, state.end, store.payload("i2")) == ("i2", None, b'{"n": 1}')
    store.close()
    assert [one.id for one, _ in Store(tmp_path / "q").pending()] == ["i2"]


def test_one_process_works_on_a_queue_and_what_it_cannot_read_is_set_aside(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store(tmp_path)
    with pytest.raises(StoreError, match="another process works on it"):
        Store(tmp_path)
    store.accept(one := invocation(1), b"{}", begin(one))
    (tmp_path / "pending" / "i1" / "state.json").write_text("{")
    assert store.pending() == []
    assert "kept as" in caplog.text
    assert (tmp_path / "unreadable" / "i1" / "payload").read_bytes() == b"{}"
