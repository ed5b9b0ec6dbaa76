"""A run's folder: its raw rows in, and what is made of them out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from experiments.migration import picture, records, report, samples, table
from experiments.migration.judge import Evidence, Summary, summarise

RUN, CYCLES, RANKS, MACHINE, REQUESTS = "run.json", "cycles.csv", "ranks.csv", "machine.csv", "requests.csv"
WIDTH = 80
"""Of what is printed, in columns."""


def write_run(folder: Path, run: dict[str, Any]) -> None:
    """Write what was asked of which machine."""
    (folder / RUN).write_text(json.dumps(run, indent=1) + "\n")


def read(folder: Path) -> Evidence:
    """The raw rows of a run. Raises ValueError, which names the file, where they cannot be read."""
    nodes = folder / "logs" / "nodes"
    try:
        run = json.loads((folder / RUN).read_text())
        executions = [one for one in records.read_executions(nodes) if one.received_ns >= run["start_ns"]]
        return Evidence(
            run,
            records.read_requests(folder / REQUESTS),
            executions,
            records.read_decisions(folder / "logs" / "events.ndjson"),
            records.read_emissions(nodes),
            records.read_loads(nodes),
            samples.read(folder / CYCLES, samples.Cycle),
            samples.read(folder / RANKS, samples.RankSample),
            samples.read(folder / MACHINE, samples.MachineSample),
        )
    except FileNotFoundError as error:
        raise ValueError(f"{error.filename}: there is no such file: is {folder} the folder of a run?") from None
    except (KeyError, json.JSONDecodeError) as error:
        raise ValueError(f"{folder / RUN}: {error}: it is not what a run writes") from None


def judge(folder: Path) -> Summary:
    """Make summary.json, table.txt, the pictures and report.html from the raw rows. Raises ValueError."""
    evidence = read(folder)
    summary = summarise(evidence)
    (folder / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")
    with (folder / "table.txt").open("w") as file:
        table.show(summary, Console(file=file, width=WIDTH, highlight=False))
    drawn = picture.draw(folder, evidence, summary)
    (folder / "report.html").write_text(report.page(summary, drawn))
    return summary


@click.command("judge")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
def judge_command(folder: Path) -> None:
    """Make the summary, table, picture and report of a run anew from its raw rows alone."""
    try:
        summary = judge(folder)
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    table.show(summary, Console(width=WIDTH, highlight=False))
