"""The picture of a run: latency of every request over time, who served it, and the migration marked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from experiments.migration.records import OK, Request

COLOURS = ("#3b6ea5", "#d1772e", "#4c9a5b", "#8d5aa6")
WINDOW_SHADE = "#f3e3c8"


def draw(path: Path, requests: Sequence[Request], summary: Mapping[str, Any], application: str) -> None:
    """Draw ``application``'s latency over time to a PNG file."""
    shown = [one for one in requests if one.service == application]
    start = min(one.intended_ns for one in requests)
    figure, axes = plt.subplots(figsize=(11, 4.8), layout="constrained")
    nodes = sorted({one.node for one in shown if one.node is not None})
    for colour, node in zip(COLOURS, nodes, strict=False):
        mine = [one for one in shown if one.node == node and one.outcome == OK]
        axes.plot(
            [(one.intended_ns - start) / 1e9 for one in mine],
            [(one.latency_ns or 0) / 1e6 for one in mine],
            ".",
            markersize=3,
            color=colour,
            label=f"served by {node}",
        )
    missing = [(one.intended_ns - start) / 1e9 for one in shown if one.outcome != OK]
    if missing:
        axes.plot(missing, [axes.get_ylim()[1]] * len(missing), "x", color="#b00020", label="lost or failed")
    phases = summary["phases"]
    if phases["trigger_s"] is not None:
        axes.axvspan(phases["trigger_s"], phases["window_end_s"], color=WINDOW_SHADE, zorder=0, label="window")
        axes.axvline(phases["trigger_s"], color="#777777", linestyle=":", label="competing computation starts")
    for number, move in enumerate(one for one in summary["migrations"] if one["service"] == application):
        axes.axvline(move["at_s"], color="#b00020", linewidth=1)
        axes.annotate(
            f"{move['from']} → {move['to']}",
            (move["at_s"], 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(4, -12 * (1 + number % 3)),
            textcoords="offset points",
            color="#b00020",
        )
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(matplotlib.ticker.FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_xlabel("time of intended start (s)")
    axes.set_ylabel("latency from intended start (ms)")
    axes.set_title(
        f"{application}: {summary['requests']} requests, {summary['lost']} lost, {summary['failed']} failed, "
        f"{summary['duplicated']} duplicated ({summary['target']}, {summary['mode']}, steering {summary['steering']})"
    )
    axes.legend(loc="upper right", framealpha=0.9)
    figure.savefig(path, dpi=110)
    plt.close(figure)
