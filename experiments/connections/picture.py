"""The picture of the experiment: each move's times, by way."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.ticker import FuncFormatter

TIMES = (
    ("first answer of the new node", "#3b6ea5", "o"),
    ("last answer of the old node", "#d1772e", "s"),
    ("end of its last download", "#4c9a5b", "^"),
)
FORMATS = ("svg", "pdf", "png")


def draw(folder: Path, summary: Mapping[str, Any]) -> None:
    """Draw a summary to connections.svg, .pdf and .png."""
    ways = summary["ways"]
    figure, axes = plt.subplots(figsize=(7.2, 1.4 + 0.5 * len(ways)), layout="constrained")
    for number, (label, colour, marker) in enumerate(TIMES):
        points = [
            (at, one[number]) for at, way in enumerate(ways) for one in ways[way]["each"] if one[number] is not None
        ]
        shift = (number - 1) * 0.2
        axes.plot(
            [value for _, value in points],
            [at + shift for at, _ in points],
            marker,
            color=colour,
            alpha=0.5,
            markersize=4,
            label=label,
        )
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_yticks(range(len(ways)), list(ways))
    axes.set_ylim(len(ways) - 0.5, -0.5)
    axes.grid(axis="x", alpha=0.3)
    axes.set_xlabel("ms from the move")
    figure.legend(loc="outside upper center", ncols=3, frameon=False, fontsize=9)
    for name in FORMATS:
        figure.savefig(folder / f"connections.{name}", dpi=120)
    plt.close(figure)
