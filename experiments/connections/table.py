"""What is printed of the experiment, in 80 columns. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from experiments.scenario import WIDTH


def number(value: float | None) -> str:
    """A figure for a cell, with three digits that say something; - for none."""
    return "-" if value is None else f"{value:.3g}" if value < 1000 else f"{value:.0f}"


def _table(title: str, columns: tuple[str, ...]) -> Table:
    table = Table(title=title, title_justify="left", box=None, padding=(0, 1, 0, 0), width=WIDTH)
    table.add_column("way", no_wrap=True)
    for name in columns:
        table.add_column(name, justify="right")
    return table


def connections_table(ways: Mapping[str, Any]) -> Table:
    """What became of connections."""
    columns = ("moves", "requests", "reset", "lost", "failed", "opened", "downloads", "broken")
    table = _table("requests over kept connections, and downloads", columns)
    for name, one in ways.items():
        table.add_row(name, *(str(one[column]) for column in columns))
    return table


def times_table(ways: Mapping[str, Any]) -> Table:
    """How long the old node had something to do."""
    table = _table(
        "ms from the move to the new node's first answer, the old one's last, its last download",
        ("first p50", "max", "last p50", "max", "empty p50", "max"),
    )
    for name, one in ways.items():
        table.add_row(
            name,
            *(number(one[spread][which]) for spread in ("first_ms", "kept_ms", "empty_ms") for which in ("p50", "max")),
        )
    return table
