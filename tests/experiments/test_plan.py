"""A run has as many disturbances as its quantile needs, or as fit, and the ways to meet them take turns."""

import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from experiments.migration.figures import samples_for
from experiments.migration.options import WAYS
from experiments.migration.plan import HEADLINE, ROUND, WINDOW_S, cycle_s, in_turns, needed_s, plan

SETS = st.sampled_from([WAYS, WAYS[:1], WAYS[::2]])


@given(ways=SETS, cycles=st.integers(1, 60))
def test_every_way_has_all_its_cycles_and_none_goes_before_the_others(ways: tuple[str, ...], cycles: int) -> None:
    rounds = in_turns(ways, cycles)  # type: ignore[arg-type]
    flat = [way for way, number in rounds for _ in range(number)]
    assert Counter(flat) == dict.fromkeys(ways, cycles)
    if len(ways) > 1 and cycles > 1:
        middles = {way: sum(place for place, one in enumerate(flat) if one == way) / cycles for way in ways}
        # What drifts meets all alike: their middles differ by a round's length at most.
        assert max(middles.values()) - min(middles.values()) <= len(ways) * ROUND


@given(ways=SETS, duration=st.floats(10, 2000), rate=st.floats(4, 120), dwell=st.floats(0, 1))
def test_cycles_fit_and_are_no_more_than_the_quantile_needs(
    ways: tuple[str, ...], duration: float, rate: float, dwell: float
) -> None:
    planned = plan(ways, duration, rate, dwell)  # type: ignore[arg-type]
    each = planned.cycles // len(ways)
    assert each == 1 or planned.cycles * cycle_s(dwell) <= duration
    assert (each - 1) * rate * WINDOW_S <= samples_for(HEADLINE) * 1.1
    enough = plan(ways, needed_s(ways, rate, dwell) + 0.01, rate, dwell)  # type: ignore[arg-type]
    assert enough.cycles // len(ways) * rate * WINDOW_S >= samples_for(HEADLINE)
    after = planned.trigger_after_s(random.Random(1))
    assert after > dwell, "nothing may move again when the disturbance starts"
