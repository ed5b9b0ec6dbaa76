"""What is printed of the experiment, in 80 columns. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from experiments.cells import number, table_of


def connections_table(ways: Mapping[str, Any]) -> Table:
    """What became of connections."""
    columns = ("moves", "requests", "reset", "lost", "failed", "opened", "downloads", "broken")
    table = table_of("requests over kept connections, and downloads", "way", columns)
    for name, one in ways.items():
        table.add_row(name, *(str(one[column]) for column in columns))
    return table


def times_table(ways: Mapping[str, Any]) -> Table:
    """How long the old node had something to do."""
    table = table_of(
        "ms from the move to the new node's first answer, the old one's last, its last download",
        "way",
        ("first p50", "max", "last p50", "max", "empty p50", "max"),
    )
    for name, one in ways.items():
        table.add_row(
            name,
            *(number(one[spread][which]) for spread in ("first_ms", "kept_ms", "empty_ms") for which in ("p50", "max")),
        )
    return table
