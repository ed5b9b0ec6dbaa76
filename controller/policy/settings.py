"""What the control plane says about a service, as the decision code reads it: the fabric file in the switch's units."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from controller.fabric_schema import Choice, Fabric, Service
from controller.fabric_schema import Pinned as PinnedPolicy
from controller.fabric_schema import Random as RandomPolicy
from controller.fabric_schema import RoundRobin as RoundRobinPolicy
from controller.fabric_schema import Single as SinglePolicy
from controller.fabric_schema import Spread as SpreadPolicy
from controller.fabric_schema import TwoChoices as TwoChoicesPolicy
from controller.policy.rank import OFF, Score
from controller.policy.tree import MEMBERS

MICROSECONDS = 1000
"""In a millisecond."""


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


def settings(fabric: Fabric, service: str, pin: str | None = None) -> Settings:
    """A service's settings by the fabric file; `pin` is the node that an operator wants as its host."""
    spec = fabric.services[service]
    chosen = PinnedPolicy(node=pin) if pin is not None else spec.policy.chosen
    return Settings(
        policy=_policy(chosen, spec),
        instances={
            instance.member: InstanceSettings(instance.generation, fabric.nodes[node].path_cost)
            for node, instance in spec.instances.items()
        },
        score=Score(**spec.score.model_dump()),
        stale_after=spec.stale_after_ms * MICROSECONDS,
        dead_after=spec.dead_after_ms * MICROSECONDS,
        idle_after=spec.idle_after_ms * MICROSECONDS,
        members=max(instance.member for instance in spec.instances.values()) + 1,
        on_no_live=spec.on_no_live if isinstance(spec.on_no_live, str) else "fallback",
    )


def _policy(chosen: Choice, spec: Service) -> Policy:
    match chosen:
        case PinnedPolicy():
            return Pinned(spec.instances[chosen.node].member)
        case SinglePolicy():
            return Single(chosen.margin, chosen.dwell_ms * MICROSECONDS)
        case SpreadPolicy():
            return Spread(chosen.load_penalty)
        case TwoChoicesPolicy():
            return TwoChoices()
        case RoundRobinPolicy():
            return RoundRobin()
        case RandomPolicy():
            return Random()
