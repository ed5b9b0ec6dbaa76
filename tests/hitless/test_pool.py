"""How many workers a supervisor keeps, when it waits, and when it gives up."""

from hypothesis import given
from hypothesis import strategies as st

from hitless.runtime.pool import EARLY_S, GIVE_UP_AFTER, LAST_PAUSE_S, TOLD_PAUSE_S, Life, Pool

NEVER_READY = Life(None, 0)


def started(pool: Pool, *pids: int) -> Pool:
    for pid in pids:
        pool.started(pid)
    return pool


def test_a_worker_that_has_served_is_replaced_at_once_however_often() -> None:
    pool = Pool(2)
    assert pool.to_start(0.0) == 2
    started(pool, 1, 2)
    for pid in range(2, 20):
        pool.ended(pid, Life(0.5, answers=1), pid, 1.0)
        assert (pool.to_start(1.0), pool.given_up) == (1, False)
        pool.started(pid + 1)


def test_early_deaths_are_followed_by_pauses_and_end_it_when_nothing_is_served() -> None:
    pool = started(Pool(1), 1)
    pool.ended(1, NEVER_READY, 0, 1.0)
    assert pool.to_start(1.0) == 0
    again = pool.next_start(1.0)
    assert again is not None and 1.0 < again <= 1.0 + LAST_PAUSE_S and pool.to_start(again) == 1
    started(pool, 2)
    pool.ended(2, Life(2.0, 0), 0, 2.0 + EARLY_S / 2)
    assert not pool.given_up
    started(pool, 3)
    pool.ended(3, NEVER_READY, 0, 20.0)
    assert pool.given_up and pool.to_start(100.0) == 0 and pool.next_start(100.0) is None


def test_what_requests_do_to_their_workers_never_ends_it() -> None:
    pool = Pool(1)
    for pid in range(2 * GIVE_UP_AFTER):
        started(pool, pid)
        pool.ended(pid, Life(1.0, 0, asked=True), 0, 1.0)
        assert (pool.to_start(1.0), pool.given_up) == (1, False)


def test_siblings_that_serve_keep_it_going() -> None:
    pool = Pool(2)
    for pid in range(2 * GIVE_UP_AFTER):
        started(pool, pid)
        pool.ended(pid, Life(1.0, 0), answers=pid, now=2.0)
    assert not pool.given_up


@given(st.integers(1, 8), st.lists(st.sampled_from(["end", "told", "lived long"]), max_size=20))
def test_what_is_no_early_death_never_counts(wanted: int, story: list[str]) -> None:
    pool, now, pid = Pool(wanted), 0.0, 0
    for fate in story:
        for _ in range(pool.to_start(now)):
            pid += 1
            pool.started(pid)
        assert len(pool.children) == wanted
        one = min(pool.children)
        if fate == "end":
            assert pool.end(one)
        ready_at = now if fate == "end" else now - EARLY_S
        pool.ended(one, Life(ready_at, 0, told=fate == "told"), 0, now)
        now += TOLD_PAUSE_S if fate == "told" else 0.0
        assert (pool.given_up, pool.to_start(now)) == (False, 1)
    assert not pool.end(9999)
    pool.stop()
    assert pool.to_start(now) == 0


@given(st.integers(1, 8), st.lists(st.tuples(st.integers(0, 8), st.booleans(), st.floats(0, 30)), max_size=30))
def test_never_more_than_wanted_are_started_and_it_waits_for_no_longer_than_the_longest_pause(
    wanted: int, story: list[tuple[int, bool, float]]
) -> None:
    pool, now, pid, answers = Pool(wanted), 0.0, 0, 0
    for want, served, passed in story:
        pool.wanted = want
        before = len(pool.children)
        for _ in range(pool.to_start(now)):
            pid += 1
            pool.started(pid)
        assert len(pool.children) <= max(want, before)
        if pool.children:
            answers += served
            pool.ended(max(pool.children), Life(now, int(served)), answers, now)
        again = pool.next_start(now)
        assert again is None or now <= again <= now + LAST_PAUSE_S
        now += passed
