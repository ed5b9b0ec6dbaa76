"""``python -m experiments detection``: what ``make experiment NAME=detection`` calls."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click
from rich.console import Console

from controller.fabric.file import FabricError
from experiments import scenario
from experiments.detection import judge, picture, rows, table
from experiments.detection.experiment import Options, run
from experiments.detection.kinds import HERE, KINDS, MEASURED
from experiments.detection.replay import replay
from experiments.detection.schedule import Plan
from experiments.detection.variants import VARIANTS
from experiments.migration import measure
from experiments.names import Names
from experiments.scenario import Scenario
from greengrass_agent.host.cgroup import CgroupError
from topologies.testbed import NotReady

SIZES = {"short": (2, 1.0), "full": (20, 20.0)}
"""Runs of each kind and variant, and minutes at rest with each load."""


@click.command("detection")
@scenario.common_options
@scenario.size_option({name: f"{runs} runs a kind, {minutes:g} min a rest" for name, (runs, minutes) in SIZES.items()})
@click.option("--only", "kinds", type=Names(list(KINDS)), default="", help="these kinds, with commas between them")
@click.option("--variants", type=Names(list(VARIANTS)), default="default", show_default=True, help="or all")
@click.option("--runs", type=click.IntRange(0, 1000), help="of each kind and variant, in place of the size's")
@click.option("--load", type=click.IntRange(5, 95), default=50, show_default=True, help="in the runs, % of a budget")
@click.option("--bound", type=click.FloatRange(0.5, 60), default=3.0, show_default=True, help="seconds; not found then")
@click.option(
    "--rest-minutes", type=click.FloatRange(0), help="at rest, at 30, 50 and 70 % each, in place of the size's"
)
@click.option(
    "--replay",
    "replayed",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="run nothing: what --variants would have made of this folder's reports",
)
def detection_command(
    target: str,
    size: str,
    kinds: tuple[str, ...],
    variants: tuple[str, ...],
    runs: int | None,
    load: int,
    bound: float,
    rest_minutes: float | None,
    seed: int,
    results: Path | None,
    source: Path | None,
    replayed: Path | None,
) -> None:
    """How soon a busy node is noticed, whatever makes it busy, and how often services move for nothing."""
    if source is not None:
        DETECTION.judge(source)
    elif replayed is not None:
        replace(DETECTION, show=lambda folder, console: judge_anew(folder, variants, console)).judge(replayed)
    else:
        runs = SIZES[size][0] if runs is None else runs
        rest_s = 60 * (SIZES[size][1] if rest_minutes is None else rest_minutes)
        options = Options(Plan(seed, variants, kinds, runs, (30, 50, 70), rest_s), target, load, bound)
        DETECTION.run(target, results, lambda folder, console: run(options, folder, console))


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
    files = (rows.ROWS, rows.LOADS, "logs/", "summary.json", "detection.svg", ".png")
    scenario.conclude(console, folder, files, judge.invalid(summary))


DETECTION = Scenario("detection", show, (FabricError, NotReady, CgroupError), resumes=False)
