"""What is printed of the experiment, in 80 columns. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from experiments.scenario import WIDTH


def number(value: float | None) -> str:
    """A figure for a cell, with three digits that say something; - for none."""
    return "-" if value is None else f"{value:.3g}" if value < 1000 else f"{value:.0f}"


def connections_table(ways: Mapping[str, Any]) -> Table:
    """What became of connections, by way."""
    title = "ms from the move to the first answer of the new node, the last one of the old, and its last download's end"
    table = Table(title=title, title_justify="left", box=None, padding=(0, 1, 0, 0), width=WIDTH)
    table.add_column("way", no_wrap=True)
    counts = ("moves", "requests", "reset", "lost", "failed", "downloads", "broken")
    for name in (*counts, "first p50", "max", "last p50", "max", "empty p50", "max"):
        table.add_column(name, justify="right")
    for name, one in ways.items():
        spreads = (one[spread][which] for spread in ("first_ms", "kept_ms", "empty_ms") for which in ("p50", "max"))
        table.add_row(name, *(str(one[count]) for count in counts), *map(number, spreads))
    return table
