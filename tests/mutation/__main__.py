"""Remove each guard of the steering program in turn and see what fails: `make mutate` writes docs/mutation.md."""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from p4src.build import ROOT, BuildError, compiler_version
from tests.mutation.declared import EQUIVALENT, TESTS
from tests.mutation.guards import Guard, guards
from tests.mutation.program import build, digest, switchable
from tests.mutation.table import COMPILER, TABLE, Trial, table
from tests.mutation.trial import fails

KNOWN = ROOT / "results" / "mutation.json"
"""What failed, by a digest of the whole program without the guard, so that a run goes on where the last one ended."""


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

    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        scratch = Path(folder)
        switched = [guard for guard in every if switchable(guard)]
        numbers = {guard: number for number, guard in enumerate(switched, 1)}
        build(scratch / "switched", None, switched)

        def look(guard: Guard) -> Trial | None:
            """Try a guard."""
            found = known.get(key := digest(guard))
            if found is None:
                if time.monotonic() > end:
                    return None
                found = _tried(guard, numbers.get(guard, 0), scratch)
                print(f"{guard.line} {guard.name} -> {found or 'nothing'}", flush=True)
            # What was not seen may be seen by new tests.
            if found:
                known[key] = found
                KNOWN.parent.mkdir(exist_ok=True)
                KNOWN.write_text(json.dumps(dict(known), indent=0))
            return Trial(guard, found, EQUIVALENT.get(guard.name, ""))

        if failed := fails(scratch / "switched", 0, "", scratch):
            sys.exit(f"with all guards in their places: {failed}")
        # In any order, so that a run that is too short for all of them is a fair sample.
        chosen = [guard for guard in every if arguments.only in guard.name]
        random.Random(1).shuffle(chosen)
        with ThreadPoolExecutor(arguments.jobs) as pool:
            trials = [trial for trial in pool.map(look, chosen) if trial is not None]
    if not arguments.only:
        TABLE.write_text(table(trials, len(every), compiler_version()))
    print(f"{len(trials)} of {len(every)} guards: {sum(trial.unexplained for trial in trials)} unexplained")


def _tried(guard: Guard, number: int, scratch: Path) -> str:
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
