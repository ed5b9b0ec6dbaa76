"""What is printed of the experiment. Pure."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from experiments.cells import rounded, table_of

COUNTS = ("faults", "lost", "failed", "duplicated", "unexplained", "wrong", "most_missed")
HEADERS = ("n", "lost", "failed", "dupl.", "unexp.", "wrong", "most")


def costs_table(summary: dict[str, Any]) -> Table:
    """A line for each kind of fault."""
    table = table_of(
        "requests by fault; ms of the longest gap in good answers, and until as before",
        "kind",
        (*HEADERS, "gap p50", "max", "back p50", "max"),
    )
    for kind, one in summary["kinds"].items():
        times = [cell for name in ("gap_ms", "as_before_ms") for cell in times_of(one[name])]
        table.add_row(kind, *(str(one[name]) for name in COUNTS), *times)
    return table


def times_of(spread: dict[str, Any]) -> list[str]:
    """Median and longest; the longest says so if a time has no end."""
    return [rounded(spread["p50"]), "never" if spread["never"] else rounded(spread["max"])]


def verdict(summary: dict[str, Any]) -> str:
    """Sentences on what the figures rest on."""
    options, kinds = summary["options"], summary["kinds"].values()
    faults, requests = (sum(one[name] for one in kinds) for name in ("faults", "requests"))
    text = f"seed {options['seed']}, {options['target']}: {faults} faults, {requests} requests during them"
    text += f", {summary['quiet_troubles']} wrong without a fault."
    if summary["generator_late_p99_ms"] is not None:
        text += f" The load was {summary['generator_late_p99_ms']} ms late at its p99 in the worst round."
    return text
