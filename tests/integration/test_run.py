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
from topologies import requirements
from topologies.cgroups import Hierarchy
from topologies.testbed import REPOSITORY_ROOT

COMMAND = [sys.executable, "-m", "experiments", "run"]
LIGHT = ("--rate", "5")
"""So little that what one function adds to a node is never a reason for the next one to stay behind."""

QUIET_RUNS = 3
"""A machine that holds the load back makes it come at once later, which is a reason to move: then a run is repeated."""


def run(*options: str) -> tuple[dict[str, Any], str, Path]:
    done = subprocess.run(
        [*COMMAND, *options], cwd=REPOSITORY_ROOT, capture_output=True, text=True, timeout=150, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    folder = (REPOSITORY_ROOT / "results" / "latest").resolve()
    return json.loads((folder / "summary.json").read_text()), done.stdout, folder


def left_behind() -> list[str]:
    """Network namespaces' processes and its nodes' budgets that a run would leave."""
    shells = subprocess.run(
        ["pgrep", "-af", "mininet:"], capture_output=True, text=True, check=False
    ).stdout.splitlines()
    return [*shells, *(node for node in load(PAIR).nodes if node in Hierarchy.detect().nodes())]


@needs_root
@pytest.mark.parametrize("target", each_target())
def test_the_switch_moves_the_work_and_no_request_is_lost(target: str) -> None:
    summary, output, folder = run("--target", target, "--duration", "21", *LIGHT)
    assert (summary["lost"], summary["failed"], summary["duplicated"]) == (0, 0, 0)
    assert summary["evidence_rows_missing"] == {"executions": 0, "reports": 0}
    assert summary["requests"] > summary["cameras"] * 21 * summary["frames_per_second"] == 420
    moves = {move["service"]: move for move in summary["migrations"]}
    move = moves["preprocess"]
    assert (move["from"], move["to"], move["reason"]) == ("edge1", "edge2", "BETTER")
    # The competition is the reason of the move: it comes first, then the report that tells of it, then the move. There
    # is load long enough after it for a comparison.
    assert 0 < move["report_to_first_steered_ms"] < move["trigger_to_first_steered_ms"]
    phases = summary["phases"]
    assert phases["trigger_s"] < move["at_s"] < phases["window_end_s"] < phases["end_s"]
    assert ">>> preprocess moved: edge1 → edge2" in output
    assert len((folder / "requests.csv").read_text().splitlines()) == summary["requests"] + 1
    assert (folder / "latency.png").read_bytes().startswith(b"\x89PNG")
    assert left_behind() == []


@needs_root
def test_reconfiguration_moves_the_work_where_no_switch_can() -> None:
    summary, _, _ = run("--mode", "reconfiguration", "--duration", "21", *LIGHT)
    assert (summary["lost"], summary["failed"], summary["duplicated"]) == (0, 0, 0)
    assert {move["service"] for move in summary["migrations"]} >= {"preprocess"}
    assert left_behind() == []


@needs_root
@pytest.mark.parametrize("target", each_target())
def test_a_quiet_fabric_moves_nothing(target: str) -> None:
    for _ in range(QUIET_RUNS):
        summary, _, _ = run("--target", target, "--duration", "12", "--disturb", "none")
        if not (summary["migrations"] and summary["noisy"]):
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
        if line.strip().startswith("2 "):
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
        if line.strip().startswith("2 "):
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
