"""What the control plane says about a service, as the decision code reads it: the fabric file in the switch's units."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from controller.fabric_schema import Fabric
from controller.fabric_schema import Pinned as PinnedPolicy
from controller.fabric_schema import Single as SinglePolicy
from controller.policy.rank import OFF, Score

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
class Pinned:
    """The operator's choice, while it lives."""

    member: int


@dataclass(frozen=True, slots=True)
class InstanceSettings:
    """What the control plane says about an instance."""

    generation: int
    path_cost: int = 0


@dataclass(frozen=True, slots=True)
class Settings:
    """What the control plane says about a service. Times in microseconds."""

    policy: Single | Spread | Pinned
    instances: Mapping[int, InstanceSettings]
    """By member."""
    score: Score = field(default_factory=Score)
    stale_after: int = 200_000
    on_no_live: Literal["last", "fallback", "drop"] = "last"


def settings(fabric: Fabric, service: str, pin: str | None = None) -> Settings:
    """A service's settings by the fabric file; `pin` is the node that an operator wants as its host."""
    spec = fabric.services[service]
    chosen = PinnedPolicy(node=pin) if pin is not None else spec.policy.chosen
    policy: Single | Spread | Pinned
    if isinstance(chosen, PinnedPolicy):
        policy = Pinned(spec.instances[chosen.node].member)
    elif isinstance(chosen, SinglePolicy):
        policy = Single(chosen.margin, chosen.dwell_ms * MICROSECONDS)
    else:
        policy = Spread(chosen.load_penalty)
    return Settings(
        policy=policy,
        instances={
            instance.member: InstanceSettings(instance.generation, fabric.nodes[node].path_cost)
            for node, instance in spec.instances.items()
        },
        score=Score(**spec.score.model_dump()),
        stale_after=spec.stale_after_ms * MICROSECONDS,
        on_no_live=spec.on_no_live if isinstance(spec.on_no_live, str) else "fallback",
    )
