"""The picture of a run, for a paper: latency of each way over the cycle, and rank, queue and CPU beneath."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from experiments.migration import pooled
from experiments.migration.judge import Evidence, Judged, judged_cycles
from experiments.migration.options import APPLICATION, SAID
from experiments.migration.plan import DISTURBED_S

COLOURS = {"in-network": "#0072b2", "reconfiguration": "#d55e00", "unsteered": "#555555"}
"""Told apart by colour-blind eyes too (Okabe and Ito)."""
DASHES = {"in-network": "-", "reconfiguration": "--", "unsteered": ":"}
DISTURBED = "#f0f0f0"
STYLE: Any = {
    "font.size": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "hitless",
    "pdf.fonttype": 42,
}
STRIPS: tuple[tuple[str, Callable[[Evidence, Sequence[Judged], str], pooled.Points]], ...] = (
    ("rank there,\nabove the other", pooled.lead_points),
    ("queue there\n(requests)", pooled.queue_points),
    ("CPU there\n(% of budget)", pooled.cpu_points),
)


def draw(folder: Path, evidence: Evidence, summary: dict[str, Any]) -> Path | None:
    """Draw latency.png, .svg and .pdf; returns the SVG.

    There is none, and older ones are removed, without a disturbance, where the figures would tell of the machine, and
    where no piece of time has the samples for a median.
    """
    paths = [folder / f"latency.{kind}" for kind in ("svg", "pdf", "png")]
    for path in paths:
        path.unlink(missing_ok=True)
    if summary["causes"] or summary["disturb"] == "none":
        return None
    judged = judged_cycles(evidence)
    ways = list(summary["ways"])
    points = {way: pooled.latency_points(evidence, judged, way) for way in ways}
    band, width = pooled.fitting(points.values())
    bins = {way: pooled.bins(mine, band, width) for way, mine in points.items()}
    if not any(one.median is not None for mine in bins.values() for one in mine):
        return None
    with plt.rc_context(STYLE):
        figure, (top, *strips) = plt.subplots(
            1 + len(STRIPS),
            1,
            figsize=(5.6, 6.2),
            sharex=True,
            layout="constrained",
            gridspec_kw={"height_ratios": (4, 1.1, 1.1, 1.1)},
        )
        latency(top, bins)
        top.set_ylabel(f"latency (ms): median, {band[0]:.0%} to {band[1]:.0%}\nin {width * 1000:.0f} ms of start")
        for axes, (label, points_of) in zip(strips, STRIPS, strict=True):
            strip(axes, label, {way: pooled.means(points_of(evidence, judged, way)) for way in ways})
        for axes in (top, *strips):
            axes.axvspan(0, DISTURBED_S, color=DISTURBED, zorder=0, linewidth=0)
            axes.set_xlim(pooled.FROM_S, pooled.TO_S)
        strips[-1].set_xlabel("time from the start of the disturbance (s); shaded: disturbed")
        figure.align_ylabels()
        figure.legend(loc="outside upper center", ncols=len(ways), frameon=False, title=what_is_drawn(summary))
        for path in paths:
            figure.savefig(path, dpi=200, metadata={"Date": None} if path.suffix == ".svg" else None)
        plt.close(figure)
    return paths[0]


def what_is_drawn(summary: dict[str, Any]) -> str:
    """The line above the legend."""
    counted = " + ".join(str(one["counted"]) for one in summary["ways"].values())
    return f"{APPLICATION}, {counted} disturbances, {summary['target']}"


def latency(axes: Any, bins_of_ways: dict[str, list[pooled.Bin]]) -> None:
    """Median and band of each way."""
    said: Mapping[Any, str] = SAID
    for way, bins in bins_of_ways.items():
        told = [one for one in bins if one.median is not None]
        axes.plot(
            [one.at_s for one in told],
            [one.median for one in told],
            DASHES[way],
            color=COLOURS[way],
            label=said[way],
            zorder=3,
        )
        axes.fill_between(
            [one.at_s for one in bins],
            [float("nan") if one.low is None else one.low for one in bins],
            [float("nan") if one.high is None else one.high for one in bins],
            color=COLOURS[way],
            alpha=0.2,
            linewidth=0,
            zorder=2,
        )
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(matplotlib.ticker.LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(matplotlib.ticker.FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(matplotlib.ticker.NullFormatter())


def strip(axes: Any, label: str, lines: dict[str, list[tuple[float, float]]]) -> None:
    """The mean of each way."""
    for way, points in lines.items():
        if points:
            axes.plot(*zip(*points, strict=True), DASHES[way], color=COLOURS[way], zorder=3)
    axes.set_ylabel(label)
