"""What is printed of the experiment, in 80 columns. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from experiments import scenario
from experiments.moves.judge import WRONGS
from experiments.moves.ways import WAYS

SAID = ("lost", "failed", "executed twice", "overtaken by a later one")
"""WRONGS, in words."""


def number(value: float | None) -> str:
    """A figure for a cell, with three digits that say something; - for none."""
    return "-" if value is None else f"{value:.3g}" if value < 1000 else f"{value:.0f}"


def _table(title: str, columns: tuple[str, ...]) -> Table:
    table = Table(title=title, title_justify="left", box=None, padding=(0, 1, 0, 0), width=scenario.WIDTH)
    table.add_column("way", no_wrap=True)
    for name in columns:
        table.add_column(name, justify="right")
    return table


def moves_table(ways: Mapping[str, Any]) -> Table:
    """How long a move takes."""
    table = _table(
        "ms from the host's report that it is busy to the first request on the other node",
        ("moves", "p50", "95 %", "p90", "p99", "max", "decided", "applied", "missed"),
    )
    for name, one in ways.items():
        total, stages = one["stages_ms"]["told_to_first"], one["stages_ms"]
        bounds = total["p50_interval"]
        table.add_row(
            name,
            str(one["moves"]),
            number(total["p50"]),
            "-" if bounds is None else "-".join(map(number, bounds)),
            *(number(total[q]) for q in ("p90", "p99", "max")),
            *(number(stages[stage]["p50"]) for stage in ("told_to_decided", "decided_to_applied")),
            str(one["missed"]),
        )
    return table


def requests_table(ways: Mapping[str, Any]) -> Table:
    """What it did to requests."""
    table = _table(
        "requests, and their latency in ms: steady, and in the 100 ms after a move",
        ("requests", "lost", "failed", "twice", "overtaken", "p99", "after", "p99.9", "after", "on old"),
    )
    for name, one in ways.items():
        steady, after = one["latency_ms"]["steady"], one["latency_ms"]["after"]
        table.add_row(
            name,
            str(one["requests"]),
            *(str(one[field]) for field in WRONGS),
            *(number(spread[q]) for q in ("p99", "p999") for spread in (steady, after)),
            number(one["last_after_first_ms"]["max"]),
        )
    return table


def verdict(summary: Mapping[str, Any]) -> str:
    """Sentences on all ways together, and on what each cannot do."""
    everything, options = summary["all"], summary["options"]
    bounds = ", ".join(f"{everything[name]} {said}" for name, said in zip(WRONGS, SAID, strict=True))
    text = (
        f"seed {options['seed']}, {everything['moves']} moves, {everything['requests']} requests in all: {bounds}. "
        f"At 95 % confidence, a count of 0 means fewer than one of {everything['requests'] / 3:.0f} of all, and of a "
        "way's own requests fewer than three in their number."
    )
    if summary["invalid"]:
        text += f" INVALID: {'; '.join(summary['invalid'])}."
    return "\n".join([text, *(f"{name}: {WAYS[name].cannot}" for name in summary["ways"])])
