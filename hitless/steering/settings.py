"""What the control plane says about a service, as the decision code reads it: in the switch's units."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import ClassVar, Self

from hitless.steering.flows import Share
from hitless.steering.policies import Policy
from hitless.steering.rank import Score
from hitless.words import FLOWS_PER_WAY, MEMBERS, Affinity, OnNoLive


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """How a service is kept together. Times in microseconds."""

    action: ClassVar = "configure"
    """In the program's table `services`; its parameters have the fields' names and order."""

    affinity: Affinity = Affinity.FLOW
    members: int = MEMBERS
    """Slots in use: a draw's range."""
    idle_after: int = 60_000_000
    """When the store forgets a flow."""
    stale_after: int = 200_000
    """When a silent instance gets no new work."""
    dead_after: int = 2_000_000
    """When flows leave a silent instance, too."""
    on_no_live: OnNoLive = OnNoLive.LAST
    fallback: int = 0
    """The IPv4 address to route to under OnNoLive.FALLBACK."""
    first_slot: int = 0
    """Of the service's share in each way of the flow store,"""
    slots: int = FLOWS_PER_WAY
    """and how many follow it."""
    old_first_slot: int = 0
    """The share that it had before, whose flows go on;"""
    old_slots: int = 0
    """no slots: none."""

    @property
    def share(self) -> Share:
        """The service's part of the flow store."""
        return Share(self.first_slot, self.slots)

    @property
    def old_share(self) -> Share:
        """The part that it had before."""
        return Share(self.old_first_slot, self.old_slots)

    @property
    def params(self) -> tuple[tuple[str, int], ...]:
        """The action's parameters."""
        return tuple((one.name, int(getattr(self, one.name))) for one in fields(Configuration))

    @classmethod
    def of(cls, params: Mapping[str, int]) -> Self:
        """What an entry with these parameters says."""
        affinity, on_no_live = Affinity(params["affinity"]), OnNoLive(params["on_no_live"])
        return cls(**{**params, "affinity": affinity, "on_no_live": on_no_live})  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class InstanceSettings:
    """What the control plane says about an instance."""

    generation: int
    path_cost: int = 0
    doubted: bool = False
    """What it reports is not to be relied on: it is a last resort at best, as if it drained."""


@dataclass(frozen=True, slots=True)
class Settings(Configuration):
    """What the control plane says about a service."""

    policy: Policy
    instances: Mapping[int, InstanceSettings]
    """By member."""
    score: Score = field(default_factory=Score)
