"""``python -m experiments migration``: what ``make experiment NAME=migration`` calls."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click
from rich.console import Console

from controller.authority.store import AuthorityError
from experiments import scenario
from experiments.moves import page, picture, reduced, rows
from experiments.moves.experiment import run
from experiments.moves.plan import Plan
from experiments.moves.rules import RuleError
from experiments.moves.ways import WAYS
from experiments.names import Names
from experiments.native.compiling import CompilationFailed
from experiments.peers.proxies import PeerMissing
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
@scenario.publish_option
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
    publish: Path | None,
) -> None:
    """How long a service takes to move, by each way that there is to move it."""
    if publish is not None:
        if source is None:
            raise click.UsageError("--publish needs --from: the folder of the run whose page it is")
        replace(MIGRATION, show=lambda folder, _: page.publish(folder, publish)).judge(source)
        return
    if source is not None:
        MIGRATION.judge(source)
        return
    plan = Plan(seed, ways, rounds or SIZES[size][0], moves or SIZES[size][1], rate)
    MIGRATION.run(target, results, lambda folder, console: run(plan, target, folder, console))


def show(folder: Path, console: Console) -> None:
    """Judge the raw rows, or what is kept of them; write summary.json and the picture beside them, print the tables."""
    if reduced.is_raw(folder):
        reduced.reduce(folder)
    summary = page.judged(folder)
    for part in page.parts(summary):
        console.print()
        console.print(part)
    files = (rows.RUN, *reduced.FILES, page.SUMMARY, f"{picture.NAME}.svg", ".pdf", ".png")
    scenario.conclude(console, folder, files, summary["invalid"])


MIGRATION = Scenario("migration", show, (CompilationFailed, RuleError, PeerMissing, AuthorityError))
