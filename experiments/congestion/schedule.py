"""What happens in which order, from a seed alone. Pure."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle, islice

STEADY_S = 3.0
"""Before a disturbance: what is measured there is steady."""
LEAD_S = (STEADY_S, STEADY_S + 1.0)
"""From the release of the service to the disturbance: no phase of anything is met always alike."""
DISTURBED_S = 3.0
WINDOW_S = 5.0
"""From the start of the disturbance, whatever is done about it: with the time in which a queue is worked off."""
SETTLED_S = 4.5
"""About how long it takes before a window until all is as it was."""
OVERHEAD_S = 6.0
"""About how long a segment takes beside: the controller starts with another fabric file, the load starts and ends."""


@dataclass(frozen=True, slots=True)
class Plan:
    """`rounds` rounds, in each of which every way meets `windows` disturbances of one kind."""

    seed: int
    ways: tuple[str, ...]
    kinds: tuple[str, ...]
    rounds: int
    windows: int


@dataclass(frozen=True, slots=True)
class Segment:
    """One way in one round. Its place in the run is its number, from 1."""

    number: int
    round: int
    way: str
    kind: str
    leads_s: tuple[float, ...]
    """A disturbance for each; they are those of every way in the round."""


def segments(plan: Plan) -> Iterator[Segment]:
    """The segments of a plan in their order: each round has every way once, and what it meets in common."""
    chance = random.Random(plan.seed)
    kinds = islice(cycle(chance.sample(plan.kinds, len(plan.kinds))), plan.rounds)
    number = 0
    for at, kind in enumerate(kinds, 1):
        leads = tuple(round(chance.uniform(*LEAD_S), 3) for _ in range(plan.windows))
        for way in chance.sample(plan.ways, len(plan.ways)):
            number += 1
            yield Segment(number, at, way, kind, leads)


def seconds(plan: Plan) -> float:
    """About how long all of it takes."""
    window = SETTLED_S + sum(LEAD_S) / 2 + WINDOW_S
    return plan.rounds * len(plan.ways) * (OVERHEAD_S + plan.windows * window)
