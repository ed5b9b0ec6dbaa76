"""A service's settings for the decision code: the fabric file in the switch's units."""

from controller.fabric.schema import Choice, Fabric, Service
from controller.fabric.schema import Pinned as PinnedPolicy
from controller.fabric.schema import Random as RandomPolicy
from controller.fabric.schema import RoundRobin as RoundRobinPolicy
from controller.fabric.schema import Single as SinglePolicy
from controller.fabric.schema import Spread as SpreadPolicy
from controller.fabric.schema import TwoChoices as TwoChoicesPolicy
from hitless.steering.policies import (
    InstanceSettings,
    Pinned,
    Policy,
    Random,
    RoundRobin,
    Settings,
    Single,
    Spread,
    TwoChoices,
)
from hitless.steering.rank import Score

MICROSECONDS = 1000
"""In a millisecond."""


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
