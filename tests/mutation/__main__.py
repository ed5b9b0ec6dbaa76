"""Remove each guard of the steering program in turn and see what fails: `make mutate` writes docs/mutation.md."""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from p4src.build import ROOT, BuildError, compiler_version
from tests.mutation.declared import EQUIVALENT, TESTS
from tests.mutation.guards import Guard, guards
from tests.mutation.program import build, digest, switchable
from tests.mutation.table import COMPILER, TABLE, Trial, table
from tests.mutation.trial import fails

KNOWN = ROOT / "results" / "mutation.json"
"""What failed, by a digest of the guard's source without it: a run goes on where the last one ended, and tries again
where a source has changed."""


def main() -> None:
    """Go through the guards and write the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=main.__doc__)
    parser.add_argument("--minutes", type=float, default=60, help="start no guard after this (default: %(default)s)")
    parser.add_argument("--only", default="", help="only guards with this in their name, and leave the table alone")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--fresh", action="store_true", help="forget what former runs found")
    arguments = parser.parse_args()
    end = time.monotonic() + arguments.minutes * 60
    every = list(guards(ROOT / "p4src"))
    there = {guard.name for guard in every} | {guard.source for guard in every}
    if unknown := (EQUIVALENT.keys() | TESTS.keys()) - there:
        sys.exit(f"tests/mutation/declared.py tells of guards or sources that there are not: {', '.join(unknown)}")
    known: dict[str, str] = {} if arguments.fresh or not KNOWN.exists() else json.loads(KNOWN.read_text())

    # In any order, so that a run that is too short for all of them is a fair sample.
    chosen = [guard for guard in every if arguments.only in guard.name]
    random.Random(1).shuffle(chosen)
    keys = {guard: digest(guard) for guard in chosen}
    left = [guard for guard, key in keys.items() if key not in known or _may_be_noticed_now(guard, known[key])]
    if left:
        lock = threading.Lock()

        def note(guard: Guard, found: str) -> None:
            print(f"{guard.line} {guard.name} -> {found or 'nothing'}", flush=True)
            with lock:
                known[keys[guard]] = found
                KNOWN.parent.mkdir(exist_ok=True)
                KNOWN.write_text(json.dumps(known, indent=0))

        _try(left, [guard for guard in every if switchable(guard)], arguments.jobs, end, note)
    trials = [Trial(guard, known[key], EQUIVALENT.get(guard.name, "")) for guard, key in keys.items() if key in known]
    if not arguments.only:
        TABLE.write_text(table(trials, len(every), compiler_version()))
    print(f"{len(trials)} of {len(every)} guards: {sum(trial.unexplained for trial in trials)} unexplained")


def _may_be_noticed_now(guard: Guard, found: str) -> bool:
    """What went unnoticed may be noticed by new tests."""
    return not found and guard.name not in EQUIVALENT


def _try(left: list[Guard], switched: list[Guard], jobs: int, end: float, note: Callable[[Guard, str], None]) -> None:
    """Try guards until the end, once it is clear that nothing fails while all are in their places."""
    numbers = {guard: number for number, guard in enumerate(switched, 1)}
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder, ThreadPoolExecutor(jobs) as pool:
        scratch = Path(folder)
        build(scratch / "switched", None, switched)
        if failed := fails(scratch / "switched", 0, "", scratch):
            sys.exit(f"with all guards in their places: {failed}")

        def look(guard: Guard) -> None:
            if time.monotonic() < end:
                note(guard, _found(guard, numbers.get(guard, 0), scratch))

        list(pool.map(look, left))


def _found(guard: Guard, number: int, scratch: Path) -> str:
    """What fails without a guard, or an empty string."""
    if number:
        return fails(scratch / "switched", number, guard.source, scratch)
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        try:
            build(Path(folder), guard)
        except BuildError:
            return COMPILER
        return fails(Path(folder), 0, guard.source, scratch)


if __name__ == "__main__":
    main()
