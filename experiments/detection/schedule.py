"""What happens in which order, from a seed alone (pure): the same seed makes the same sequence on any machine."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

LEAD_S = (0.5, 1.5)
"""From the release of the services to the disturbance: no phase of anything is met always alike."""
SLICE_S = 300.0
"""The longest stretch at rest: what compares lies near in time, whatever else the machine does meanwhile."""
SWITCHED_S = 6.0
"""About how long another variant takes to be in effect."""
PLACED_S = 38.0
"""About how long it takes before a rest until the services are where the switch leaves them."""
AROUND_S = 5.5
"""About how long a run takes beside its dwell: its lead, the disturbance, and until all is as it was."""


@dataclass(frozen=True, slots=True)
class Run:
    """One disturbance."""

    number: int
    variant: str
    kind: str
    lead_s: float


@dataclass(frozen=True, slots=True)
class Rest:
    """A stretch without any, at a load in percent of a node's budget."""

    number: int
    variant: str
    load: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Plan:
    """What is wanted."""

    seed: int
    variants: tuple[str, ...]
    kinds: tuple[str, ...]
    runs: int
    """Of each kind in each variant."""
    loads: tuple[int, ...]
    """At rest, in percent."""
    rest_s: float
    """At each load in each variant."""


def steps(plan: Plan) -> Iterator[Run | Rest]:
    """Round after round: in each, every variant in turn, with every kind once in an order of its own."""
    chance = random.Random(plan.seed)
    number = 0
    for _ in range(plan.runs):
        for variant in chance.sample(plan.variants, len(plan.variants)):
            for kind in chance.sample(plan.kinds, len(plan.kinds)):
                number += 1
                yield Run(number, variant, kind, chance.uniform(*LEAD_S))
    slices = max(1, round(plan.rest_s / SLICE_S)) if plan.rest_s > 0 else 0
    for _ in range(slices):
        for variant in chance.sample(plan.variants, len(plan.variants)):
            for load in plan.loads:
                number += 1
                yield Rest(number, variant, load, plan.rest_s / slices)


def seconds(plan: Plan, waits_s: Mapping[str, float]) -> float:
    """About how long all of it takes, by how long the variants wait: for a dwell, for a loop to look."""
    total, before = 0.0, None
    for step in steps(plan):
        total += SWITCHED_S if step.variant != before else 0.0
        total += PLACED_S + step.seconds if isinstance(step, Rest) else AROUND_S + waits_s[step.variant]
        before = step.variant
    return total
