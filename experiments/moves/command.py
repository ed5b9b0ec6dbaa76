"""``python -m experiments migration``: what ``make experiment NAME=migration`` calls."""

from __future__ import annotations

import asyncio
import csv
import json
import sys
import time
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from experiments.moves import judge, picture, rows, table
from experiments.moves.experiment import on_sigterm, run
from experiments.moves.judge import Tally
from experiments.moves.plan import Plan
from experiments.moves.rules import RuleError
from experiments.moves.ways import WAYS
from experiments.names import Names
from experiments.native.compiling import CompilationFailed
from topologies import targets
from topologies.leftovers import Busy
from topologies.processes import ProcessEnded
from topologies.requirements import Unmet, check
from topologies.testbed import REPOSITORY_ROOT

RESULTS = REPOSITORY_ROOT / "results"
EXPECTED = (
    Unmet,
    Busy,
    ProcessEnded,
    CompilationFailed,
    RuleError,
    targets.TargetMissing,
    OSError,
    RuntimeError,
    ValueError,
)
"""What can go wrong with a machine, told in a sentence."""
SIZES = {"short": (5, 20), "full": (25, 20)}
"""Rounds, and moves of each way in one."""


@click.command("migration")
@click.option("--target", type=click.Choice(targets.NAMES), default=targets.NAMES[0], show_default=True)
@click.option(
    "--size", type=click.Choice(list(SIZES)), default="full", show_default=True, help="100 or 500 moves a way"
)
@click.option("--rounds", type=click.IntRange(1, 1000), help="in place of the size's")
@click.option("--moves", type=click.IntRange(1, 1000), help="of each way in a round, in place of the size's")
@click.option("--only", "ways", type=Names(list(WAYS)), default="", help="these ways, with commas between them")
@click.option("--rate", type=click.IntRange(100, 20_000), default=2000, show_default=True, help="requests a second")
@click.option("--seed", type=int, default=1, show_default=True)
@click.option(
    "--results",
    type=click.Path(path_type=Path),
    help="folder to make, or of a run to go on with  [default: results/TIME-migration]",
)
@click.option(
    "--from",
    "source",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="run nothing: tables, summary and picture anew from this folder's raw rows",
)
def migration_command(
    target: str,
    size: str,
    rounds: int | None,
    moves: int | None,
    ways: tuple[str, ...],
    rate: int,
    seed: int,
    results: Path | None,
    source: Path | None,
) -> None:
    """How long a service takes to move, by each way that there is to move it."""
    console = Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else table.WIDTH)
    if source is not None:
        try:
            show(source, console)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise click.ClickException(f"{source}: not an experiment's raw rows: {error}") from error
        return
    plan = Plan(seed, ways, rounds or SIZES[size][0], moves or SIZES[size][1], rate)
    results = (results or RESULTS / f"{time.strftime('%Y%m%d-%H%M%S')}-migration").absolute()
    try:
        check()
        targets.require(target)
        asyncio.run(interruptible(plan, target, results, console))
    except EXPECTED as error:
        print(f"make experiment NAME=migration: {error}", file=sys.stderr)
        sys.exit(1)
    except (KeyboardInterrupt, asyncio.CancelledError):
        print(f"stopped; to go on: --results {results} with the same options", file=sys.stderr)
        sys.exit(130)
    show(results, console)


async def interruptible(plan: Plan, target: str, results: Path, console: Console) -> None:
    """Run so that SIGTERM ends it as Ctrl-C does."""
    task = asyncio.current_task()
    assert task is not None
    on_sigterm(task)
    await run(plan, target, results, console)


def show(folder: Path, console: Console) -> None:
    """Judge the raw rows, write summary.json, moves.csv and the picture beside them, and print the tables."""
    facts, options, done = rows.read(folder)
    tallies = {name: Tally() for name in options["ways"]}
    for one in done:
        judge.take(tallies[one.way], one, rows.read_segment(folder / one.name, 2))
    ways = {name: judge.figures(tally) for name, tally in tallies.items()}
    reasons = judge.invalid(ways)
    summary: dict[str, Any] = {"machine": facts, "options": options, "invalid": reasons, "ways": ways}
    (folder / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")
    _write_moves(folder, tallies)
    times = {
        name: [ms for one in tally.moves if (ms := one.stage_ms("told_to_first")) is not None]
        for name, tally in tallies.items()
    }
    picture.draw(folder, times, options["interval_us"] / 1000)
    for printed in (table.moves_table(ways), table.requests_table(ways)):
        console.print()
        console.print(printed)
    console.print()
    if reasons:
        console.print(f"INVALID: {'; '.join(reasons)}")
    console.print(f"results: {folder} (run.ndjson, moves.csv, summary.json, migration.svg, .pdf, .png)", soft_wrap=True)


def _write_moves(folder: Path, tallies: dict[str, Tally]) -> None:
    found = [row for tally in tallies.values() for row in judge.as_rows(tally)]
    if found:
        with (folder / "moves.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, list(found[0]))
            writer.writeheader()
            writer.writerows(found)
