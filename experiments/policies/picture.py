"""The picture of a policy experiment: mean and p99 against the interval between reports."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from experiments.policies.cells import INTERVALS

COLOURS = {
    "spread": "#3b6ea5",
    "two_choices": "#4c9a5b",
    "stale best": "#8d5aa6",
    "round_robin": "#d1772e",
    "random": "#b00020",
}


def draw(path: Path, summary: Mapping[str, Any]) -> None:
    """Draw a summary to a PNG file."""
    nodes = list({row["nodes"]: None for row in summary["cells"]})
    figure, grid = plt.subplots(
        2, len(nodes), figsize=(5.5 * len(nodes), 8), sharex=True, squeeze=False, layout="constrained"
    )
    for column, name in enumerate(nodes):
        rows = [row for row in summary["cells"] if row["nodes"] == name]
        for line, (field, title) in enumerate((("mean", "mean"), ("p99", "99th percentile"))):
            axes = grid[line][column]
            plot(axes, rows, field)
            axes.set_title(f"{title}, {name if name != 'equal' else 'equal nodes'}")
            axes.set_ylabel("response time (service times)")
    for axes in grid[-1]:
        axes.set_xlabel("time between two reports of a node (service times)")
    grid[0][0].legend(fontsize="small")
    figure.savefig(path, dpi=100)
    plt.close(figure)


def plot(axes: Any, rows: list[Mapping[str, Any]], field: str) -> None:
    """One panel: a line for each policy, with its confidence intervals."""
    perfect = rows[0][f"perfect_{field}"]["value"]
    axes.axhline(perfect, color="black", linewidth=1, label="perfect knowledge (simulated)")
    for policy in {row["policy"]: None for row in rows}:
        mine = [row for row in rows if row["policy"] == policy]
        values = [row[field]["value"] for row in mine]
        if mine[0]["interval"] is None:
            axes.axhline(values[0], color=COLOURS[policy], linestyle="--", linewidth=1, label=policy)
        else:
            widths = [row[field]["half_width"] for row in mine]
            intervals = [row["interval"] for row in mine]
            axes.errorbar(intervals, values, widths, color=COLOURS[policy], marker="o", capsize=3, label=policy)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(INTERVALS, minor=False)
    axes.yaxis.set_major_locator(matplotlib.ticker.LogLocator(subs=(1, 2, 5)))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(matplotlib.ticker.FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(matplotlib.ticker.NullFormatter())
