"""Mean and 99th percentile of response times, with 95 % confidence intervals by batch means. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import stdev

import numpy as np

from experiments.policies.trace import Times

WARM_UP = 0.1
"""The share of the requests, the first ones, that is left out: queues start empty."""
BATCHES = 20
STUDENT_T = 2.093
"""Of 95 %, two-sided, with 19 degrees of freedom."""


@dataclass(frozen=True)
class Estimate:
    """A figure and half the width of its 95 % confidence interval."""

    value: float
    half_width: float

    def __str__(self) -> str:
        return f"{self.value:.2f} ± {self.half_width:.2f}"


class TooFew(RuntimeError):
    """Too little was measured; the message says how little."""


@dataclass(frozen=True)
class Figures:
    """What a cell comes to, in service times."""

    mean: Estimate
    p99: Estimate


def figures(responses: Times) -> Figures:
    """Of the requests of a cell in the order of their arrival, the warm-up left out.

    The values are those of all requests. The intervals come from 20 batches of consecutive requests: each is long
    against the time in which a queue forgets, so their figures are nearly independent (Law and Kelton, 9.5.3).
    Raises TooFew.
    """
    steady = responses[int(len(responses) * WARM_UP) :]
    if len(steady) < BATCHES:
        raise TooFew(f"only {len(steady)} requests were answered while nothing held the machine up: no figures of them")
    batches = np.array_split(steady, BATCHES)
    return Figures(
        Estimate(float(np.mean(steady)), half_width([float(np.mean(batch)) for batch in batches])),
        Estimate(float(np.quantile(steady, 0.99)), half_width([float(np.quantile(batch, 0.99)) for batch in batches])),
    )


def half_width(batches: list[float]) -> float:
    """Half the 95 % confidence interval of the mean of `BATCHES` independent values."""
    return STUDENT_T * stdev(batches) / math.sqrt(BATCHES)
