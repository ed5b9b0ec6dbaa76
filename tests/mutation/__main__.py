"""Remove each guard of the steering program in turn and see what fails: `make mutate` writes verdicts.md."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from p4src.build import HOW_TO_GET_P4C, ROOT, BuildError, compiler_version
from tests.mutation.declared import EQUIVALENT, TESTS
from tests.mutation.guards import Guard, guards
from tests.mutation.program import build, switchable
from tests.mutation.table import COMPILER, TABLE, Row, Verdict, read, rows, table, waiting
from tests.mutation.trial import fails


def main() -> None:
    """Go through the guards and keep the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=main.__doc__)
    parser.add_argument("--minutes", type=float, default=60, help="start no guard after this (default: %(default)s)")
    parser.add_argument("--only", default="", help="only guards with this in their name")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--fresh", action="store_true", help="try again what was tried")
    arguments = parser.parse_args()
    end = time.monotonic() + arguments.minutes * 60
    compiler = compiler_version()
    if compiler is None:
        sys.exit(HOW_TO_GET_P4C)
    every = list(guards(ROOT / "p4src"))
    there = {guard.name for guard in every} | {guard.source for guard in every}
    if unknown := (EQUIVALENT.keys() | TESTS.keys()) - there:
        sys.exit(f"tests/mutation/declared.py tells of guards or sources that there are not: {', '.join(unknown)}")
    known = read(TABLE.read_text()) if TABLE.exists() else {}

    left = [
        row.guard for row in rows(every, known) if arguments.only in row.guard.name and (arguments.fresh or _due(row))
    ]
    # In any order, so that a run that is too short for all of them is a fair sample.
    random.Random(1).shuffle(left)
    lock = threading.Lock()

    def write() -> None:
        TABLE.write_text(table(rows(every, known), compiler))

    def note(guard: Guard, found: str) -> None:
        print(f"{guard.name} -> {found or 'nothing'}", flush=True)
        with lock:
            known[guard.name] = Verdict(found, guard.control)
            write()

    if left:
        _try(left, [guard for guard in every if switchable(guard)], arguments.jobs, end, note)
    write()
    told = rows(every, known)
    print(f"{len(told)} guards: {sum(row.unexplained for row in told)} unexplained, {waiting(told)} still to be tried")


def _due(row: Row) -> bool:
    """What went unnoticed is tried again, too: new tests may notice it."""
    return not row.current or (row.unexplained and not row.equivalent)


def _try(left: list[Guard], switched: list[Guard], jobs: int, end: float, note: Callable[[Guard, str], None]) -> None:
    """Try guards until the end, once it is clear that nothing fails while all are in their places."""
    numbers = {guard: number for number, guard in enumerate(switched, 1)}
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder, ThreadPoolExecutor(jobs) as pool:
        scratch = Path(folder)
        build(scratch / "switched", None, switched)
        if failed := fails(scratch / "switched", 0, "", scratch):
            sys.exit(f"with all guards in their places: {failed}")

        def try_one(guard: Guard) -> None:
            if time.monotonic() < end:
                note(guard, _found(guard, numbers.get(guard, 0), scratch))

        list(pool.map(try_one, left))


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
