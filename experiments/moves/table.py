"""What is printed of the experiment, in 80 columns. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from experiments.cells import number, table_of
from experiments.moves.judge import WRONGS
from experiments.moves.ways import WAYS

SAID = ("lost", "failed", "executed twice", "overtaken by a later one")
"""WRONGS, in words."""


def moves_table(ways: Mapping[str, Any]) -> Table:
    """How long a move takes."""
    table = table_of(
        "ms from the host's report that it is busy to the first request on the other node",
        "way",
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
    table = table_of(
        "requests, and their latency in ms: steady, and in the 100 ms after a move",
        "way",
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
