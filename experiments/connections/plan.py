"""The ways for a service to leave a node, and what a run does in which order. Pure."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

WINDOW_S = 8.0
"""From a move to the next one: longer than a download takes."""
WARM_UP_S = 5.0
"""Until the first move of a segment: connections are open, and downloads at every stage."""
OVERHEAD_S = 5.0
"""Of a segment beside, about."""
WAYS: Mapping[str, str] = {
    "migrate": "the operator migrates the service to the other node, at the switch",
    "drain": "the operator drains the instance, at the switch",
    "haproxy": "HAProxy's server is drained, and the other one made ready (runtime API)",
    "caddy": "Caddy gets a configuration with the other node (reload)",
}


@dataclass(frozen=True, slots=True)
class Plan:
    """`rounds` rounds, in each of which the service leaves its node `moves` times by every way."""

    seed: int
    ways: tuple[str, ...]
    rounds: int
    moves: int


@dataclass(frozen=True, slots=True)
class Segment:
    """One way in one round. Its place in the run is its number, from 1."""

    number: int
    round: int
    way: str


def segments(plan: Plan) -> Iterator[Segment]:
    """The segments of a plan in their order, which the seed makes: each round has every way once."""
    chance = random.Random(plan.seed)
    number = 0
    for at in range(1, plan.rounds + 1):
        for way in chance.sample(plan.ways, len(plan.ways)):
            number += 1
            yield Segment(number, at, way)


def seconds(plan: Plan) -> float:
    """About how long it takes."""
    return plan.rounds * len(plan.ways) * (WARM_UP_S + plan.moves * WINDOW_S + OVERHEAD_S)
