"""The load that suits a machine: as much as it can take beside a disturbance, within the limits of a camera."""

from hypothesis import given
from hypothesis import strategies as st

from experiments.migration.calibration import HIGHEST, LOWEST, SHARE, fitting_rate


@given(frame_ms=st.floats(0.1, 1000), cores=st.floats(0.1, 4), cameras=st.integers(1, 16))
def test_the_cameras_use_the_share_of_the_budget_and_a_tenth_of_a_frame_more_would_be_too_much(
    frame_ms: float, cores: float, cameras: int
) -> None:
    rate = fitting_rate(frame_ms * 1e6, cores, cameras)
    used = rate * cameras * frame_ms / 1000
    assert LOWEST <= rate <= HIGHEST
    assert used <= SHARE * cores * 1.000001 or rate == LOWEST
    assert used + 0.1001 * cameras * frame_ms / 1000 > SHARE * cores or rate == HIGHEST


def test_a_slower_machine_gets_fewer_frames() -> None:
    assert fitting_rate(8.6e6, 0.5, 4) == 7.2
    assert fitting_rate(17.2e6, 0.5, 4) == 3.6
