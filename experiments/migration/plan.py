"""When the disturbance comes and goes, how often, and in which order the ways to meet it take turns. Pure.

A cycle: every service is put on its first node; when the policy's dwell is over, so that a service may move again, the
competing computation starts and stays for a while. Cycles are short so that many windows pool into one distribution,
and the ways take turns so that whatever else the machine does meets them alike.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from experiments.migration.figures import samples_for
from experiments.migration.options import Way

DWELL_MS = 1000
"""The longest dwell of a run's services: with a longer one a cycle would mostly be waiting."""
SETTLE_S = 0.3
"""From putting the services on their first node until requests count as steady: what was on its way arrives."""
MARGIN_S = 0.1
"""Between the end of the dwell and the earliest start of the disturbance."""
JITTER_S = 0.2
"""The disturbance starts at random within so long, so that no period of the system meets it at the same place."""
DISTURBED_S = 1.3
WINDOW_S = 1.0
"""After the start of the disturbance: the second that the verdict is about."""
REST_S = 0.4
"""From the end of the disturbance to the next cycle."""
ROUND = 6
"""Cycles of a way in a row, at most."""
HEADLINE = 0.99
SPARE = 1.1
"""How many more windows than the quantile needs: some cycles will not count."""


@dataclass(frozen=True)
class Plan:
    """The cycles of a run: rounds in order, each of a way and a number of cycles, and the seconds between its marks."""

    rounds: tuple[tuple[Way, int], ...]
    dwell_s: float

    @property
    def cycles(self) -> int:
        """Of all ways."""
        return sum(number for _, number in self.rounds)

    def trigger_after_s(self, chance: random.Random) -> float:
        """From putting the services on their first node to the start of the disturbance."""
        return self.dwell_s + MARGIN_S + chance.random() * JITTER_S


def cycle_s(dwell_s: float) -> float:
    """How long a cycle lasts, without what the controller takes to move the services back."""
    return dwell_s + MARGIN_S + JITTER_S / 2 + DISTURBED_S + REST_S


def plan(ways: Sequence[Way], duration_s: float, rate: float, dwell_s: float) -> Plan:
    """As many cycles of each way as give its window a 99th percentile at ``rate`` requests a second, or as fit."""
    fitting = max(1, int(duration_s / cycle_s(dwell_s) / len(ways)))
    wanted = math.ceil(samples_for(HEADLINE) * SPARE / (rate * WINDOW_S))
    return Plan(in_turns(ways, min(fitting, wanted)), dwell_s)


def in_turns(ways: Sequence[Way], cycles: int) -> tuple[tuple[Way, int], ...]:
    """Rounds in which the ways take turns, forwards and then backwards, so that a drift of the machine favours none."""
    if len(ways) == 1:
        return ((ways[0], cycles),)
    passes = max(2, 2 * math.ceil(cycles / ROUND / 2)) if cycles > 1 else 1
    sizes = [cycles // passes + (number < cycles % passes) for number in range(passes)]
    row = [
        (way, size) for number, size in enumerate(sizes) for way in (ways if number % 2 == 0 else tuple(reversed(ways)))
    ]
    merged = groupby(row, key=lambda one: one[0])
    return tuple((way, sum(size for _, size in group)) for way, group in merged)


def needed_s(ways: Sequence[Way], rate: float, dwell_s: float) -> float:
    """Seconds of cycles with which the window of each way has its 99th percentile."""
    return math.ceil(samples_for(HEADLINE) * SPARE / (rate * WINDOW_S)) * cycle_s(dwell_s) * len(ways)
