"""``make harness``: other people's P4Runtime programs, unchanged, against softswitch; prints what they came to.

Repositories are cloned at pinned commits into a folder outside of this one, and each harness runs in namespaces of its
own (network, mounts, processes), which end with it.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.harness import finsy_tests, go_client, p4utils_api, shell, tutorials
from tests.harness.outcomes import Outcome, Report, table
from tests.harness.place import ALONE, Place
from tests.harness.sources import BMV2, FINSY, GITHUB, GO_CLIENT, P4_UTILS, P4RUNTIME, TUTORIALS, NotHad, Source, bring

ROOT = Path(__file__).parents[2]
Result = tuple[list[Outcome], list[str]]


@dataclass(frozen=True)
class Harness:
    """`run` gets a place and the clone; `environment` is the virtual environment of its programs;
    `needs` are other repositories."""

    name: str
    source: Source | str
    environment: str
    run: Callable[[Place, Path], Result]
    needs: tuple[Source, ...] = ()


def _only(run: Callable[[Place, Path], list[Outcome]]) -> Callable[[Place, Path], Result]:
    return lambda place, clone: (run(place, clone), [])


HARNESSES = {
    "shell": Harness(
        "p4runtime-shell, documented sessions",
        "0.0.6 (PyPI)",
        ".venv-shell",
        _only(lambda place, _: shell.everything(place)),
    ),
    "p4-utils": Harness("p4-utils, P4Runtime API", P4_UTILS, ".venv-shell", _only(p4utils_api.api)),
    "p4-utils-thrift": Harness("p4-utils, Thrift API", P4_UTILS, ".venv-shell", _only(p4utils_api.thrift_api), (BMV2,)),
    "finsy": Harness("finsy, its tests of a P4Runtime server", FINSY, ".venv-finsy", finsy_tests.own_tests),
    "finsy-examples": Harness("finsy, examples in Mininet", FINSY, ".venv-finsy", finsy_tests.examples),
    "ptf": Harness("p4lang/tutorials, PTF suites", TUTORIALS, ".venv-shell", tutorials.ptf),
    "exercises": Harness("p4lang/tutorials, run_exercise.py", TUTORIALS, ".venv-shell", tutorials.exercises),
    "go": Harness(
        "antoninbas/p4runtime-go-client, its commands",
        GO_CLIENT,
        ".venv-shell",
        _only(go_client.commands),
        (P4RUNTIME,),
    ),
}

NOT_HAD = (
    Report("p4-utils, networks", P4_UTILS.commit[:12], (), ("compiles its programs with p4c at each start",)),
    Report(
        "p4lang/PI, proto/ptf",
        "f96af95e0906",
        (),
        ("gives text where protobuf wants bytes (MAC addresses; its runner too): for Python 2, as its tests stand",),
    ),
    Report("p4lang/PI, proto/demo_grpc", "f96af95e0906", (), ("is C++, built only together with PI",)),
    Report("p4lang/p4runtime", "ab29f3c2f06b", (), ("has no client: its bindings are what the shell and Go run on",)),
)
"""What was looked at and cannot be run as it is."""


def main() -> None:
    """Run what is asked for; exits with 1 when a test of it failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.harness", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which (default all): {', '.join(HARNESSES)}")
    parser.add_argument(
        "--git", default=GITHUB, help="where repositories are, with {owner} and {name}; default %(default)s"
    )
    parser.add_argument("--clones", type=Path, default=_cache(), help="where they are cloned to; default %(default)s")
    parser.add_argument("--target", choices=("softswitch", "bmv2"), default="softswitch", help="default %(default)s")
    parser.add_argument("--inside", metavar="FOLDER", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if unknown := [name for name in options.names if name not in HARNESSES]:
        parser.error(f"there is no harness {unknown[0]!r}, but {', '.join(HARNESSES)}")
    if options.inside is not None:
        _run_inside(options.names[0], options.clones, options.target, options.inside)
        return
    if os.geteuid() != 0:
        parser.error("needs root, for namespaces and interfaces")
    # what runs is ended then too
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    reports = [_report(name, options) for name in options.names or HARNESSES]
    if not options.names:
        reports += NOT_HAD
    print(table(reports))
    sys.exit(1 if any(report.failed for report in reports) else 0)


def _report(name: str, options: argparse.Namespace) -> Report:
    harness = HARNESSES[name]
    version = harness.source if isinstance(harness.source, str) else harness.source.commit[:12]
    print(f"harness: {harness.name}", file=sys.stderr, flush=True)
    options.clones.mkdir(parents=True, exist_ok=True)
    try:
        for source in (harness.source, *harness.needs):
            if isinstance(source, Source):
                bring(source, options.git, options.clones)
    except NotHad as error:
        return Report(harness.name, version, (), (str(error),))
    with tempfile.TemporaryDirectory(prefix="harness-") as folder:
        command = [
            *ALONE,
            sys.executable,
            "-m",
            "tests.harness",
            name,
            "--inside",
            folder,
            "--clones",
            str(options.clones),
        ]
        done = subprocess.run([*command, "--target", options.target], cwd=ROOT, check=False, start_new_session=True)
        results = Path(folder) / "results.json"
        if not results.exists():
            return Report(harness.name, version, (Outcome("runs", False, f"ended with {done.returncode}"),))
        return Report.of(json.loads(results.read_text()))


def _run_inside(name: str, clones: Path, target: str, folder: Path) -> None:
    """Run one harness in the namespaces that were made for it, and leave what it came to in the folder."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    harness = HARNESSES[name]
    place = Place(clones, ROOT / harness.environment / "bin" / "python", folder, target)
    clone = folder
    version = str(harness.source)
    if isinstance(harness.source, Source):
        clone = clones / f"{harness.source.owner}+{harness.source.name}"
        version = harness.source.commit[:12]
    try:
        ran, missing = harness.run(place, clone)
    except NotHad as error:
        ran, missing = [], [str(error)]
    report = Report(harness.name, version, tuple(ran), tuple(missing))
    (folder / "results.json").write_text(json.dumps(report.as_json()))


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hitless" / "harness"


if __name__ == "__main__":
    main()
