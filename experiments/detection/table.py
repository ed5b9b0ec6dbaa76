"""What is printed of the experiment, in 80 columns. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from experiments.cells import rounded, table_of
from experiments.detection.kinds import KINDS

Figures = Mapping[str, Any]


def kinds_table(variant: str, figures: Figures) -> Table:
    """A line for each kind of disturbance."""
    table = table_of(
        f"{variant}: ms from the disturbance (and the queue's growth) to the first move",
        "kind",
        ("runs", "found", "missed", "harmless", "p50", "p99", "max", "queue p50", "max", "late", "moves"),
    )
    for kind, row in figures["kinds"].items():
        table.add_row(*cells(kind, row, stays=KINDS[kind].stays))
    table.add_row(*cells("all", figures["all"], stays=False), style="bold")
    return table


def cells(name: str, row: Figures, *, stays: bool) -> list[str]:
    """The cells of a line."""
    found, queue = row["found_ms"], row["queue_ms"]
    middle = (
        ["-"] * 8
        if stays
        else [
            str(row["found"]),
            str(row["missed"]),
            str(row["harmless"]),
            *(rounded(found[one]) for one in ("p50", "p99", "max")),
            *(rounded(queue[one]) for one in ("p50", "max")),
        ]
    )
    return [name, str(row["runs"]), *middle, rounded(row["late"]), str(row["moves"])]


def variants_table(variants: Mapping[str, Figures]) -> Table:
    """A line for each variant: all kinds together, and moves an hour at rest."""
    loads = sorted({int(load) for one in variants.values() for load in one["rest"]})
    table = table_of(
        "variants: all kinds together; moves an hour at rest by load",
        "variant",
        ("runs", "found", "missed", "early", "p50", "p99", "max", "late", *(f"{load} %" for load in loads)),
    )
    for name, one in variants.items():
        row, rests = one["all"], one["rest"]
        table.add_row(
            name,
            *(str(row[field]) for field in ("runs", "found", "missed", "early")),
            *(rounded(row["found_ms"][quantile]) for quantile in ("p50", "p99", "max")),
            rounded(row["late"]),
            *(an_hour(rests.get(str(load))) for load in loads),
        )
    return table


def replayed_table(variants: Mapping[str, Figures]) -> Table:
    """A line for each variant: what it would have made of the same reports."""
    loads = sorted({int(load) for one in variants.values() for load in one["rest"]})
    table = table_of(
        "the same reports, judged anew: ms to the first move; minutes at rest with a move, by load",
        "variant",
        ("runs", "early", "found", "p50", "max", *(f"{load} %" for load in loads)),
    )
    for name, one in variants.items():
        rests = [one["rest"].get(str(load)) for load in loads]
        table.add_row(
            name,
            *(str(one[field]) for field in ("runs", "early", "found")),
            *(rounded(one["found_ms"][quantile]) for quantile in ("p50", "max")),
            *("-" if rest is None else f"{rest['moved']} of {rest['minutes']}" for rest in rests),
        )
    return table


def an_hour(rest: Figures | None) -> str:
    """Moves an hour; without any, what they are fewer than at 95 % confidence."""
    if rest is None or rest["an_hour"] is None:
        return "-"
    return f"<{rounded(rest['bound_95'])}" if rest["moves"] == 0 else rounded(rest["an_hour"])


def verdict(summary: Figures) -> str:
    """Sentences on what the figures rest on."""
    options = summary["options"]
    text = (
        f"seed {options['seed']}, {summary['requests']} requests at {options['load']} % load: {summary['lost']} lost, "
        f"{summary['failed']} failed, {summary['duplicated']} duplicated."
    )
    if summary["late_ms"] is None:
        text += f" Too few steady requests ({summary['steady_requests']}) to say which were late."
    else:
        text += f" Late: above {rounded(summary['late_ms'])} ms, three times the steady p99."
    used = {load: one["used"] for row in summary["variants"].values() for load, one in row["rest"].items()}
    if used:
        text += f" Used at rest, in fact: {', '.join(f'{one:.0f} %' for _, one in sorted(used.items()))} of a budget."
    for kind, reason in options["left_out"].items():
        text += f" {kind} was left out: {reason}."
    return text
