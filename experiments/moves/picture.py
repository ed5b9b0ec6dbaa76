"""The picture of the experiment: how long moves take, each way's distribution with its confidence band."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import log, sqrt
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import FuncFormatter

COLOURS = ("#3b6ea5", "#d1772e", "#4c9a5b", "#8d5aa6", "#b00020", "#6b6b6b", "#c2a83e", "#2f9c95")
NAME, FORMATS = "migration", ("svg", "pdf", "png")


def draw(
    folder: Path, times_ms: Mapping[str, Sequence[float]], interval_ms: float, formats: Sequence[str] = FORMATS
) -> None:
    """Draw migration.svg, or other formats. `times_ms`: by way, from the report to the first request elsewhere.

    The bands are of 95 % by the inequality of Dvoretzky, Kiefer and Wolfowitz (with Massart's constant, 1990).
    """
    plt.rcParams["svg.hashsalt"] = NAME  # the same rows are the same picture
    figure, axes = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
    for colour, (way, values) in zip(COLOURS, times_ms.items(), strict=False):
        if not values:
            continue
        ordered = np.sort(np.asarray(values))
        share = np.arange(1, len(ordered) + 1) / len(ordered)
        band = sqrt(log(2 / 0.05) / (2 * len(ordered)))
        axes.fill_between(
            ordered,
            np.clip(share - band, 0, 1),
            np.clip(share + band, 0, 1),
            step="post",
            color=colour,
            alpha=0.15,
            lw=0,
        )
        axes.step(ordered, share, where="post", color=colour, label=way)
    axes.axvline(interval_ms, color="#999999", lw=0.8, ls=":")
    axes.annotate("report interval", (interval_ms, 0.02), color="#777777", fontsize=8, ha="right", rotation=90)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_ylim(0, 1)
    axes.set_xlabel("from the report to the first request on the other node (ms)")
    axes.set_ylabel("share of moves")
    axes.grid(alpha=0.3)
    if any(times_ms.values()):
        figure.legend(loc="outside upper center", ncols=5, frameon=False, fontsize=9)
    for name in formats:
        figure.savefig(folder / f"{NAME}.{name}", dpi=120, metadata={"Date": None} if name == "svg" else None)
    plt.close(figure)
