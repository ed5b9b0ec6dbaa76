"""The picture of the experiment: each fault's longest gap, and its time until as before."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.ticker import FuncFormatter

from experiments.failures.measure import Cost

COLOUR, NONE_COLOUR = "#3b6ea5", "#b00020"
FORMATS = ("svg", "png")
NAME = "failures"
LEAST_MS, NEVER_MS = 1.0, 60_000.0
"""Where a time of 0 is drawn, and one without an end."""


def draw(folder: Path, kinds: Sequence[str], costs: Sequence[Cost]) -> None:
    """Draw failures.svg and failures.png: a line for each kind, a point for each fault."""
    plt.rcParams["svg.hashsalt"] = NAME  # the same rows are the same picture
    figure, panels = plt.subplots(1, 2, figsize=(11, 1.6 + 0.28 * len(kinds)), sharey=True, layout="constrained")
    labels = ("longest gap between good answers (ms)", "from the fault until as before (ms); x: not in time")
    for axes, name, label in zip(panels, ("gap_ms", "as_before_ms"), labels, strict=True):
        for one in costs:
            value, line = getattr(one, name), kinds.index(one.kind)
            if value is None:
                axes.plot(NEVER_MS, line, "x", color=NONE_COLOUR)
            else:
                axes.plot(max(value, LEAST_MS), line, "o", color=COLOUR, markersize=4, alpha=0.5)
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.set_xlabel(label)
        axes.grid(axis="x", alpha=0.3)
    panels[0].set_yticks(range(len(kinds)), kinds)
    panels[0].set_ylim(len(kinds) - 0.5, -0.5)
    for extension in FORMATS:
        figure.savefig(folder / f"{NAME}.{extension}", dpi=120, metadata={"Date": None} if extension == "svg" else None)
    plt.close(figure)
