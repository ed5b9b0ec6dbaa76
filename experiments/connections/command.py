"""``python -m experiments connections``: what ``make experiment NAME=connections`` calls."""

from __future__ import annotations

import json
from pathlib import Path

import click
from rich.console import Console

from controller.fabric.file import FabricError
from experiments import scenario
from experiments.connections import judge, picture, rows, table
from experiments.connections.experiment import run
from experiments.connections.plan import WAYS, Plan
from experiments.names import Names
from experiments.peers.proxies import PeerMissing
from experiments.scenario import Scenario
from topologies.testbed import NotReady

SIZES = {"short": (1, 10), "full": (5, 20)}
"""Rounds, and moves of each way in one."""


@click.command("connections")
@scenario.common_options
@scenario.size_option({name: f"{rounds * moves} moves a way" for name, (rounds, moves) in SIZES.items()})
@click.option("--rounds", type=click.IntRange(1, 1000), help="in place of the size's")
@click.option("--moves", type=click.IntRange(1, 1000), help="of each way in a round, in place of the size's")
@click.option("--only", "ways", type=Names(list(WAYS)), default="", help="these ways, with commas between them")
def connections_command(
    target: str,
    size: str,
    rounds: int | None,
    moves: int | None,
    ways: tuple[str, ...],
    seed: int,
    results: Path | None,
    source: Path | None,
) -> None:
    """What becomes of open connections when a service leaves its node, by each way to have it leave."""
    if source is not None:
        CONNECTIONS.judge(source)
        return
    plan = Plan(seed, ways, rounds or SIZES[size][0], moves or SIZES[size][1])
    CONNECTIONS.run(target, results, lambda folder, console: run(plan, target, folder, console))


def show(folder: Path, console: Console) -> None:
    """Judge the raw rows, write summary.json and the picture beside them, and print the tables."""
    summary = judge.summarise(rows.read(folder))
    (folder / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")
    picture.draw(folder, summary)
    for printed in (table.connections_table(summary["ways"]), table.times_table(summary["ways"])):
        console.print()
        console.print(printed)
    files = (rows.RUN, rows.REQUESTS, "summary.json", "connections.svg", ".pdf", ".png")
    scenario.conclude(console, folder, files, summary["invalid"])


CONNECTIONS = Scenario("connections", show, (FabricError, NotReady, PeerMissing))
