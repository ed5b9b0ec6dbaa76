"""``python -m experiments congestion``: what ``make experiment NAME=congestion`` calls."""

from __future__ import annotations

import json
from pathlib import Path

import click
from rich.console import Console

from controller.fabric.file import FabricError
from experiments import scenario
from experiments.congestion import judge, picture, rows, table
from experiments.congestion.experiment import Options, run
from experiments.congestion.schedule import Plan
from experiments.congestion.ways import WAYS
from experiments.detection.kinds import KINDS, Burn
from experiments.names import Names
from experiments.peers.proxies import PeerMissing
from experiments.scenario import Scenario
from topologies.testbed import NotReady

SIZES = {"short": (2, 2), "full": (16, 3)}
"""Rounds, and disturbances of each way in one."""
CONGESTING = [name for name, kind in KINDS.items() if isinstance(kind.cause, Burn) and not kind.stays]
"""The kinds of disturbance that congest a node, whatever runs there."""


@click.command("congestion")
@scenario.common_options
@scenario.size_option({name: f"{rounds * windows} disturbances a way" for name, (rounds, windows) in SIZES.items()})
@click.option("--rounds", type=click.IntRange(1, 1000), help="in place of the size's")
@click.option(
    "--windows", type=click.IntRange(1, 100), help="disturbances of each way in a round, in place of the size's"
)
@click.option("--only", "ways", type=Names(list(WAYS)), default="", help="these ways, with commas between them")
@click.option("--kinds", type=Names(CONGESTING), default="", help="these disturbances, with commas between them")
@click.option("--load", type=click.IntRange(5, 95), default=50, show_default=True, help="% of a node's budget")
def congestion_command(
    target: str,
    size: str,
    rounds: int | None,
    windows: int | None,
    ways: tuple[str, ...],
    kinds: tuple[str, ...],
    load: int,
    seed: int,
    results: Path | None,
    source: Path | None,
) -> None:
    """What requests feel when their node gets congested, by each way to do something about it."""
    if source is not None:
        CONGESTION.judge(source)
        return
    plan = Plan(seed, ways, kinds, rounds or SIZES[size][0], windows or SIZES[size][1])
    CONGESTION.run(target, results, lambda folder, console: run(Options(plan, target, load), folder, console))


def show(folder: Path, console: Console) -> None:
    """Judge the raw rows, write summary.json and the picture beside them, and print the tables."""
    summary = judge.summarise(rows.read(folder))
    (folder / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")
    picture.draw(folder, summary)
    for made in (table.latency_table, table.area_table, table.requests_table):
        console.print()
        console.print(made(summary["ways"]))
    console.print()
    console.print(table.verdict(summary))
    files = (rows.RUN, rows.REQUESTS, rows.QUEUES, "summary.json", "congestion.svg", ".pdf", ".png")
    scenario.conclude(console, folder, files, summary["invalid"])


CONGESTION = Scenario("congestion", show, (FabricError, NotReady, PeerMissing))
