"""The picture of the experiment: latency and queue from before a disturbance until after it, by way."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.ticker import FuncFormatter

from experiments.congestion.judge import BIN_US
from experiments.congestion.rows import STEADY_US
from experiments.congestion.schedule import DISTURBED_S, STEADY_S, WINDOW_S

COLOURS = ("#3b6ea5", "#d1772e", "#4c9a5b", "#8d5aa6", "#b00020", "#6b6b6b", "#c2a83e")
FORMATS = ("svg", "pdf", "png")


def draw(folder: Path, summary: Mapping[str, Any]) -> None:
    """Draw a summary to congestion.svg, .pdf and .png."""
    figure, (slow, deep) = plt.subplots(2, 1, figsize=(7.2, 5.2), sharex=True, layout="constrained")
    for colour, way in zip(COLOURS, summary["ways"], strict=False):
        curve = summary["curves"].get(way)
        if curve is None:
            continue
        times = [(-STEADY_US + (at + 0.5) * BIN_US) / 1e6 for at in range(len(curve["queue"]))]
        for axes, name in ((slow, "p90_ms"), (deep, "queue")):
            told = [(at, value) for at, value in zip(times, curve[name], strict=True) if value is not None]
            axes.plot([at for at, _ in told], [value for _, value in told], color=colour, label=way)
    for axes in (slow, deep):
        axes.axvspan(0, DISTURBED_S, color="#999999", alpha=0.12, lw=0)
        axes.grid(alpha=0.3)
    slow.set_yscale("log")
    slow.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    slow.set_ylabel(f"latency, p90 of {BIN_US / 1e6:g} s (ms)")
    deep.set_ylabel("longest queue at a node (mean)")
    deep.set_ylim(bottom=0)
    deep.set_xlim(-STEADY_S, WINDOW_S)
    deep.set_xlabel("s from the disturbance, which lasts as long as the grey")
    figure.legend(*deep.get_legend_handles_labels(), loc="outside upper center", ncols=4, frameon=False)
    for name in FORMATS:
        figure.savefig(folder / f"congestion.{name}", dpi=120)
    plt.close(figure)
