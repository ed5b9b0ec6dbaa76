"""A service's settings as the switches and the decision code have them: the fabric file in their units."""

from controller.fabric.schema import Fabric, Fallback
from controller.fabric.shares import shares
from hitless.steering.settings import InstanceSettings, Settings
from hitless.steering.units import US_PER_MS
from hitless.words import OnNoLive


def settings(fabric: Fabric, service: str, pin: str | None = None) -> Settings:
    """A service's settings by the fabric file; `pin` is the node that an operator wants as its host.

    Raises KeyError for a node without an instance.
    """
    spec = fabric.services[service]
    share = shares(fabric)[service]
    fallback = spec.on_no_live.fallback if isinstance(spec.on_no_live, Fallback) else None
    return Settings(
        policy=spec.policy_with(pin),
        instances={
            instance.member: InstanceSettings(instance.generation, fabric.nodes[node].path_cost)
            for node, instance in spec.instances.items()
        },
        score=spec.score,
        affinity=spec.affinity,
        # Draws go over the slots up to the last one that is taken.
        members=max(instance.member for instance in spec.instances.values()) + 1,
        idle_after=spec.idle_after_ms * US_PER_MS,
        stale_after=spec.stale_after_ms * US_PER_MS,
        dead_after=spec.dead_after_ms * US_PER_MS,
        on_no_live=OnNoLive.FALLBACK if isinstance(spec.on_no_live, Fallback) else spec.on_no_live,
        fallback=int(fallback) if fallback is not None else 0,
        first_slot=share.first,
        slots=share.slots,
    )
