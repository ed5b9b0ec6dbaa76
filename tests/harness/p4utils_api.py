"""p4-utils: its P4Runtime API from an empty switch on; its Thrift API, with the Python modules that Debian's Thrift
compiler makes of BMv2's definitions. Its networks compile their programs."""

from __future__ import annotations

import json
import shutil
import socket
from pathlib import Path

from tests.harness.outcomes import Outcome
from tests.harness.place import Place
from tests.harness.shell import PROGRAMS
from tests.harness.sources import BMV2, NotHad

CALLS = Path(__file__).parent / "p4utils_calls.py"
THRIFT_CALLS = Path(__file__).parent / "p4utils_thrift_calls.py"
DEFINITIONS = ("thrift_src/standard", "thrift_src/simple_pre", "thrift_src/simple_pre_lag")
SWITCH_DEFINITIONS = "targets/simple_switch/thrift/simple_switch"
PATIENCE_S = 60.0


def api(place: Place, clone: Path) -> list[Outcome]:
    """Every method of it."""
    with place.serving("--no-p4") as address:
        port = address.rpartition(":")[2]
        command: list[str | Path] = [place.python, CALLS, port, PROGRAMS]
        said = place.run(command, place.folder, PATIENCE_S, more={"PYTHONPATH": str(clone)})
    return _told(said)


def thrift_api(place: Place, clone: Path) -> list[Outcome]:
    """What exercises use of it. Raises NotHad without a Thrift compiler."""
    bmv2 = place.clones / f"{BMV2.owner}+{BMV2.name}"
    made = place.folder / "bmv2-modules"
    made.mkdir()
    if shutil.which("thrift") is None:
        raise NotHad("there is no thrift, Debian's thrift-compiler")
    for name in (*DEFINITIONS, SWITCH_DEFINITIONS):
        place.run(["thrift", "--gen", "py", "-out", made, bmv2 / f"{name}.thrift"], made, PATIENCE_S)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    path = ":".join(str(folder) for folder in (made, bmv2 / "tools", clone))
    with place.serving("--thrift-port", port, str(PROGRAMS / "everything.json")):
        said = place.run([place.python, THRIFT_CALLS, port], place.folder, PATIENCE_S, more={"PYTHONPATH": path})
    return _told(said)


def _told(said: str) -> list[Outcome]:
    outcomes = [Outcome(**json.loads(line)) for line in said.splitlines() if line.startswith('{"test"')]
    return outcomes or [Outcome("the API can be imported", False, said[-300:])]
