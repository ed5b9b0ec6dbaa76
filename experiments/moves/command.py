"""``python -m experiments migration``: what ``make experiment NAME=migration`` calls."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from experiments import scenario
from experiments.moves import judge, picture, rows, table
from experiments.moves.experiment import run
from experiments.moves.judge import Tally
from experiments.moves.plan import Plan
from experiments.moves.rules import RuleError
from experiments.moves.ways import WAYS
from experiments.names import Names
from experiments.native.compiling import CompilationFailed
from experiments.scenario import Scenario

SIZES = {"short": (5, 20), "full": (25, 20)}
"""Rounds, and moves of each way in one."""


@click.command("migration")
@scenario.common_options
@scenario.size_option({name: f"{rounds * moves} moves a way" for name, (rounds, moves) in SIZES.items()})
@click.option("--rounds", type=click.IntRange(1, 1000), help="in place of the size's")
@click.option("--moves", type=click.IntRange(1, 1000), help="of each way in a round, in place of the size's")
@click.option("--only", "ways", type=Names(list(WAYS)), default="", help="these ways, with commas between them")
@click.option("--rate", type=click.IntRange(100, 20_000), default=2000, show_default=True, help="requests a second")
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
    if source is not None:
        MIGRATION.judge(source)
        return
    plan = Plan(seed, ways, rounds or SIZES[size][0], moves or SIZES[size][1], rate)
    MIGRATION.run(target, results, lambda folder, console: run(plan, target, folder, console))


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
    scenario.conclude(
        console, folder, (rows.RUN, "moves.csv", "summary.json", "migration.svg", ".pdf", ".png"), reasons
    )


def _write_moves(folder: Path, tallies: dict[str, Tally]) -> None:
    found = [row for tally in tallies.values() for row in judge.as_rows(tally)]
    if found:
        with (folder / "moves.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, list(found[0]))
            writer.writeheader()
            writer.writerows(found)


MIGRATION = Scenario("migration", show, (CompilationFailed, RuleError))
