"""Which cells there are: a policy, nodes, and how often each node reports."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hitless.steering import policies
from hitless.words import OFF

INTERVALS = (0.2, 1.0, 5.0, 20.0)
"""Between two reports of a node, in service times."""
NODES = {"equal": (1.0,) * 8, "half at half speed": (1.0,) * 4 + (2.0,) * 4}
"""How much longer than on a node of full speed each node takes, by name."""


@dataclass(frozen=True)
class Policy:
    """A policy as the switch is told it. One that does not listen to reports needs one interval only."""

    policy: policies.Policy
    listens: bool = True
    w_queue: int = OFF


POLICIES = {
    "spread": Policy(policies.Spread()),
    "two_choices": Policy(policies.TwoChoices()),
    "stale best": Policy(policies.Single(margin=0, dwell=0), w_queue=0),
    "round_robin": Policy(policies.RoundRobin(), listens=False),
    "random": Policy(policies.Random(), listens=False),
}
UNHEARD_INTERVAL = 5.0
"""At which a policy that does not listen is run, in service times."""


@dataclass(frozen=True)
class Cell:
    """A row of the table."""

    policy: str
    nodes: str
    interval: float | None
    """In service times; None: the policy does not listen to reports."""

    @property
    def name(self) -> str:
        """As a file name."""
        interval = "" if self.interval is None else f"-{self.interval:g}"
        return f"{self.policy}-{self.nodes}{interval}".replace(" ", "-")


def cells(policies: Sequence[str], intervals: Sequence[float]) -> Iterator[Cell]:
    """All cells of these policies and intervals. What is to be compared runs one after the other."""
    for nodes in NODES:
        for interval in intervals:
            yield from (Cell(policy, nodes, interval) for policy in policies if POLICIES[policy].listens)
        yield from (Cell(policy, nodes, None) for policy in policies if not POLICIES[policy].listens)
