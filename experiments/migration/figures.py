"""Quantiles of samples, and None where there are too few for one. Pure."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Mapping, Sequence

QUANTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p999": 0.999}
BEYOND = 10
"""Samples that must lie beyond a quantile: with fewer it is an accident of a few of them."""

DRAWS = 400
"""Of a bootstrap."""

Figures = Mapping[str, float | int | None]
"""`min`, quantiles by name and `max`, each None if not known, and the number of samples `n`."""


def samples_for(quantile: float) -> int:
    """The fewest samples that a quantile is told of."""
    return math.ceil(BEYOND / (1 - quantile) - 1e-6)


def quantile(ordered: list[float], q: float) -> float | None:
    """The value that a share ``q`` of sorted samples does not exceed; None if they are too few to tell."""
    if len(ordered) < samples_for(q):
        return None
    return ordered[min(len(ordered) - 1, max(0, math.ceil(q * len(ordered) - 1e-9) - 1))]


def interval(groups: Sequence[Sequence[float]], q: float) -> tuple[float, float] | None:
    """The 95 % confidence interval of a quantile of samples that come in groups, such as cycles; None of one group.

    A bootstrap of whole groups, since the samples of one are alike: a cycle that went badly is drawn, or is not.
    """
    if len(groups) < 2:
        return None
    chance = random.Random(0)
    found = []
    for _ in range(DRAWS):
        drawn = sorted(value for group in chance.choices(groups, k=len(groups)) for value in group)
        if drawn:
            found.append(drawn[max(0, math.ceil(q * len(drawn) - 1e-9) - 1)])
    found.sort()
    return (found[int(len(found) * 0.025)], found[int(len(found) * 0.975)]) if found else None


def figures(samples: Iterable[float]) -> dict[str, float | int | None]:
    """What can be told of samples; to three decimals."""
    ordered = sorted(samples)
    told: dict[str, float | int | None] = {"min": round(ordered[0], 3) if ordered else None}
    told |= {
        name: None if (value := quantile(ordered, q)) is None else round(value, 3) for name, q in QUANTILES.items()
    }
    told["max"] = round(ordered[-1], 3) if ordered else None
    told["n"] = len(ordered)
    return told


def withheld(of: Figures) -> dict[str, float | int | None]:
    """The same without any figure but the number of samples."""
    return {name: value if name == "n" else None for name, value in of.items()}


def highest_told(rows: Iterable[Figures]) -> str | None:
    """The highest quantile, the 99th percentile at most, that all of these can tell; None if there is none."""
    rows = list(rows)
    for name in ("p99", "p95", "p90", "p50"):
        if rows and all(row["n"] is not None and row["n"] >= samples_for(QUANTILES[name]) for row in rows):
            return name
    return None
