"""Which faults the experiment makes, and how long that takes. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from experiments.chaos.kinds import KINDS
from experiments.chaos.schedule import PAUSE_S

CONTROL = "nothing"
"""The kind that does nothing: whatever it costs, this fabric costs without a fault."""
PARTS = ("switch", "controller", "broker", "gateway", "emitter", "agent", "worker", "node")
MADE = (
    CONTROL,
    *(f"{how}-{part}" for part in PARTS for how in ("kill", "freeze")),
    *("flap-link", "full-log-disk", "full-state-disk", "kill-nodes"),
)
"""Of chaos's kinds, in the order of the table."""
SIZES = {"short": 2, "full": 30}
"""Rounds, each of which makes every kind once."""
UP_S, FAULT_S = 25.0, 4.0
"""About how long a fabric takes to come up and go, and a fault takes beside the time that it lasts."""
REST_S = 3.0
"""Between two faults, beside chaos's pause: after an outage of a second TCP sends again up to two seconds later."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is wanted."""

    seed: int
    kinds: tuple[str, ...]
    rounds: int
    udp_per_second: float
    http_per_second: float


@dataclass(frozen=True, slots=True)
class Round:
    """Every kind once, on a fabric that was brought up for it. Its number is from 1."""

    number: int
    seed: int

    @property
    def name(self) -> str:
        """Of its folder."""
        return f"round-{self.number:03}"


def rounds(plan: Plan) -> Iterator[Round]:
    """The rounds in their order, each with a seed of its own, which orders its faults and picks where they hit."""
    for number in range(1, plan.rounds + 1):
        yield Round(number, plan.seed * 10**6 + number)


def round_s(plan: Plan) -> float:
    """About how long a round takes."""
    return UP_S + sum(REST_S + sum(PAUSE_S) / 2 + sum(KINDS[kind].hold_s) / 2 + FAULT_S for kind in plan.kinds)
