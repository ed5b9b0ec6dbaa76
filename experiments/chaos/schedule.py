"""Which fault comes next, from a seed alone (pure): the same seed makes the same sequence on any machine."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from experiments.chaos.kinds import KINDS

PAUSE_S = (0.5, 1.5)
"""Between the recovery of one fault and the next: quiet enough that each loss has one cause."""


@dataclass(frozen=True, slots=True)
class Planned:
    """A fault to come. `node` and `target` (0 to 1) pick among whatever there is when its time has come."""

    number: int
    kind: str
    pause_s: float
    hold_s: float
    node: float
    target: float
    seed: int
    """For what the fault itself draws, such as hostile datagrams."""


def plan(seed: int, kinds: Sequence[str] = tuple(KINDS)) -> Iterator[Planned]:
    """Faults without end: round after round, each kind once a round, in an order of its own."""
    chance = random.Random(seed)
    number = 0
    while True:
        for kind in chance.sample(kinds, len(kinds)):
            number += 1
            yield Planned(
                number,
                kind,
                chance.uniform(*PAUSE_S),
                chance.uniform(*KINDS[kind].hold_s),
                chance.random(),
                chance.random(),
                chance.getrandbits(32),
            )


def pick(share: float, choices: Sequence[str]) -> str:
    """The choice at this share (0 to 1) of the way through them."""
    return choices[min(int(share * len(choices)), len(choices) - 1)]
