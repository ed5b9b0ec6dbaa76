"""``python -m experiments detection``: what ``make experiment NAME=detection`` calls."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import Console

from controller.fabric.file import FabricError
from experiments.detection import judge, picture, rows, table
from experiments.detection.experiment import Options, run
from experiments.detection.kinds import HERE, KINDS, MEASURED
from experiments.detection.replay import replay
from experiments.detection.schedule import Plan
from experiments.detection.variants import VARIANTS
from experiments.migration import measure
from experiments.names import Names
from greengrass_agent.host.cgroup import CgroupError
from topologies import targets
from topologies.leftovers import Busy
from topologies.processes import ProcessEnded
from topologies.requirements import Unmet, check
from topologies.testbed import REPOSITORY_ROOT, NotReady

RESULTS = REPOSITORY_ROOT / "results"
EXPECTED = (
    *(Unmet, Busy, FabricError, NotReady, ProcessEnded, targets.TargetMissing),
    *(CgroupError, OSError, RuntimeError),
)
"""What can go wrong with a machine, told in a sentence."""


@click.command("detection")
@click.option("--target", type=click.Choice(targets.NAMES), default=targets.NAMES[0], show_default=True)
@click.option("--only", "kinds", type=Names(list(KINDS)), default="", help="these kinds, with commas between them")
@click.option("--variants", type=Names(list(VARIANTS)), default="default", show_default=True, help="or all")
@click.option("--runs", type=click.IntRange(0, 1000), default=20, show_default=True, help="of each kind and variant")
@click.option("--load", type=click.IntRange(5, 95), default=50, show_default=True, help="in the runs, % of a budget")
@click.option("--bound", type=click.FloatRange(0.5, 60), default=3.0, show_default=True, help="seconds; not found then")
@click.option(
    "--rest-minutes", type=click.FloatRange(0), default=20.0, show_default=True, help="at rest, at 30, 50 and 70 % each"
)
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--results", type=click.Path(path_type=Path), help="folder to make  [default: results/TIME-detection]")
@click.option(
    "--from",
    "source",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="run nothing: table, summary and picture anew from this folder's raw rows",
)
@click.option(
    "--replay",
    "replayed",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="run nothing: what --variants would have made of this folder's reports",
)
def detection_command(
    target: str,
    kinds: tuple[str, ...],
    variants: tuple[str, ...],
    runs: int,
    load: int,
    bound: float,
    rest_minutes: float,
    seed: int,
    results: Path | None,
    source: Path | None,
    replayed: Path | None,
) -> None:
    """How soon a busy node is noticed, whatever makes it busy, and how often services move for nothing."""
    console = Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else table.WIDTH)
    if folder := source or replayed:
        try:
            show(folder, console) if folder is source else judge_anew(folder, variants, console)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise click.ClickException(f"{folder}: not an experiment's raw rows: {error}") from error
        return
    plan = Plan(seed, variants, kinds, runs, (30, 50, 70), rest_minutes * 60)
    results = (results or RESULTS / f"{time.strftime('%Y%m%d-%H%M%S')}-detection").absolute()
    try:
        check()
        targets.require(target)
        asyncio.run(interruptible(Options(plan, target, load, bound), results, console))
    except EXPECTED as error:
        print(f"make experiment NAME=detection: {error}", file=sys.stderr)
        sys.exit(1)
    except (KeyboardInterrupt, asyncio.CancelledError):
        print("stopped; everything is undone", file=sys.stderr)
        if (results / rows.ROWS).exists():
            print(f"what was measured until then: python -m experiments detection --from {results}", file=sys.stderr)
        sys.exit(130)
    show(results, console)


async def interruptible(options: Options, results: Path, console: Console) -> None:
    """Run so that SIGTERM ends it as Ctrl-C does."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    await run(options, results, console)


def judge_anew(folder: Path, variants: Sequence[str], console: Console) -> None:
    """Print what each variant would have made of the reports there, and write replay.json beside them."""
    with console.status("reading", spinner="line") as status:
        facts = rows.read(folder)
        work = judge.Work(measure.new_work(facts.requests, facts.executions))
        judged = [name for name in variants if VARIANTS[name].loop_s is None]
        figures = replay(folder, facts, work, judged, status.update)
    (folder / "replay.json").write_text(json.dumps(figures, indent=1) + "\n")
    console.print(table.replayed_table(figures))
    for name in sorted(set(variants) - set(judged)):
        console.print(f"{name}: not judged anew: no switch decides there")
    console.print(f"results: {folder / 'replay.json'}", soft_wrap=True)


def show(folder: Path, console: Console) -> None:
    """Judge the raw rows, write summary.json and the picture beside them, and print the tables."""
    facts = rows.read(folder)
    spans = [(run.steady_ns, run.ended_ns) for run in facts.runs]
    depths = {service: rows.depths(folder, HERE, service, spans) for service in MEASURED}
    summary = judge.summarise(facts, depths)
    (folder / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")
    picture.draw(folder, summary)
    for name, figures in summary["variants"].items():
        if figures["kinds"]:
            console.print()
            console.print(table.kinds_table(name, figures))
    console.print()
    console.print(table.variants_table(summary["variants"]))
    console.print()
    console.print(table.verdict(summary))
    console.print(
        f"results: {folder} (rows.ndjson, load-*.csv, logs/, summary.json, detection.svg, .png)", soft_wrap=True
    )
