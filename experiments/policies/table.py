"""A summary as a Markdown table. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Row = Mapping[str, Any]

HEAD = (
    "| nodes | report every | policy | mean | p99 | mean / perfect | p99 / perfect |",
    "|---|---|---|---|---|---|---|",
)


def markdown(summary: Mapping[str, Any]) -> str:
    """Perfect knowledge first, then a line for each cell. Times in service times."""
    lines = list(HEAD)
    for nodes in {row["nodes"]: None for row in summary["cells"]}:
        rows = [row for row in summary["cells"] if row["nodes"] == nodes]
        lines.append(
            f"| {nodes} | - | perfect knowledge | {figure(rows[0]['perfect_mean'], 2)} "
            f"| {figure(rows[0]['perfect_p99'], 1)} | 1 | 1 |"
        )
        lines += [line(row) for row in rows]
    return "\n".join(lines) + "\n"


def line(row: Row) -> str:
    """A cell's line."""
    interval = "-" if row["interval"] is None else f"{row['interval']:g}"
    return (
        f"| {row['nodes']} | {interval} | {row['policy']} | {figure(row['mean'], 2)} | {figure(row['p99'], 1)} "
        f"| {row['mean_ratio']:.2f} | {row['p99_ratio']:.2f} |"
    )


def figure(estimate: Mapping[str, float], digits: int) -> str:
    """A value with its interval."""
    return f"{estimate['value']:.{digits}f} ± {estimate['half_width']:.{digits}f}"
