"""p4-utils: its P4Runtime API from an empty switch on. Its Thrift API needs BMv2's Python modules, and its networks
compile their programs."""

from __future__ import annotations

import json
from pathlib import Path

from tests.harness.outcomes import Outcome
from tests.harness.place import Place
from tests.harness.shell import PROGRAMS

CALLS = Path(__file__).parent / "p4utils_calls.py"
PATIENCE_S = 60.0


def api(place: Place, clone: Path) -> list[Outcome]:
    """Every method of it."""
    with place.serving("--no-p4") as address:
        port = address.rpartition(":")[2]
        command: list[str | Path] = [place.python, CALLS, port, PROGRAMS]
        said = place.run(command, place.folder, PATIENCE_S, more={"PYTHONPATH": str(clone)})
    outcomes = [Outcome(**json.loads(line)) for line in said.splitlines() if line.startswith('{"test"')]
    return outcomes or [Outcome("the API can be imported", False, said[-300:])]
