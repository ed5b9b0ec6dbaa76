"""The cycles of a run are laid over one another by the start of their disturbance."""

from hypothesis import given
from hypothesis import strategies as st

from experiments.migration.figures import samples_for
from experiments.migration.judge import judged_cycles
from experiments.migration.pooled import BINS_S, FROM_S, TO_S, bins, fitting, latency_points, lead_points, queue_points
from experiments.migration.records import Load
from experiments.migration.samples import RankSample
from tests.experiments.migration_rows import CYCLE_MS, MS, TRIGGER_MS, evidence, steered

WAYS = ["in-network", "unsteered"] * 3
POINTS = st.lists(st.tuples(st.floats(FROM_S - 1, TO_S + 1), st.floats(0.1, 1000)), max_size=300)


@given(points=POINTS, band=st.sampled_from([(0.1, 0.9), (0.25, 0.75)]), width=st.sampled_from(BINS_S))
def test_a_band_is_drawn_only_where_the_samples_tell_it(
    points: list[tuple[float, float]], band: tuple[float, float], width: float
) -> None:
    made = bins(points, band, width)
    assert abs(len(made) * width - (TO_S - FROM_S)) < 1e-9
    for one in made:
        near = [value for at, value in points if abs(at - one.at_s) <= width / 2 + 1e-6]
        assert one.high is None or len(near) >= samples_for(band[1])
        assert one.median is None or min(near) <= one.median <= max(near)
        assert (one.low is None) == (one.high is None)
        if one.low is not None and one.median is not None and one.high is not None:
            assert one.low <= one.median <= one.high
    assert all(one.high is None for one in made) or len(points) >= samples_for(band[1])


def test_more_samples_give_narrower_pieces_of_time() -> None:
    def spread(each: int) -> list[tuple[float, float]]:
        return [(FROM_S + (TO_S - FROM_S) * number / each, 1.0 + number % 7) for number in range(each)]

    assert fitting([spread(100 * 24 + 240)]) == ((0.1, 0.9), 0.1)
    assert fitting([spread(30 * 24)])[1] == 0.15
    assert fitting([spread(10)]) == ((0.25, 0.75), 0.3)


def test_times_count_from_the_disturbance_of_their_own_cycle_and_way() -> None:
    made = evidence(WAYS, steered(WAYS))
    judged = judged_cycles(made)
    slow = [at for at, value in latency_points(made, judged, "in-network") if value > 50]
    assert len(slow) == 3 * 20 and min(slow) == 0 and max(slow) < 0.2


def test_the_strips_are_of_the_disturbed_node_and_leave_out_who_is_not_eligible() -> None:
    at = (CYCLE_MS + TRIGGER_MS + 100) * MS
    ranks = [RankSample(at, "preprocess", "edge1", 64000), RankSample(at, "preprocess", "edge2", 65000)]
    ranks += [RankSample(at + MS, "preprocess", "edge1", 64000), RankSample(at + MS, "preprocess", "edge2", 0)]
    loads = {(node, "preprocess"): [Load(at, 900, queue)] for node, queue in (("edge1", 7), ("edge2", 3))}
    made = evidence(WAYS, steered(WAYS), ranks=ranks, loads=loads)
    judged = judged_cycles(made)
    assert [value for _, value in lead_points(made, judged, "unsteered")] == [-1000]
    assert [value for _, value in queue_points(made, judged, "unsteered")] == [7]
    assert list(queue_points(made, judged, "in-network")) == []
