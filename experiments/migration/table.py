"""What is printed of a run, within 80 columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from experiments.migration.options import APPLICATION, HTTP
from experiments.migration.verdict import verdict

Summary = Mapping[str, Any]
COLUMNS = ("p50", "p90", "p95", "p99", "max", "n")
MOVES = {
    "trigger_to_first_steered_ms": "disturbed\nto first\nsteered",
    "report_to_first_steered_ms": "report\nto first\nsteered",
    "longest_gap_ms": "longest\ngap",
}
INVALID = "INVALID"
WHOLE_MS = 1000
"""From here on a tenth says nothing."""


def show(summary: Summary, console: Console) -> None:
    """Print the tables and, last, the verdict."""
    for service in services(summary):
        console.print(latency_table(summary, service))
    if summary["disturb"] != "none":
        console.print(moves_table(summary))
    console.print(verdict(summary), style="bold")


def services(summary: Summary) -> list[str]:
    """The services with latencies, those that the load calls first."""
    found = {service for one in summary["ways"].values() for service in one["latency_ms"]}
    return sorted(found, key=lambda name: (name != APPLICATION, name == HTTP, name))


def latency_table(summary: Summary, service: str) -> Table:
    """A service's latency by way and phase."""
    since = "from the intended start" if service in (APPLICATION, HTTP) else "on its node, from arrival to answer"
    table = Table(
        title=f"{service}: latency {since}, ms", title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 0, 0, 1)
    )
    table.add_column("way", no_wrap=True)
    table.add_column("phase")
    for name in COLUMNS:
        table.add_column(name, justify="right")
    for way, one in summary["ways"].items():
        for phase, row in one["latency_ms"].get(service, {}).items():
            if row["n"]:
                told = (figure(row[name], summary) for name in COLUMNS[:-1])
                table.add_row(way, phase, *told, str(row["n"]))
        table.add_section()
    return table


def moves_table(summary: Summary) -> Table:
    """How often the application moved, and its times from the shortest to the longest."""
    table = Table(
        title=f"moves of {APPLICATION}: times in ms, shortest to longest", title_justify="left", box=box.SIMPLE_HEAD
    )
    table.add_column("way", no_wrap=True)
    table.add_column("moved", justify="right")
    table.add_column("undis-\nturbed", justify="right")
    for name in MOVES.values():
        table.add_column(name, justify="right")
    for way, one in summary["ways"].items():
        times = (span(one[name], summary) for name in MOVES)
        table.add_row(
            way, f"{one['moved']} of {one['cycles']}", str(one["undisturbed_moves"].get(APPLICATION, 0)), *times
        )
    return table


def span(row: Mapping[str, Any], summary: Summary) -> str:
    """The shortest and the longest of some times."""
    if not row["n"]:
        return "-"
    if row["max"] is None:
        return figure(None, summary)
    return f"{row['min']:.0f} to {row['max']:.0f}"


def figure(value: float | None, summary: Summary) -> str:
    """A time; - where too few samples tell it, INVALID where none of the run's are to be told."""
    if summary["causes"]:
        return INVALID
    return f"{value:.0f}" if value is not None and value >= WHOLE_MS else cell(value)


def cell(value: object) -> str:
    """A value for a table; - for none."""
    if value is None:
        return "-"
    return f"{value:.1f}" if isinstance(value, float) else str(value)
