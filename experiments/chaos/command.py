"""``python -m experiments chaos``: what ``make chaos`` calls."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from controller.fabric.file import FabricError
from experiments.chaos import table
from experiments.chaos.kinds import KINDS
from experiments.chaos.scenario import Options, run
from experiments.migration.command import RESULTS, WIDTH_OF_A_LOG
from topologies import layout, targets
from topologies.leftovers import Busy
from topologies.processes import ProcessEnded
from topologies.requirements import Unmet, check
from topologies.testbed import REPOSITORY_ROOT, NotReady

PAIR = REPOSITORY_ROOT / "experiments" / "chaos" / "pair.yaml"
CLONE_NEWNS = 0x00020000


def kinds_of(_: click.Context, __: click.Parameter, value: str) -> tuple[str, ...]:
    """The kinds of a comma-separated list; all of them for an empty one."""
    names = tuple(dict.fromkeys(filter(None, value.replace(",", " ").split()))) or tuple(KINDS)
    unknown = [name for name in names if name not in KINDS]
    if unknown:
        raise click.BadParameter(f"{', '.join(unknown)}: expected some of {', '.join(KINDS)}")
    return names


@click.command("chaos")
@click.option("--fabric", type=click.Path(path_type=Path, exists=True, dir_okay=False), default=PAIR, show_default=True)
@click.option("--target", type=click.Choice(targets.NAMES), default=targets.NAMES[0], show_default=True)
@click.option("--minutes", type=click.FloatRange(0.1), default=5.0, show_default=True, help="faults begin for so long")
@click.option("--count", type=click.IntRange(1), help="so many faults, in place of a time")
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--kinds", callback=kinds_of, default="", show_default="all", help="names, with commas between them")
@click.option("--udp-rate", type=click.FloatRange(1, 5000), default=100.0, show_default=True, help="requests/s")
@click.option("--http-rate", type=click.FloatRange(1, 5000), default=50.0, show_default=True, help="requests/s")
@click.option("--wrk", is_flag=True, help="call the HTTP service with wrk too, all the time")
@click.option("--results", type=click.Path(path_type=Path), help="folder to make  [default: results/TIME-chaos]")
def chaos_command(
    fabric: Path,
    target: str,
    minutes: float,
    count: int | None,
    seed: int,
    kinds: tuple[str, ...],
    udp_rate: float,
    http_rate: float,
    wrk: bool,
    results: Path | None,
) -> None:
    """Faults at random under load, every request matched at both ends: was anything lost that could be saved?"""
    console = Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else WIDTH_OF_A_LOG)
    options = Options(fabric, target, seed, kinds, None if count else minutes, count, udp_rate, http_rate, wrk)
    results = (results or RESULTS / f"{time.strftime('%Y%m%d-%H%M%S')}-chaos").absolute()
    try:
        check()
        targets.require(target)
        layout.load(fabric, bridged=False)
        own_mounts()
        summary = asyncio.run(interruptible(options, results, console))
    except (Unmet, Busy, FabricError, NotReady, ProcessEnded, targets.TargetMissing, OSError) as error:
        print(f"make chaos: {error}", file=sys.stderr)
        sys.exit(2)
    except (KeyboardInterrupt, asyncio.CancelledError):
        print(f"stopped; nothing of the run is left behind but {results}", file=sys.stderr)
        sys.exit(130)
    show(summary, console)
    console.print(f"results: {results} (summary.json, faults.json, requests.csv, logs/)", soft_wrap=True)
    sys.exit(0 if summary["passed"] else 1)


def show(summary: dict[str, Any], console: Console) -> None:
    """Print what came out."""
    console.print()
    console.print(table.faults_table(summary["rows"]))
    if summary["compared"]:
        console.print(table.updates_table(summary["compared"]))
    if summary["wrk"]:
        console.print(summary["wrk"]["output"].strip())
    for text in summary["wrong"]:
        console.print(f"wrong: {text}", soft_wrap=True)
    late = f"; a noisy run: {summary['generator_late_p99_ms']} ms late at its p99" if summary["noisy"] else ""
    counts = ", ".join(f"{summary[name]} {name}" for name in ("lost", "failed", "duplicated"))
    unexplained = sum(row.unexplained for row in summary["rows"])
    console.print(
        f"seed {summary['seed']}: {summary['faults']} faults, {summary['requests']} requests: {counts}; "
        f"{unexplained} not explained by a killed process, {len(summary['wrong'])} things wrong beside{late}",
        soft_wrap=True,
    )


def own_mounts() -> None:
    """Give this process and all that it starts mounts of their own, which vanish with them. Raises OSError."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNS) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"no mounts of its own: {os.strerror(number)}")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)


async def interruptible(options: Options, results: Path, console: Console) -> dict[str, Any]:
    """Run so that SIGTERM ends it as Ctrl-C does."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await run(options, results, console)
