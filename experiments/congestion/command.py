"""``python -m experiments congestion``: what ``make experiment NAME=congestion`` calls."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from pathlib import Path

import click
from rich.console import Console

from controller.fabric.file import FabricError
from experiments.congestion import judge, picture, rows, table
from experiments.congestion.experiment import Options, run
from experiments.congestion.schedule import Plan
from experiments.congestion.ways import WAYS
from experiments.detection.kinds import KINDS, Burn
from experiments.names import Names
from experiments.peers.proxies import PeerMissing
from topologies import targets
from topologies.leftovers import Busy
from topologies.processes import ProcessEnded
from topologies.requirements import Unmet, check
from topologies.testbed import REPOSITORY_ROOT, NotReady

RESULTS = REPOSITORY_ROOT / "results"
EXPECTED = (
    *(Unmet, Busy, FabricError, NotReady, ProcessEnded, targets.TargetMissing, PeerMissing),
    *(OSError, RuntimeError, ValueError),
)
"""What can go wrong with a machine, told in a sentence."""
SIZES = {"short": (2, 2), "full": (16, 3)}
"""Rounds, and disturbances of each way in one."""
CONGESTING = [name for name, kind in KINDS.items() if isinstance(kind.cause, Burn) and not kind.stays]
"""The kinds of disturbance that congest a node, whatever runs there."""


@click.command("congestion")
@click.option("--target", type=click.Choice(targets.NAMES), default=targets.NAMES[0], show_default=True)
@click.option(
    "--size", type=click.Choice(list(SIZES)), default="full", show_default=True, help="4 or 48 disturbances a way"
)
@click.option("--rounds", type=click.IntRange(1, 1000), help="in place of the size's")
@click.option(
    "--windows", type=click.IntRange(1, 100), help="disturbances of each way in a round, in place of the size's"
)
@click.option("--only", "ways", type=Names(list(WAYS)), default="", help="these ways, with commas between them")
@click.option("--kinds", type=Names(CONGESTING), default="", help="these disturbances, with commas between them")
@click.option("--load", type=click.IntRange(5, 95), default=50, show_default=True, help="% of a node's budget")
@click.option("--seed", type=int, default=1, show_default=True)
@click.option(
    "--results",
    type=click.Path(path_type=Path),
    help="folder to make, or of a run to go on with  [default: results/TIME-congestion]",
)
@click.option(
    "--from",
    "source",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="run nothing: tables, summary and picture anew from this folder's raw rows",
)
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
    console = Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else table.WIDTH)
    if source is not None:
        try:
            show(source, console)
        except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
            raise click.ClickException(f"{source}: not an experiment's raw rows: {error}") from error
        return
    plan = Plan(seed, ways, kinds, rounds or SIZES[size][0], windows or SIZES[size][1])
    results = (results or RESULTS / f"{time.strftime('%Y%m%d-%H%M%S')}-congestion").absolute()
    try:
        check()
        targets.require(target)
        asyncio.run(interruptible(Options(plan, target, load), results, console))
    except EXPECTED as error:
        print(f"make experiment NAME=congestion: {error}", file=sys.stderr)
        sys.exit(1)
    except (KeyboardInterrupt, asyncio.CancelledError):
        print(f"stopped; to go on: --results {results} with the same options", file=sys.stderr)
        sys.exit(130)
    show(results, console)


async def interruptible(options: Options, results: Path, console: Console) -> None:
    """Run so that SIGTERM ends it as Ctrl-C does."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    await run(options, results, console)


def show(folder: Path, console: Console) -> None:
    """Judge the raw rows, write summary.json and the picture beside them, and print the tables."""
    summary = judge.summarise(rows.read(folder))
    (folder / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")
    picture.draw(folder, summary)
    for printed in (table.latency_table(summary["ways"]), table.requests_table(summary["ways"])):
        console.print()
        console.print(printed)
    console.print()
    console.print(table.verdict(summary))
    names = ", ".join((rows.RUN, rows.REQUESTS, rows.QUEUES, "summary.json", "congestion.svg", ".pdf", ".png"))
    console.print(f"results: {folder} ({names})", soft_wrap=True)
