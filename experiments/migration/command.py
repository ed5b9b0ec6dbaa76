"""``python -m experiments run``: what ``make run`` calls."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from pathlib import Path
from typing import Any, get_args

import click
from rich.console import Console

from experiments.migration import table
from experiments.migration.options import PAIR, Options
from experiments.migration.requirements import require
from experiments.migration.scenario import run
from hitless.located import LocatedError
from hitless.modes import IN_NETWORK, RECONFIGURATION, Mode
from topologies import targets
from topologies.leftovers import Busy
from topologies.processes import ProcessEnded
from topologies.requirements import Unmet, check
from topologies.testbed import APPS, REPOSITORY_ROOT, NotReady

BOTH = "both"
"""Of the modes, one run each."""
RESULTS = REPOSITORY_ROOT / "results"
WIDTH_OF_A_LOG = 140


@click.command("run")
@click.option("--fabric", type=click.Path(path_type=Path, exists=True, dir_okay=False), default=PAIR, show_default=True)
@click.option("--apps", type=click.Path(path_type=Path, exists=True), multiple=True, default=APPS, show_default=True)
@click.option("--target", type=click.Choice(targets.NAMES), default=targets.NAMES[0], show_default=True)
@click.option("--mode", type=click.Choice([*get_args(Mode), BOTH]), default=IN_NETWORK, show_default=True)
@click.option(
    "--steering", type=click.Choice(["on", "off"]), default="on", show_default=True, help="off pins every service"
)
@click.option("--disturb", type=click.Choice(["cpu", "none"]), default="cpu", show_default=True)
@click.option("--duration", type=click.FloatRange(10, 3600), default=70.0, show_default=True, help="seconds of load")
@click.option(
    "--rate",
    type=click.FloatRange(0.1, 100),
    show_default="what uses half of a node's budget, measured",
    help="frames a second a camera",
)
@click.option("--seed", type=int, default=1, show_default=True)
def run_command(
    fabric: Path,
    apps: tuple[Path, ...],
    target: str,
    mode: str,
    steering: str,
    disturb: str,
    duration: float,
    rate: float | None,
    seed: int,
) -> None:
    """Move a function between two edge nodes, live, and measure it."""
    console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH_OF_A_LOG)
    modes = get_args(Mode) if mode == BOTH else (mode,)
    try:
        check()
        if IN_NETWORK in modes:
            targets.require(target)
        for one in modes:
            require(fabric, bridged=one == RECONFIGURATION)
        stamp = time.strftime("%Y%m%d-%H%M%S")
        summaries = []
        for one in modes:
            results = RESULTS / (stamp if len(modes) == 1 else f"{stamp}-{one}")
            options = Options(
                target, one, steering == "on", disturb == "cpu", duration, seed, fabric, apps, frames_per_second=rate
            )
            summary = asyncio.run(interruptible(options, results, console))
            # Both ways to migrate have the same load.
            rate = summary["frames_per_second"]
            summaries.append(summary)
            console.print()
            console.print(table.verdict(summary))
        console.print()
        console.print(table.latency_table(summaries))
        if any(summary["migrations"] for summary in summaries):
            console.print(table.migration_table(summaries))
        for one, _ in zip(modes, summaries, strict=True):
            folder = RESULTS / (stamp if len(modes) == 1 else f"{stamp}-{one}")
            console.print(f"results: {folder} (summary.json, requests.csv, latency.png, logs/)", soft_wrap=True)
    except (Unmet, Busy, LocatedError, NotReady, ProcessEnded, targets.TargetMissing, RuntimeError) as error:
        print(f"make run: {error}", file=sys.stderr)
        sys.exit(1)
    except (KeyboardInterrupt, asyncio.CancelledError):
        print("stopped; nothing of the run is left behind", file=sys.stderr)
        sys.exit(130)
    broken = any(summary[name] for summary in summaries for name in ("lost", "failed", "duplicated"))
    sys.exit(1 if broken and steering == "on" else 0)


async def interruptible(options: Options, results: Path, console: Console) -> dict[str, Any]:
    """Run so that SIGTERM ends it as Ctrl-C does."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await run(options, results, console)
