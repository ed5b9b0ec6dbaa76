"""``python -m experiments failures``: what ``make experiment NAME=failures`` calls."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from controller.fabric.file import FabricError
from experiments import machine, scenario
from experiments.chaos.command import PAIR, own_mounts
from experiments.chaos.scenario import Options
from experiments.chaos.scenario import run as chaos_run
from experiments.failures import page, picture, rows
from experiments.failures.plan import MADE, REST_S, SIZES, Plan, Round, round_s, rounds
from experiments.names import Names
from experiments.scenario import Scenario
from topologies.testbed import NotReady


@click.command("failures")
@scenario.common_options
@scenario.size_option({name: f"{number} of each kind" for name, number in SIZES.items()})
@click.option("--rounds", "asked", type=click.IntRange(1, 1000), help="faults of each kind, in place of the size's")
@click.option("--only", "kinds", type=Names(MADE), default="", help="these kinds, with commas between them")
@click.option("--udp-rate", type=click.FloatRange(1, 5000), default=200.0, show_default=True, help="requests/s")
@click.option("--http-rate", type=click.FloatRange(1, 5000), default=100.0, show_default=True, help="requests/s")
@scenario.publish_option
def failures_command(
    target: str,
    size: str,
    asked: int | None,
    kinds: tuple[str, ...],
    udp_rate: float,
    http_rate: float,
    seed: int,
    results: Path | None,
    source: Path | None,
    publish: Path | None,
) -> None:
    """What it costs when a part ends or stands still: requests, the longest gap, the time until as before."""
    if publish is not None:
        if source is None:
            raise click.UsageError("--publish needs --from: the folder of the run whose page it is")
        dataclasses.replace(FAILURES, show=lambda folder, _: page.publish(folder, publish)).judge(source)
        return
    if source is not None:
        FAILURES.judge(source)
        return
    plan = Plan(seed, kinds, asked or SIZES[size], udp_rate, http_rate)
    FAILURES.run(target, results, lambda folder, console: run(plan, target, folder, console))


async def run(plan: Plan, target: str, folder: Path, console: Console) -> None:
    """Do all rounds, or go on with what an earlier run has left in `folder`. Raises what `testbed` raises."""
    own_mounts()
    options: dict[str, Any] = {**dataclasses.asdict(plan), "target": target}
    begun = scenario.begin(folder / rows.RUN, [rows.ROUND], options)
    over = {one.number for one in rows.done(folder)}
    todo = [one for one in rounds(plan) if one.number not in over]
    if todo and not begun:
        scenario.append(folder / rows.RUN, "machine", **machine.as_it_is())
    what = f"{len(todo)} {'round' if len(todo) == 1 else 'rounds'} of {len(plan.kinds)} faults"
    scenario.estimate(console, what, len(todo) * round_s(plan))
    for one in todo:
        console.print(f"round {one.number} of {plan.rounds}")
        await _round(one, plan, target, folder, console)


async def _round(one: Round, plan: Plan, target: str, folder: Path, console: Console) -> None:
    """Bring up a fabric and make each fault once; an earlier try that was ended is done again."""
    shutil.rmtree(folder / one.name, ignore_errors=True)
    options = Options(
        PAIR,
        target,
        one.seed,
        plan.kinds,
        minutes=None,
        count=len(plan.kinds),
        udp_per_second=plan.udp_per_second,
        http_per_second=plan.http_per_second,
        wrk=False,
        rest_s=REST_S,
    )
    summary = await chaos_run(options, folder / one.name, console)
    done = rows.Done(
        one.number,
        one.name,
        one.seed,
        summary["generator_late_p99_ms"],
        sum(trouble["fault"] is None for trouble in summary["troubles"]),
        machine.as_it_is(),
    )
    scenario.append(folder / rows.RUN, rows.ROUND, **dataclasses.asdict(done))


def show(folder: Path, console: Console) -> None:
    """Judge the rows, write summary.json and the picture beside them, and print the table."""
    rows.reduce(folder)
    summary = page.judged(folder)
    for part in page.parts(summary):
        console.print()
        console.print(part)
    files = (rows.RUN, rows.FAULTS, rows.MANIFEST, page.SUMMARY, f"{picture.NAME}.svg", ".png", "round-*/")
    scenario.conclude(console, folder, files, summary["invalid"])


FAILURES = Scenario("failures", show, (FabricError, NotReady))
