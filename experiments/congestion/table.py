"""What is printed of the experiment, in 80 columns. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from experiments.cells import number, table_of


def bounds(value: Sequence[float] | None) -> str:
    """An interval for a cell."""
    return "-" if value is None else "-".join(map(number, value))


def latency_table(ways: Mapping[str, Any]) -> Table:
    """How long requests took."""
    table = table_of(
        "latency in ms: steady p99, and in the 5 s from each disturbance on",
        "way",
        ("steady", "p50", "p99", "95 %", "p99.9", "95 %", "max"),
    )
    for name, one in ways.items():
        window = one["window_ms"]
        table.add_row(
            name,
            number(one["steady_ms"]["p99"]),
            number(window["p50"]),
            number(window["p99"]),
            bounds(window["p99_interval"]),
            number(window["p999"]),
            bounds(window["p999_interval"]),
            number(window["max"]),
        )
    return table


def area_table(ways: Mapping[str, Any]) -> Table:
    """What congestion cost, and how a way compares."""
    table = table_of(
        "area over the steady p99, in ms·s; p99 against that of steered", "way", ("area", "95 %", "to steered", "95 %")
    )
    for name, one in ways.items():
        table.add_row(
            name,
            number(one["area_ms_s"]),
            bounds(one["area_interval"]),
            number(one["p99_to_steered"]),
            bounds(one["p99_to_steered_interval"]),
        )
    return table


def requests_table(ways: Mapping[str, Any]) -> Table:
    """What became of requests, and where they waited."""
    table = table_of(
        "requests; ms until the disturbed node was left; longest queue reported",
        "way",
        ("windows", "early", "requests", "lost", "failed", "late", "left", "queue p50", "max"),
    )
    for name, one in ways.items():
        table.add_row(
            name,
            *(str(one[field]) for field in ("windows", "early", "requests", "lost", "failed")),
            *(number(one[field]) for field in ("late", "left_ms")),
            *(number(one["queue"][field]) for field in ("p50", "max")),
        )
    return table


def verdict(summary: Mapping[str, Any]) -> str:
    """Sentences on what the figures rest on."""
    options, ways = summary["options"], summary["ways"]
    requests = sum(one["requests"] for one in ways.values())
    text = (
        f"seed {options['seed']}, {requests} requests at {options['load']} % of a node's budget, disturbed by "
        f"{', '.join(options['kinds'])}."
    )
    none = {name: one["bound_95"] for name, one in ways.items() if one["requests"] and not one["lost"]}
    if none:
        told = ", ".join(f"{name} {bound:.0f}" for name, bound in none.items())
        text += f" Where none was lost, fewer than so many of a million are, at 95 % confidence: {told}."
    if summary["pressure"] is not None:
        text += f" Something waited for a core {summary['pressure']:.0%} of the time."
    return text
