"""What the experiments' printed tables share: their form, and figures as cells have them. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from experiments.scenario import WIDTH


def number(value: float | None) -> str:
    """A figure for a cell, with three digits that say something; - for none."""
    return "-" if value is None else f"{value:.3g}" if value < 1000 else f"{value:.0f}"


def rounded(value: float | None) -> str:
    """A figure for a cell, without digits that say nothing; - for none."""
    if value is None:
        return "-"
    return f"{value:.0f}" if value >= 100 or value == int(value) else f"{value:.1f}"


def table_of(title: str, first: str, columns: Sequence[str]) -> Table:
    """A table without lines: the names in the first column, figures in the others."""
    table = Table(title=title, title_justify="left", box=None, padding=(0, 1, 0, 0), width=WIDTH)
    table.add_column(first, no_wrap=True)
    for name in columns:
        table.add_column(name, justify="right")
    return table
