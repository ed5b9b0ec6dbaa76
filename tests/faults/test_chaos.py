"""A node loses nothing but what was inside a killed process: a short run of `make chaos` with a fixed seed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.support import needs_root
from tests.patience import PATIENCE
from topologies import targets
from topologies.testbed import REPOSITORY_ROOT

KINDS = ("kill-worker", "update", "poison", "configuration", "kill-supervisor", "concurrency")
"""One of each, in an order that the seed makes. Longer runs have the others: `make chaos`."""


@needs_root
@pytest.mark.skipif(targets.missing("softswitch") is not None, reason="softswitch is not here")
def test_what_is_not_inside_a_killed_process_is_answered(tmp_path: Path) -> None:
    results = tmp_path / "results"
    command = [sys.executable, "-m", "experiments", "chaos", "--fabric", "experiments/chaos/one_node.yaml"]
    command += ["--seed", "4", "--count", str(len(KINDS)), "--kinds", ",".join(KINDS), "--results", str(results)]
    done = subprocess.run(
        command, cwd=REPOSITORY_ROOT, capture_output=True, text=True, timeout=3 * PATIENCE, check=False
    )
    assert (results / "summary.json").exists(), done.stderr
    summary = json.loads((results / "summary.json").read_text())
    assert summary["requests"] > 100 * len(KINDS)
    assert {row["kind"] for row in summary["by_kind"] if row["faults"]} == set(KINDS)
    unexplained = [one for one in summary["troubles"] if not one["explained"]]
    assert (unexplained, summary["wrong"]) == ([], []), done.stdout
    assert done.returncode == 0
