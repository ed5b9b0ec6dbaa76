"""What ``make run`` does, in both ways to migrate: it ends with 0, shows a migration, loses nothing, leaves nothing."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from controller.fabric.file import load
from experiments.migration.options import PAIR
from tests.integration.support import each_target, needs_root
from tests.patience import PATIENCE
from topologies import requirements, targets
from topologies.cgroups import Hierarchy
from topologies.testbed import REPOSITORY_ROOT

COMMAND = [sys.executable, "-m", "experiments", "run"]
QUIET_RUNS = 3
"""A run whose machine was too busy for it is repeated so often."""
LIGHT = ("--rate", "5")
"""So little that what one function adds to a node is never a reason for the next one to stay behind."""
INVALID = 3
"""How a run ends whose times tell of a busy machine: all else holds there too."""


def run(*options: str) -> tuple[dict[str, Any], str, Path]:
    done = subprocess.run(
        [*COMMAND, *options], cwd=REPOSITORY_ROOT, capture_output=True, text=True, timeout=150, check=False
    )
    assert done.returncode in (0, INVALID), done.stdout + done.stderr
    folder = (REPOSITORY_ROOT / "results" / "latest").resolve()
    summary = json.loads((folder / "summary.json").read_text())
    # The first lines may say that a result may be INVALID, of a machine that is busy then.
    said = any(line.startswith("INVALID:") for line in done.stdout.splitlines())
    assert (done.returncode == INVALID) == said == (not summary["valid"])
    assert max(map(len, done.stdout.splitlines()[:-1])) <= 80
    return summary, done.stdout, folder


def left_behind() -> list[str]:
    """Network namespaces' processes and its nodes' budgets that a run would leave."""
    shells = subprocess.run(
        ["pgrep", "-af", "mininet:"], capture_output=True, text=True, check=False
    ).stdout.splitlines()
    return [*shells, *(node for node in load(PAIR).nodes if node in Hierarchy.detect().nodes())]


@needs_root
@pytest.mark.parametrize("target", each_target())
def test_the_switch_moves_the_work_and_no_request_is_lost(target: str) -> None:
    """With softswitch beside the other two ways, which take turns with it on one fabric under one load."""
    mode, duration = ("all", "20") if target == targets.NAMES[0] else ("in-network", "14")
    summary, output, folder = run("--target", target, "--mode", mode, "--duration", duration, *LIGHT)
    assert (summary["lost"], summary["failed"], summary["duplicated"]) == (0, 0, 0)
    assert summary["evidence_rows_missing"] == {"executions": 0, "reports": 0}
    moved = {way: one["moved"] for way, one in summary["ways"].items()}
    assert moved.pop("unsteered", 0) == 0 and all(moved.values())
    moves = [one for one in summary["migrations"] if one["service"] == "preprocess" and one["disturbed"]]
    assert {(one["from"], one["to"], one["reason"]) for one in moves} >= {("edge1", "edge2", "BETTER")}
    assert "edge1 → edge2 after" in output
    assert ("the controller changes to reconfiguration" in output) == (mode == "all")
    assert len((folder / "requests.csv").read_text().splitlines()) == summary["requests"] + 1
    assert (folder / "report.html").read_text().startswith("<!doctype html>")
    assert left_behind() == []


@needs_root
def test_reconfiguration_moves_the_work_where_no_switch_can() -> None:
    summary, _, _ = run("--mode", "reconfiguration", "--duration", "10", *LIGHT)
    assert (summary["target"], summary["lost"], summary["failed"], summary["duplicated"]) == ("bridge", 0, 0, 0)
    assert summary["ways"]["reconfiguration"]["moved"] > 0
    assert left_behind() == []


@needs_root
@pytest.mark.parametrize("target", each_target())
def test_a_quiet_fabric_moves_nothing(target: str) -> None:
    """Load that a machine holds back comes at once later, which is a reason to move: such a run is INVALID."""
    for _ in range(QUIET_RUNS):
        options = ("--mode", "in-network", "--duration", "12", "--disturb", "none")
        summary, _, _ = run("--target", target, *options)
        if not (summary["migrations"] and not summary["valid"]):
            break
    assert summary["migrations"] == []
    assert (summary["lost"], summary["failed"], summary["duplicated"]) == (0, 0, 0)


@needs_root
@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 130)])
def test_an_interrupted_run_leaves_nothing_behind(number: signal.Signals, code: int) -> None:
    process = subprocess.Popen(
        [*COMMAND, "--duration", "30", *LIGHT],
        cwd=REPOSITORY_ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if " 1/" in line:
            break
    process.send_signal(number)
    output, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == code, output + errors
    assert "Traceback" not in errors
    assert left_behind() == []


@needs_root
def test_after_a_killed_run_the_next_one_cleans_up() -> None:
    process = subprocess.Popen(
        [*COMMAND, "--duration", "30", *LIGHT], cwd=REPOSITORY_ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    for line in process.stdout:
        if " 1/" in line:
            break
    process.kill()
    process.wait()
    process.stdout.close()
    subprocess.run([sys.executable, "-m", "topologies", "clean"], cwd=REPOSITORY_ROOT, check=True)
    deadline = time.monotonic() + 5
    while left_behind() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert left_behind() == []


@needs_root
def test_without_root_the_sentence_says_what_to_do() -> None:
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.setuid(65534)
        try:
            requirements.check()
        except requirements.Unmet as unmet:
            os.write(write, str(unmet).encode())
        os._exit(0)
    os.close(write)
    os.waitpid(child, 0)
    with os.fdopen(read) as answer:
        assert "run it as root, or with sudo" in answer.read()
