"""Remove each guard of the steering program in turn and see what fails: `make mutate` writes docs/mutation.md."""

from __future__ import annotations

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from p4src.build import P4INFO, PIPELINE, ROOT, BuildError, compile_program, compiler_version
from tests.mutation.guards import Guard, guards

TABLE = ROOT / "docs" / "mutation.md"
PATIENCE = 180
"""Seconds for one program; one that hangs has been found out, too."""
KINDS = {"told": "digests", "left": "frames", "drew": "draw", "assert": "counters", "probe": "frames"}


def outcome(guard: Guard) -> str:
    """What failed without the guard, or an empty string."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as scratch:
        root = Path(scratch)
        shutil.copytree(ROOT / "p4src", root / "p4src", ignore=shutil.ignore_patterns("__pycache__", "compiled"))
        path = root / "p4src" / guard.source
        path.write_text(guard.removed(path.read_text()))
        try:
            pipeline, p4info = compile_program(root)
        except BuildError:
            return "the compiler"
        (root / PIPELINE.name).write_text(pipeline)
        (root / P4INFO.name).write_text(p4info)
        command = [sys.executable, "-m", "tests.mutation.check", str(root / PIPELINE.name), str(root / P4INFO.name)]
        try:
            run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            return "state machine: it hangs"
        if run.returncode == 0:
            return ""
        difference = run.stdout.strip() or run.stderr.strip().splitlines()[-1]
        return f"state machine: {KINDS.get(difference.split(' ', 1)[0], 'counters')}"


def main() -> None:
    """Go through the guards and write the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=main.__doc__)
    parser.add_argument("--minutes", type=float, default=60, help="start no guard after this (default: %(default)s)")
    parser.add_argument("--only", default="", help="only sources with this in their name")
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    end = time.monotonic() + arguments.minutes * 60
    every = [guard for guard in guards(ROOT / "p4src") if arguments.only in guard.source]
    # In any order, so that a run that is too short for all of them is a fair sample.
    random.Random(1).shuffle(every)

    def look(guard: Guard) -> tuple[Guard, str] | None:
        if time.monotonic() > end:
            return None
        found = outcome(guard)
        print(f"{guard.source}:{guard.line} {guard.text[:70]} -> {found or 'SURVIVED'}", flush=True)
        return guard, found

    with ThreadPoolExecutor(arguments.jobs) as pool:
        looked = [result for result in pool.map(look, every) if result is not None]
    looked.sort(key=lambda result: (result[0].source, result[0].line, result[0].start))
    TABLE.write_text(_table(looked, len(every)))
    print(f"{TABLE}: {len(looked)} of {len(every)} guards, {sum(not found for _, found in looked)} survived")


def _table(looked: list[tuple[Guard, str]], count: int) -> str:
    survived = sum(not found for _, found in looked)
    lines = [
        "# What fails without each guard",
        "",
        "Made by `make mutate`: each condition of each `if` in the steering program is taken out in turn, the program",
        f"is compiled ({compiler_version()}) and run beside the contract's model on softswitch, by the state machine",
        "of `tests/model`. *Frames*, *digests*, *counters*: in what the first difference was. *The compiler*: it does",
        "not compile without.",
        "",
        f"{len(looked)} of {count} guards were taken out, {survived} of them unnoticed.",
        "",
        "| source | guard | taken as | fails |",
        "|---|---|---|---|",
    ]
    for guard, found in looked:
        text = guard.text.replace("|", "\\|")
        lines.append(f"| {guard.source}:{guard.line} | `{text}` | {guard.without} | {found or '**nothing**'} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
