"""Pacing: never more than the burst at once, never faster than the rate."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hitless.wire.pacing import Outbox, Pacer


def test_burst_then_rate() -> None:
    pacer = Pacer(burst=16, rate=1000.0)
    assert pacer.take(40, 0.0) == 16
    assert pacer.take(24, 0.0) == 0
    assert pacer.ready_at() == pytest.approx(0.001)
    assert pacer.take(24, 0.0051) == 5
    assert pacer.take(100, 60.0) == 16


@given(st.lists(st.tuples(st.integers(0, 100), st.floats(0, 0.1)), max_size=50))
def test_bound_over_any_time(steps: list[tuple[int, float]]) -> None:
    pacer, now, sent = Pacer(burst=16, rate=1000.0), 0.0, 0
    for wanted, pause in steps:
        now += pause
        granted = pacer.take(wanted, now)
        assert 0 <= granted <= min(wanted, 16)
        sent += granted
        assert sent <= 16 + now * 1000 + 1e-6


@given(st.integers(1, 200))
def test_waiting_as_told_gets_everything_through(fragments: int) -> None:
    pacer, now, left = Pacer(burst=4, rate=500.0), 0.0, fragments
    for _ in range(4 * fragments):
        left -= pacer.take(left, now)
        if not left:
            break
        now = pacer.ready_at()
    assert left == 0
    assert now <= fragments / 500 + 0.01


@pytest.mark.parametrize(("burst", "rate"), [(0, 1.0), (1, 0.0)])
def test_settings_that_never_send(burst: int, rate: float) -> None:
    with pytest.raises(ValueError, match="expected"):
        Pacer(burst, rate)


def test_what_waits_for_one_destination_does_not_delay_another() -> None:
    outbox: Outbox[str] = Outbox(Pacer(burst=4, rate=1000.0))
    outbox.put([b"large"] * 1000, "flooded", "flooded")
    outbox.take(0.0)
    outbox.put([b"first", b"second"], "good", "good")
    outbox.put([b"third"], "good", "good")
    taken = outbox.take(0.0061)
    assert [datagram for datagram, route in taken if route == "good"] == [b"first", b"second"]
    assert [datagram for datagram, _ in outbox.take(0.0091)].count(b"third") == 1
    assert [route for _, route in outbox.take_all()].count("flooded") > 980
    assert outbox.next_timer() is None and outbox.take(1.0) == []


def test_what_waits_is_bounded_and_the_destination_with_most_loses_its_oldest() -> None:
    outbox: Outbox[str] = Outbox(Pacer(burst=1, rate=1000.0), max_bytes=200_000)
    good = outbox.put([bytes(1000)] * 5, "good", "good")
    flood = [outbox.put([bytes(1000)] * 5, "flooded", "flooded") for _ in range(1000)]
    outbox.take(0.0)
    assert outbox.size <= 200_000
    assert not good.done
    assert flood[0].done and not flood[-1].done, "the oldest were given up"
    left = outbox.take_all()
    assert [route for _, route in left].count("good") >= 4
    assert len(left) < 200


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 40)), max_size=40), st.integers(0, 3))
def test_everything_leaves_once_and_in_the_order_of_its_destination(
    messages: list[tuple[int, int]], every: int
) -> None:
    outbox: Outbox[int] = Outbox(Pacer(burst=16, rate=1000.0))
    expected: dict[int, list[bytes]] = {}
    taken: list[tuple[bytes, int]] = []
    now = 0.0
    for number, (to, count) in enumerate(messages):
        datagrams = [f"{number}/{index}".encode() for index in range(count)]
        expected.setdefault(to, []).extend(datagrams)
        outbox.put(datagrams, to, to)
        if every and number % every == 0:
            taken += outbox.take(now)
            now += 0.003
    while (due := outbox.next_timer()) is not None:
        now = max(now, due)
        taken += outbox.take(now)
    for to, datagrams in expected.items():
        assert [datagram for datagram, route in taken if route == to] == datagrams
    assert len(taken) == sum(map(len, expected.values()))
