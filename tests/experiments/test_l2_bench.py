"""TCP through an L2 program: the program is what p4c makes of its source, and the ratios are of one round each."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from experiments.bench import l2
from p4src import build


def test_the_program_is_compiled_from_its_source(tmp_path: Path) -> None:
    here, (made_by, _) = build.compiler_version(), build.recorded()
    if here != made_by:
        pytest.skip(f"the programs were compiled by {made_by}, here is {here or 'none'}")
    made = tmp_path / "l2.json"
    command = [build.COMPILER, "--std", "p4-16", "--arch", "v1model", "-o", str(made), "l2.p4"]
    subprocess.run(command, cwd=l2.PROGRAM.parent, check=True)
    assert made.read_text() == l2.PROGRAM.read_text()


def test_a_ratio_is_of_one_round_and_what_was_not_measured_has_none() -> None:
    rounds = [{l2.SOFTSWITCH: 8e6, l2.BRIDGE: 4e6}, {l2.SOFTSWITCH: 1e6, l2.BRIDGE: 1e6}]
    found = l2.summary(rounds)
    assert found["ratios"] == {"l2_tcp_vs_bridge": 1.5, "l2_tcp_vs_bridge_worst": 1.0}
    assert found["medians_mbit"] == {l2.SOFTSWITCH: 4, l2.BRIDGE: 2}
