"""What a run showed, in a sentence. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from experiments.migration.options import SAID, UNSTEERED


def verdict(summary: Mapping[str, Any]) -> str:
    """What a run showed, in one sentence."""
    if summary["causes"]:
        return (
            f"INVALID: {'; '.join(summary['causes'])}. Times would tell of the machine: end what else runs on it, or "
            f"use another. Of {summary['requests']:,} requests {losses(summary)}."
        )
    told = summary["headline"]
    if told is None:
        return f"{latency_without_headline(summary)}; of {summary['requests']:,} requests {losses(summary)}."
    times = ", ".join(
        f"{told['ms'][way]:.0f} ms{limits(told['interval_95_ms'][way])} {SAID[way]}"
        for way in SAID
        if way in told["ms"]
    )
    return (
        f"{told['quantile']} in the second after a disturbance: {times}; "
        f"of {summary['requests']:,} requests {losses(summary)}."
    )


def limits(interval: Sequence[float] | None) -> str:
    """A confidence interval in brackets; empty if there is none."""
    return "" if interval is None else f" ({interval[0]:.0f} to {interval[1]:.0f})"


def latency_without_headline(summary: Mapping[str, Any]) -> str:
    """What is said where no window has the samples for a quantile."""
    if summary["disturb"] == "none":
        moves_made = sum(sum(one["undisturbed_moves"].values()) for one in summary["ways"].values())
        return f"nothing disturbed the nodes, and {moves_made} moves were made"
    return "too few requests came after a disturbance for any quantile (a longer DURATION has more)"


def losses(summary: Mapping[str, Any]) -> str:
    """How many requests were lost, failed and duplicated."""
    bound = summary["lost_rate_bound_95"]
    confidence = "" if bound is None else f" (at 95 % confidence fewer than {bound:.2%} are)"
    text = f"{summary['lost']} were lost{confidence}"
    unsteered = summary["ways"].get(UNSTEERED)
    if unsteered is not None and len(summary["ways"]) > 1 and unsteered["lost"]:
        text += f", {unsteered['lost']} of them unsteered"
    for name in ("failed", "duplicated"):
        text += f", {summary[name]} {name}" if summary[name] else ""
    return text


def broken(summary: Mapping[str, Any]) -> bool:
    """Whether a request was lost, failed or was executed twice where something was done about the disturbance."""
    unsteered = summary["ways"].get(UNSTEERED, {"lost": 0, "failed": 0})
    steered = [summary[name] - unsteered[name] for name in ("lost", "failed")]
    return any(steered) or summary["duplicated"] > 0
