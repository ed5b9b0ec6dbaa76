"""The picture of the experiment: how soon each kind was found, and how often the services moved at rest."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.ticker import FuncFormatter

from experiments.detection.kinds import KINDS

COLOURS = ("#3b6ea5", "#d1772e", "#4c9a5b", "#8d5aa6", "#b00020", "#6b6b6b", "#c2a83e", "#2f9c95")
FORMATS = ("svg", "png")


def draw(folder: Path, summary: Mapping[str, Any]) -> None:
    """Draw a summary to detection.svg and detection.png."""
    variants = list(summary["variants"])
    kinds = [name for name in summary["options"]["kinds"] if not KINDS[name].stays]
    figure, (times, rests) = plt.subplots(
        1, 2, figsize=(11, 1.6 + 0.5 * max(len(kinds), 5)), width_ratios=(3, 1), layout="constrained"
    )
    bound_ms = summary["options"]["bound_s"] * 1000
    for number, variant in enumerate(variants):
        colour = COLOURS[number % len(COLOURS)]
        shift = (number - (len(variants) - 1) / 2) * 0.8 / max(1, len(variants))
        mine = [one for one in summary["runs"] if one["variant"] == variant and one["kind"] in kinds]
        found = [one for one in mine if one["found_ms"] is not None and not one["early"]]
        missed = [one for one in mine if one["found_ms"] is None and one["late"] and not one["early"]]
        times.plot(
            [one["found_ms"] for one in found],
            [kinds.index(one["kind"]) + shift for one in found],
            "o",
            color=colour,
            markersize=4,
            alpha=0.7,
            label=variant,
        )
        times.plot([bound_ms] * len(missed), [kinds.index(one["kind"]) + shift for one in missed], "x", color=colour)
        loads = summary["variants"][variant]["rest"]
        rests.plot([int(load) for load in loads], [one["an_hour"] or 0 for one in loads.values()], "o-", color=colour)
    times.set_xscale("log")
    times.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    times.set_yticks(range(len(kinds)), kinds)
    times.set_ylim(len(kinds) - 0.5, -0.5)
    times.grid(axis="x", alpha=0.3)
    times.set_xlabel("from the disturbance to the first request elsewhere (ms); x: not found, and requests were late")
    rests.set_xlabel("load at rest (%)")
    rests.set_ylabel("moves an hour")
    rests.set_ylim(bottom=0)
    rests.set_xlim(0, 100)
    figure.legend(*times.get_legend_handles_labels(), loc="outside upper center", ncols=4, frameon=False)
    for name in FORMATS:
        figure.savefig(folder / f"detection.{name}", dpi=120)
    plt.close(figure)
