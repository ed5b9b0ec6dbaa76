"""Contention: what processes wanted and others kept from them, from the kernel's account to the figure."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greengrass_agent.host import waits
from greengrass_agent.host.cgroup import Group
from greengrass_agent.host.waits import Waits, parse_pressure, parse_schedstat
from greengrass_agent.measure.contention import Contention, share_of_all

MS = 1_000_000
PRESSURE = b"some avg10=0.00 avg60=0.00 avg300=0.00 total=%d\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=9\n"
Load = Callable[[int], tuple[float, float]]
"""What has run and waited until a millisecond, in milliseconds."""


def alone(own: Contention) -> int:
    """The figure of an instance that has its node for itself."""
    return own.permille(share_of_all([own]), 0.0)


def felt(load: Load, budget: float = 1.0, at_once: float = 1.0, until_ms: int = 3000) -> list[int]:
    """The figure after each reading."""
    own, told = Contention(budget), []
    for ms in range(0, until_ms, 10):
        ran, waited = load(ms)
        own.add(int(ran * MS), int(waited * MS), ms * MS, at_once)
        told.append(alone(own))
    return told


def test_who_shares_a_processor_with_one_other_is_kept_from_it_half_of_the_time() -> None:
    assert felt(lambda ms: (ms // 2, ms // 2))[-1] == pytest.approx(485, abs=10)
    assert felt(lambda ms: (ms // 4, 3 * ms // 4))[-1] == pytest.approx(727, abs=10)


@pytest.mark.parametrize(("budget", "workers"), [(0.2, 1), (0.5, 1), (0.5, 3), (1.0, 1), (1.5, 2), (4.0, 2)])
def test_what_its_own_use_of_the_budget_makes_it_wait_does_not_count(budget: float, workers: int) -> None:
    """Alone on its node it works now and then, as fast as the budget lets its workers."""
    ran = min(budget, workers)
    assert max(felt(lambda ms: (ms * 0.6 * ran, ms * 0.6 * (workers - ran)), budget, workers)) == 0
    kept = felt(lambda ms: (ms * 0.3 * ran, ms * 0.3 * (2 * workers - ran)), budget, workers)[-1]
    assert kept > 350, "half of that is taken by somebody else"


def test_periods_of_the_budget_leave_it_even() -> None:
    """Each 100 ms it runs for the first 20 and waits for the rest, as somebody else has used the budget up."""
    told = felt(lambda ms: (ms // 100 * 20 + min(ms % 100, 20), ms // 100 * 80 + max(ms % 100 - 20, 0)), 0.5)[100:]
    assert max(told) - min(told) < 150
    assert min(told) > 400


def test_competition_is_seen_within_a_quarter_of_a_second() -> None:
    def load(ms: int) -> tuple[int, int]:
        since = max(ms - 2000, 0)
        return min(ms, 2000) * 3 // 10 + since * 3 // 10, since * 6 // 10

    told = felt(load)
    assert told[199] == 0
    assert told[225] > 300


@given(st.lists(st.integers(1, 40), min_size=1, max_size=40))
def test_additional_readings_do_not_change_it(gaps: list[int]) -> None:
    often, seldom, now = Contention(1.0), Contention(1.0), 0
    for own in (often, seldom):
        own.add(0, 0, 0)
    for gap in gaps:
        now += gap
        often.add(now * MS // 2, now * MS // 4, now * MS)
    seldom.add(now * MS // 2, now * MS // 4, now * MS)
    assert often.permille(0.0, 0.0) == pytest.approx(seldom.permille(0.0, 0.0), abs=1)


@given(*(st.integers(0, 10**9) for _ in range(3)), st.floats(0, 1), st.floats(0, 1), st.floats(0.05, 4))
def test_it_is_a_share(ran: int, waited: int, passed: int, node: float, others: float, budget: float) -> None:
    own = Contention(budget)
    own.add(0, 0, 0)
    own.add(ran, waited, passed)
    assert 0 <= own.permille(node, others) <= 1000


def test_who_hardly_runs_is_told_by_its_node() -> None:
    idle, kept = Contention(1.0), Contention(1.0)
    for ms in range(0, 2000, 10):
        idle.add(0, 0, ms * MS)
        kept.add(ms * MS // 3, ms * MS * 2 // 3, ms * MS)
    node = share_of_all([idle, kept])
    assert idle.permille(node, 0.0) == pytest.approx(606, abs=5)
    assert idle.permille(0.0, 1.0) == 500, "work that came would have half of it at least"
    assert idle.permille(0.0, 0.75) == 0
    assert share_of_all([idle]) == 0.0


def test_who_runs_little_beside_one_that_runs_much_waits_now_and_then_without_being_kept_from_anything() -> None:
    much, little = Contention(1.0), Contention(1.0)
    for ms in range(0, 4000, 10):
        much.add(ms * MS // 2, ms * MS // 50, ms * MS)
        little.add(ms * MS // 20, ms * MS // 20, ms * MS)
    assert little.permille(share_of_all([much, little]), 0.0) < 180
    assert alone(little) > 250, "alone, that is all there is to tell from"


def test_at_rest_it_wears_off() -> None:
    own = Contention(1.0)
    own.add(0, 0, 0)
    own.add(50 * MS, 50 * MS, 100 * MS)
    before = alone(own)
    own.rest(3000 * MS)
    assert before > 300
    assert alone(own) == 0


def test_the_kernels_figures_are_read() -> None:
    assert parse_schedstat(b"805799 192894 3\n") == (805799, 192894, 1.0)
    assert parse_pressure(PRESSURE % 17) == 17_000


def test_stalls_of_a_group_count_as_waiting(tmp_path: Path) -> None:
    """Of cgroup v2; where the kernel has no PSI, there are none."""
    group = Group.unified(tmp_path)
    (tmp_path / "cgroup.procs").write_text("")
    with closing(Waits(group)) as without:
        assert without.read(0) == (0, 0, 1.0)
    memory, disk = tmp_path / "memory.pressure", tmp_path / "io.pressure"
    for file in (memory, disk):
        file.write_bytes(PRESSURE % 100)
    with closing(Waits(group)) as own:
        assert own.read(0) == (0, 0, 1.0), "what was before does not count"
        memory.write_bytes(PRESSURE % 130)
        disk.write_bytes(PRESSURE % 104)
        assert own.read(10) == (0, 34_000, 1.0)


def test_of_stalls_of_the_machine_count_those_while_the_instance_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With cgroup v1."""
    machine = tmp_path / "memory"
    monkeypatch.setattr(waits, "MEMORY_PRESSURE", machine)
    (tmp_path / "cgroup.procs").write_text("")
    told = []
    machine.write_bytes(PRESSURE % 100)
    with closing(Waits(Group.split(tmp_path, tmp_path))) as own:
        for now_ns, total in ((0, 100), (10 * MS, 130), (2000 * MS, 900), (2010 * MS, 904)):
            machine.write_bytes(PRESSURE % total)
            told.append(own.read(now_ns).waited_ns)
    assert told == [0, 30_000, 30_000, 34_000]


@pytest.fixture
def worker() -> Iterator[subprocess.Popen[bytes]]:
    """A process that computes a little for each line that it reads."""
    code = "import sys\nfor line in sys.stdin: print(sum(range(300_000)), flush=True)"
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with process:
        yield process
        process.kill()


def ask(worker: subprocess.Popen[bytes]) -> None:
    assert worker.stdin is not None
    assert worker.stdout is not None
    worker.stdin.write(b"\n")
    worker.stdin.flush()
    worker.stdout.readline()


def test_threads_count_from_when_they_are_seen_and_keep_what_they_had(
    tmp_path: Path, worker: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waits, "MEMORY_PRESSURE", tmp_path / "none")
    (tmp_path / "child").mkdir()
    for folder, text in ((tmp_path, ""), (tmp_path / "child", f"{worker.pid}\n")):
        (folder / "cgroup.procs").write_text(text)
    ask(worker)
    with closing(Waits(Group.unified(tmp_path))) as own:
        assert own.read(0) == (0, 0, 1.0)
        ask(worker)
        ran = own.read(10).ran_ns
        assert ran > 0, "its own part, also of a process in a group below"
        (tmp_path / "child" / "cgroup.procs").write_text(f"{worker.pid}\n{os.getpid()}\n")
        assert own.read(waits.LOOK_NS).ran_ns > ran, "a process that came has all that it ran"
        worker.kill()
        worker.wait()
        kept = own.read(waits.LOOK_NS + 10)
        (tmp_path / "child" / "cgroup.procs").write_text("")
        assert own.read(3 * waits.LOOK_NS).ran_ns >= kept.ran_ns
