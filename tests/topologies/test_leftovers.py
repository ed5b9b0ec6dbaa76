"""Nothing outlives a run: not when it ends, not when it is killed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.patience import PATIENCE, until
from topologies import leftovers
from topologies.cgroups import OTHER, Hierarchy
from topologies.processes import ProcessEnded, start, stop


def test_a_second_fabric_is_refused_with_the_first_ones_pid(tmp_path: Path) -> None:
    with (
        leftovers.exclusive(tmp_path),
        pytest.raises(leftovers.Busy, match=str(os.getpid())),
        leftovers.exclusive(tmp_path),
    ):
        pass
    with leftovers.exclusive(tmp_path):
        pass


def test_clean_ends_recorded_processes_and_only_those(tmp_path: Path) -> None:
    ours, other = (subprocess.Popen(["sleep", "60"]) for _ in range(2))
    try:
        leftovers.record([ours.pid], [], tmp_path)
        # A later process under a recorded pid is somebody else's.
        text = (tmp_path / "processes.json").read_text()
        mine = leftovers.ProcessId.of(other.pid)
        assert mine is not None
        (tmp_path / "processes.json").write_text(text[:-1] + f", [{mine.pid}, {mine.started - 1}]]")
        assert f"ended process {ours.pid}" in leftovers.clean(tmp_path)
        assert ours.wait(PATIENCE) == -signal.SIGKILL
        assert other.poll() is None
    finally:
        for one in (ours, other):
            one.kill()
            one.wait()
    assert leftovers.clean(tmp_path) == []


@pytest.mark.root("CPU budgets need root")
def test_clean_takes_the_budgets_of_its_run_and_leaves_those_of_others(tmp_path: Path) -> None:
    hierarchy, ours, others = Hierarchy.detect(), f"test-ours-{os.getpid()}", f"test-others-{os.getpid()}"
    with subprocess.Popen(["sleep", "60"]) as inside:
        try:
            for node in (ours, others):
                hierarchy.create(node, 0.5)
            hierarchy.node(others).child(OTHER).add(inside.pid)
            leftovers.record([], [ours, "never-made"], tmp_path)
            assert leftovers.clean(tmp_path) == [f"removed the CPU budget of {ours}"]
            assert not hierarchy.node(ours).exists()
            assert hierarchy.node(others).child(OTHER).pids() == {inside.pid}
        finally:
            inside.kill()
            for node in (ours, others):
                hierarchy.remove(node)
    assert leftovers.clean(tmp_path) == []


def test_started_processes_die_with_whoever_started_them(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from topologies.processes import start\n"
        "print(start('child', ['sleep', '60'], Path(sys.argv[1])).pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", program, str(tmp_path / "log")], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert leftovers.ProcessId.of(child) is not None
    parent.kill()
    parent.wait()
    parent.stdout.close()
    until(lambda: leftovers.ProcessId.of(child) is None, "its child to end with it")


def test_an_end_that_nobody_asked_for_is_told_with_the_log(tmp_path: Path) -> None:
    process = start("switch s1", ["sh", "-c", "echo port 9559 is taken; exit 3"], tmp_path / "log")
    until(lambda: process.handle.poll() is not None, "the process to end")
    with pytest.raises(ProcessEnded, match=r"switch s1 exited with code 3(.|\n)*port 9559 is taken"):
        process.check()


def test_stop_kills_what_does_not_listen(tmp_path: Path) -> None:
    deaf = start("deaf", ["sh", "-c", "trap '' TERM; echo up; while :; do sleep 1; done"], tmp_path / "deaf")
    polite = start("polite", ["sleep", "60"], tmp_path / "polite")
    until(lambda: "up" in (tmp_path / "deaf").read_text(), "the process to be up")
    assert stop([deaf, polite], patience_s=2) == ["deaf"]
    assert deaf.handle.poll() == -signal.SIGKILL and polite.handle.poll() == -signal.SIGTERM


@pytest.mark.root("to be preferred takes root")
@pytest.mark.skipif(not Path("/proc/self/autogroup").exists(), reason="the kernel does not group by session")
def test_a_preferred_process_is_so_among_sessions(tmp_path: Path) -> None:
    process = start("switch s1", ["sleep", "60"], tmp_path / "log", nice=-10)
    try:
        assert Path(f"/proc/{process.pid}/autogroup").read_text().split()[-1] == "-10"
    finally:
        stop([process])
