"""What a run of the experiment does, in which order. Pure."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

WARM_UP_S, AFTER_S = 1.0, 0.3
"""Before a segment's first period, with nobody busy, and after its last one."""
OVERHEAD_S = 3.0
"""Of a segment beside, about: programs start, and the client waits for late answers."""
PERIOD_NS = 203_700_000
"""A node is busy for the first half of one. No multiple of a report interval: reports and periods shift."""
INTERVAL_US = 10_000
"""Between two reports of a node."""


@dataclass(frozen=True, slots=True)
class Plan:
    """`rounds` rounds, in each of which every way moves the service `moves` times at `rate` requests a second."""

    seed: int
    ways: Sequence[str]
    rounds: int
    moves: int
    rate: int


@dataclass(frozen=True, slots=True)
class Segment:
    """One way in one round. Its place in the run is its number, from 1."""

    number: int
    round: int
    way: str

    @property
    def name(self) -> str:
        """Of its folder."""
        return f"{self.round:03}-{self.way}"


def segments(plan: Plan) -> Iterator[Segment]:
    """The segments of a plan in their order, which the seed makes: each round has every way once."""
    chance = random.Random(plan.seed)
    number = 0
    for at in range(1, plan.rounds + 1):
        for way in chance.sample(list(plan.ways), len(plan.ways)):
            number += 1
            yield Segment(number, at, way)


def seconds(plan: Plan, period_ns: int) -> float:
    """About how long a segment of a way with this period takes."""
    return length_s(plan, period_ns) + OVERHEAD_S


def length_s(plan: Plan, period_ns: int) -> float:
    """Of the load in it."""
    return WARM_UP_S + plan.moves * period_ns / 1e9 + AFTER_S
