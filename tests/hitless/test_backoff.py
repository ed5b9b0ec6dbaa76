"""The waits between attempts."""

import pytest

from hitless.backoff import Backoff


def test_waits_double_up_to_the_last_and_begin_anew_after_a_success() -> None:
    backoff = Backoff(0.1, 0.5)
    assert [backoff.next() for _ in range(5)] == [0.1, 0.2, 0.4, 0.5, 0.5]
    backoff.reset()
    assert [backoff.next() for _ in range(2)] == [0.1, 0.2]


@pytest.mark.parametrize(("first_s", "last_s"), [(0, 1), (-1, 1), (2, 1)])
def test_waits_that_make_no_sense_are_refused(first_s: float, last_s: float) -> None:
    with pytest.raises(ValueError, match="expected 0 < first_s <= last_s"):
        Backoff(first_s, last_s)
