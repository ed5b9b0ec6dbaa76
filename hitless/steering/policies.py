"""What the control plane says about a service, as the decision code reads it: in the switch's units."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from hitless.steering.rank import OFF, Score
from hitless.steering.tree import MEMBERS


@dataclass(frozen=True, slots=True)
class Single:
    """One host at a time."""

    margin: int
    """Rank by which another must be better."""
    dwell: int
    """Microseconds between two moves for load."""


@dataclass(frozen=True, slots=True)
class Spread:
    """The earliest start."""

    load_penalty: int = OFF
    """Left shift of the load into the start time (µs); a large one is off."""


@dataclass(frozen=True, slots=True)
class TwoChoices:
    """The better of two drawn at random, by the start that each reported last."""


@dataclass(frozen=True, slots=True)
class RoundRobin:
    """Each in turn."""


@dataclass(frozen=True, slots=True)
class Random:
    """Any, at random."""


@dataclass(frozen=True, slots=True)
class Pinned:
    """The operator's choice, while it lives."""

    member: int


Policy = Single | Spread | TwoChoices | RoundRobin | Random | Pinned


@dataclass(frozen=True, slots=True)
class InstanceSettings:
    """What the control plane says about an instance."""

    generation: int
    path_cost: int = 0


@dataclass(frozen=True, slots=True)
class Settings:
    """What the control plane says about a service. Times in microseconds."""

    policy: Policy
    instances: Mapping[int, InstanceSettings]
    """By member."""
    score: Score = field(default_factory=Score)
    stale_after: int = 200_000
    dead_after: int = 2_000_000
    """When flows leave a silent instance, too."""
    idle_after: int = 60_000_000
    """When the store forgets a flow."""
    members: int = MEMBERS
    """Slots in use: a draw's range."""
    on_no_live: Literal["last", "fallback", "drop"] = "last"
