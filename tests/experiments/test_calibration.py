"""The load that suits a machine: as much as it can take beside a disturbance, within the limits of a camera."""

from hypothesis import given
from hypothesis import strategies as st

from experiments.migration.calibration import HIGHEST, LOWEST, SHARE, Costs, fitting_rate


@given(
    frame_ms=st.floats(0.1, 1000),
    call_ms=st.floats(0, 20),
    cores=st.floats(0.1, 4),
    cameras=st.integers(1, 16),
    calls=st.floats(0, 20),
)
def test_all_functions_use_the_share_of_the_budget_and_a_tenth_of_a_frame_more_would_be_too_much(
    frame_ms: float, call_ms: float, cores: float, cameras: int, calls: float
) -> None:
    rate = fitting_rate(Costs(frame_ms * 1e6, call_ms * 1e6), cores, cameras, calls)
    used = (rate * cameras * frame_ms + calls * call_ms) / 1000
    assert LOWEST <= rate <= HIGHEST
    assert used <= SHARE * cores * 1.000001 or rate == LOWEST
    assert used + 0.1001 * cameras * frame_ms / 1000 > SHARE * cores or rate == HIGHEST


def test_a_slower_machine_gets_fewer_frames_and_thumbnails_take_their_part() -> None:
    assert fitting_rate(Costs(8.6e6, 0), 0.5, 4, 8) == 7.2
    assert fitting_rate(Costs(17.2e6, 0), 0.5, 4, 8) == 3.6
    assert fitting_rate(Costs(8.6e6, 4e6), 0.5, 4, 8) == 6.3
