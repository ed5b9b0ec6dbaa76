"""What ``make experiment NAME=detection`` does: it stops a node's workers, the service moves, all is undone."""

import json
import subprocess
import sys
from pathlib import Path

from experiments.detection.ground import DATA
from experiments.detection.kinds import HERE, THERE
from tests.integration.support import needs_root
from topologies.cgroups import Hierarchy
from topologies.testbed import REPOSITORY_ROOT


@needs_root
def test_a_node_whose_workers_stop_is_found_out(tmp_path: Path) -> None:
    folder = tmp_path / "results"
    options = ("--only", "stopped,both-busy", "--runs", "1", "--rest-minutes", "0", "--results", str(folder))
    done = subprocess.run(
        [sys.executable, "-m", "experiments", "detection", *options],
        cwd=REPOSITORY_ROOT,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    summary = json.loads((folder / "summary.json").read_text())
    kinds = summary["variants"]["default"]["kinds"]
    assert (kinds["stopped"]["found"], kinds["both-busy"]["runs"]) == (1, 1)
    assert (summary["lost"], summary["failed"], summary["duplicated"]) == (0, 0, 0)
    assert (folder / "detection.svg").exists()
    assert not DATA.exists() and not {HERE, THERE} & set(Hierarchy.detect().nodes())
