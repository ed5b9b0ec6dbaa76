"""From the packet rates of a bench's rounds to its summary. Pure: only rates of one round are ever compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any

Round = Mapping[str, float]
"""Packets a second by what was measured: `null`, `null again`, `bmv2`, and the loads on softswitch."""

INSTANCES = {"1 instance": 1, "8 instances": 8, "64 instances": 64}
"""Loads on one service, and how many instances it has."""
REFERENCE = "8 instances"
"""The load that the targets are compared on; it is also the one for one service."""
ALL_SERVICES = "256 services"
"""The load on all services in turn, of 8 instances each but for those of the other loads."""
NULL, NULL_AGAIN, BMV2 = "null", "null again", "bmv2"
MOST_DRIFT = 0.1
"""A run whose null forwarder differs more from itself is invalid."""


def summary(rounds: Sequence[Round]) -> dict[str, Any]:
    """Medians over the rounds, each ratio's worst round beside it (`_worst`: the smallest, or for what should be 1 the
    farthest from it)."""
    drift = ratios(rounds, lambda one: one[NULL_AGAIN] / one[NULL])
    found: dict[str, float] = {"null_vs_null": median(drift), "null_vs_null_worst": farthest(drift)}
    for name, against in (("pps_vs_bmv2", BMV2), ("pps_vs_null", NULL)):
        if all(against in one for one in rounds):
            values = ratios(rounds, lambda one, against=against: one[REFERENCE] / one[against])  # type: ignore[misc]
            found |= {name: median(values), f"{name}_worst": min(values)}
    for name, loads in (("instances", tuple(INSTANCES)), ("services", (REFERENCE, ALL_SERVICES))):
        medians = [median(ratios(rounds, lambda one, load=load: one[load] / one[REFERENCE])) for load in loads]  # type: ignore[misc]
        spreads = ratios(rounds, lambda one, loads=loads: spread([one[load] for load in loads]))  # type: ignore[misc]
        found |= {f"pps_spread_{name}": spread(medians), f"pps_spread_{name}_worst": max(spreads)}
    return {
        "valid": abs(found["null_vs_null"] - 1) <= MOST_DRIFT,
        "softswitch": {name: round(value, 3) for name, value in found.items()},
        "median_pps": {name: round(median(one[name] for one in rounds)) for name in rounds[0]},
        "rounds": [{name: round(rate) for name, rate in one.items()} for one in rounds],
    }


def ratios(rounds: Sequence[Round], of: Callable[[Round], float]) -> list[float]:
    """A ratio of each round."""
    return [of(one) for one in rounds]


def spread(rates: Sequence[float]) -> float:
    """The fastest to the slowest."""
    return max(rates) / min(rates)


def farthest(values: Sequence[float]) -> float:
    """The value farthest from 1, up or down."""
    return max(values, key=lambda value: max(value, 1 / value))
