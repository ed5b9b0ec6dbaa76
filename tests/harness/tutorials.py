"""p4lang's tutorials: `run_exercise.py` under Mininet for every exercise, with the solution; the PTF suites.

The exercises' programs have to be compiled in the clone, each into its folder `build`: the harness itself compiles
nothing of others. Of `runptf.sh` the two commands are run that start the switch and PTF: the script compiles too, and
ends every process of the machine that is called simple_switch.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from tests.harness.exercises import EXERCISES, Exercise
from tests.harness.outcomes import Outcome
from tests.harness.place import Place, listens, until
from tests.harness.sources import NotHad

MODULES = Path(__file__).parent / "modules"
"""What the tutorials import and no package of PyPI has."""
PATIENCE_S = 150.0
PTF_PATIENCE_S = 90.0
PTF_SUITES = ("basic", "basic_tunnel")
GRPC_PORT = 9559

Result = tuple[list[Outcome], list[str]]


def exercises(place: Place, clone: Path) -> Result:
    """Each exercise in a Mininet of its own."""
    tree = _copy(place, clone)
    ran: list[Outcome] = []
    missing: list[str] = []
    for exercise in EXERCISES:
        try:
            ran.append(run(place, tree, exercise))
        except NotHad as error:
            missing.append(f"{exercise.name} ({error})")
    return ran, missing


def run(place: Place, tree: Path, exercise: Exercise) -> Outcome:
    """One of them. Raises NotHad when it is not compiled."""
    folder = tree / "exercises" / exercise.folder
    for program in (exercise.program, *exercise.also):
        _compiled(folder, program)
    for solved in folder.glob("solution/*"):
        shutil.copy(solved, folder)
    for source, destination in exercise.replaces:
        shutil.copy(folder / source, folder / destination)
    for name in ("logs", "pcaps"):
        (folder / name).mkdir(exist_ok=True)
    program = f"build/{exercise.program}.json"
    command: list[str | Path] = [place.python, "../../utils/run_exercise.py", "-t", exercise.topology, "-j", program]
    try:
        command += ["-b", "simple_switch_grpc"]
        said = place.run(
            command, folder, PATIENCE_S, exercise.typed + "exit\n", {"PYTHONPATH": str(MODULES)}, alone=True
        )
    except NotHad as error:
        return Outcome(exercise.name, False, str(error))
    return judge(exercise, said)


def judge(exercise: Exercise, said: str) -> Outcome:
    """Whether all is printed that must be. Pure."""
    rest = said.partition("Starting mininet CLI")[2]
    if not rest:
        return Outcome(exercise.name, False, f"Mininet did not start: {said[-300:]}")
    for pattern in exercise.prints:
        found = re.search(pattern, rest, re.DOTALL)
        if found is None:
            return Outcome(exercise.name, False, f"no {pattern!r} in {rest[-400:]!r}")
        rest = rest[found.end() :]
    return Outcome(exercise.name, True)


def ptf(place: Place, clone: Path) -> Result:
    """The PTF suites, on interfaces made by the tutorials' own script."""
    tree = _copy(place, clone)
    subprocess.run(["bash", str(tree / "bin" / "veth_setup.sh")], check=True, capture_output=True)
    ran: list[Outcome] = []
    missing: list[str] = []
    for name in PTF_SUITES:
        try:
            ran += _suite(place, tree / "exercises" / name, name)
        except NotHad as error:
            missing.append(f"{name} ({error})")
    return ran, missing


def _suite(place: Place, folder: Path, name: str) -> list[Outcome]:
    _compiled(folder, name)
    p4info = folder / "build" / f"{name}.p4info.txtpb"
    if not p4info.exists():
        shutil.copy(folder / "build" / f"{name}.p4.p4info.txtpb", p4info)
    (folder / "logs").mkdir(exist_ok=True)
    log = folder / "ss-log.txt"
    log.unlink(missing_ok=True)
    options = ["--log-file", "ss-log", "--log-flush", "--dump-packet-data", "10000"]
    options += [part for port in range(8) for part in ("-i", f"{port}@veth{2 * port}")]
    with subprocess.Popen([str(place.switch), *options, "--no-p4"], cwd=folder, stdout=subprocess.DEVNULL) as process:
        try:
            until(
                lambda: process.poll() is not None or listens(GRPC_PORT), f"softswitch does not listen on {GRPC_PORT}"
            )
            interfaces = [part for port in range(8) for part in ("-i", f"{port}@veth{2 * port + 1}")]
            parameters = (
                f"grpcaddr='localhost:{GRPC_PORT}';p4info='build/{name}.p4info.txtpb';config='build/{name}.json'"
            )
            command = [place.python.parent / "ptf", *interfaces, f"--test-params={parameters}", "--test-dir", "ptf"]
            said = place.run(command, folder, PTF_PATIENCE_S, more={"PYTHONPATH": str(MODULES)})
        finally:
            process.terminate()
    outcomes = [
        Outcome(f"{name}: {test}", verdict == "ok", "" if verdict == "ok" else f"{verdict}: {said[-400:]}")
        for test, verdict in re.findall(r"^(\w+\.\w+) \.\.\. .*?(ok|FAIL|ERROR)$", said, re.MULTILINE | re.DOTALL)
    ]
    outcomes.append(Outcome(f"{name}: ss-log.txt is written", log.exists(), "there is none"))
    if len(outcomes) == 1:
        outcomes.append(Outcome(f"{name}: PTF runs", False, said[-400:]))
    return outcomes


def _copy(place: Place, clone: Path) -> Path:
    """The clone is left as it is."""
    tree = place.folder / "tutorials"
    if not tree.exists():
        shutil.copytree(clone, tree, ignore=shutil.ignore_patterns(".git"))
    return tree


def _compiled(folder: Path, program: str) -> None:
    for name in (f"{program}.json", f"{program}.p4.p4info.txtpb"):
        if not (folder / "build" / name).exists():
            raise NotHad(f"its program is not compiled: there is no {folder.name}/build/{name} in the clone")
