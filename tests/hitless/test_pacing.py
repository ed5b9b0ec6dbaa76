"""Pacing: never more than the burst at once, never faster than the rate."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hitless.wire.pacing import Pacer


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
