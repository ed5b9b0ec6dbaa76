"""``python -m experiments policies``: what ``make experiment`` calls."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from experiments.policies import picture, table
from experiments.policies.cells import INTERVALS, POLICIES, cells
from experiments.policies.figures import TooFew
from experiments.policies.run import Options, Outcome, judged_again, run
from topologies import targets
from topologies.testbed import REPOSITORY_ROOT

RESULTS = REPOSITORY_ROOT / "results"


@click.command("policies")
@click.option("--target", type=click.Choice(targets.NAMES), default=targets.NAMES[0], show_default=True)
@click.option("--requests", type=click.IntRange(1000, 1_000_000), default=50_000, show_default=True, help="of a cell")
@click.option(
    "--service-time", type=click.FloatRange(0.5, 100), default=3.0, show_default=True, help="mean, in milliseconds"
)
@click.option("--policy", type=click.Choice(list(POLICIES)), multiple=True, help="only these; repeat for more")
@click.option("--interval", type=click.FloatRange(0.1, 100), multiple=True, help="only these, in service times")
@click.option("--seed", type=int, default=1, show_default=True)
def policies_command(
    target: str,
    requests: int,
    service_time: float,
    policy: Sequence[str],
    interval: Sequence[float],
    seed: int,
) -> None:
    """Compare the policies on a real switch with real reports (a quarter of an hour)."""
    wanted = list(cells(policy or list(POLICIES), interval or INTERVALS))
    options = Options(target, requests, service_time / 1000, seed)
    folder = RESULTS / f"{time.strftime('%Y%m%d-%H%M%S')}-policies"
    try:
        summary = asyncio.run(run(wanted, options, folder, tell))
    except TooFew as error:
        raise click.ClickException(f"{error}; take a machine that does less besides, or more --requests") from error
    show(folder, summary)


@click.command("judge-policies")
@click.argument("folders", nargs=-1, required=True, type=click.Path(exists=True, file_okay=False, path_type=Path))
def judge_command(folders: Sequence[Path]) -> None:
    """Make summary, table and picture anew from raw rows, in results/policies; parts of an experiment become one."""
    folder = RESULTS / "policies"
    folder.mkdir(parents=True, exist_ok=True)
    summary = judged_again(folders)
    (folder / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")
    show(folder, summary)


def show(folder: Path, summary: Mapping[str, Any]) -> None:
    """Write the table and the picture beside the summary, and print the table."""
    (folder / "table.md").write_text(table.markdown(summary))
    picture.draw(folder / "policies.png", summary)
    click.echo(f"\n{table.markdown(summary)}\nresults: {folder} (summary.json, table.md, policies.png)")


def tell(outcome: Outcome) -> None:
    """A line for a cell that has been run."""
    row = outcome.row()
    interval = "" if outcome.cell.interval is None else f", a report every {outcome.cell.interval:g}"
    click.echo(
        f"{outcome.cell.policy}, {outcome.cell.nodes}{interval}: "
        f"mean {outcome.figures.mean} ({row['mean_ratio']:.2f} x perfect), "
        f"p99 {outcome.figures.p99} ({row['p99_ratio']:.2f} x perfect), "
        f"{outcome.lost} lost, {outcome.left_out} left out around stalls"
    )
