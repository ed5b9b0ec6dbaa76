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

from experiments.migration import folder, table
from experiments.migration.options import PAIR, UNSTEERED, WAYS, Options, Way
from experiments.migration.requirements import require
from experiments.migration.scenario import run
from experiments.migration.verdict import broken
from hitless.located import LocatedError
from hitless.modes import IN_NETWORK, RECONFIGURATION, Mode
from topologies import targets
from topologies.leftovers import Busy
from topologies.processes import ProcessEnded
from topologies.requirements import Unmet, check
from topologies.testbed import APPS, REPOSITORY_ROOT, NotReady

ALL, BOTH = "all", "both"
RESULTS = REPOSITORY_ROOT / "results"
WIDTH_OF_A_LOG = 140
"""Of other experiments' output, which is no terminal's."""
INVALID_EXIT = 3


@click.command("run")
@click.option("--fabric", type=click.Path(path_type=Path, exists=True, dir_okay=False), default=PAIR, show_default=True)
@click.option("--apps", type=click.Path(path_type=Path, exists=True), multiple=True, default=APPS, show_default=True)
@click.option("--target", type=click.Choice(targets.NAMES), default=targets.NAMES[0], show_default=True)
@click.option("--mode", type=click.Choice([ALL, *get_args(Mode), BOTH]), default=ALL, show_default=True)
@click.option(
    "--steering", type=click.Choice(["on", "off"]), default="on", show_default=True, help="off pins every service"
)
@click.option("--disturb", type=click.Choice(["cpu", "none"]), default="cpu", show_default=True)
@click.option(
    "--duration", type=click.FloatRange(10, 3600), default=60.0, show_default=True, help="seconds of cycles, at most"
)
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
    """Move a function between two edge nodes, live, again and again, and measure it."""
    console = Console(highlight=False, width=None if sys.stdout.isatty() else folder.WIDTH)
    options = Options(
        target, ways(mode, steering), disturb == "cpu", duration, seed, fabric, apps, frames_per_second=rate
    )
    results = RESULTS / time.strftime("%Y%m%d-%H%M%S")
    try:
        check()
        if not options.bridged:
            targets.require(target)
        require(fabric, bridged=options.bridged)
        summary = asyncio.run(interruptible(options, results, console))
    except (
        Unmet,
        Busy,
        LocatedError,
        NotReady,
        ProcessEnded,
        targets.TargetMissing,
        RuntimeError,
        ValueError,
    ) as error:
        print(f"make run: {error}", file=sys.stderr)
        sys.exit(1)
    except (KeyboardInterrupt, asyncio.CancelledError):
        print("stopped; nothing of the run is left behind", file=sys.stderr)
        sys.exit(130)
    console.print()
    table.show(summary, console)
    console.print(f"results: {results} (open report.html there)", soft_wrap=True)
    if broken(summary):
        sys.exit(1)
    sys.exit(0 if summary["valid"] else INVALID_EXIT)


def ways(mode: str, steering: str) -> tuple[Way, ...]:
    """The ways that a run compares."""
    if steering == "off":
        return (UNSTEERED,)
    if mode == ALL:
        return WAYS
    if mode == BOTH:
        return (IN_NETWORK, RECONFIGURATION)
    return (IN_NETWORK,) if mode == IN_NETWORK else (RECONFIGURATION,)


async def interruptible(options: Options, results: Path, console: Console) -> dict[str, Any]:
    """Run so that SIGTERM ends it as Ctrl-C does."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await run(options, results, console)
