"""What a switch believes and what it tells: typed values that the session fills and everything else reads."""

from collections import Counter
from dataclasses import dataclass, field
from enum import IntEnum


class Reason(IntEnum):
    """Why the switch changed a service's host or took an instance out (the digest's `reason`)."""

    UNHEARD = 0
    """Never in a digest: the probe found another host than the last digest told."""
    FIRST = 1
    BETTER = 2
    DRAINING = 3
    NOT_READY = 4
    STALE = 5
    GONE = 6
    PINNED = 7
    EVICT_STALE = 8
    EVICT_GONE = 9
    NO_LIVE = 10

    @property
    def moves(self) -> bool:
        """Whether the service's host changed; else only an instance was taken out."""
        return self not in (Reason.EVICT_STALE, Reason.EVICT_GONE, Reason.NO_LIVE)


class MemberStatus(IntEnum):
    """What an instance last said of itself, as the switch keeps it."""

    ABSENT = 0
    READY = 1
    DRAINING = 2
    NOT_READY = 3


@dataclass(frozen=True, slots=True)
class SteeringEvent:
    """A change that the switch told by digest, in the fabric's names."""

    switch: str
    service: str
    reason: Reason
    from_node: str | None
    to_node: str | None
    from_rank: int
    to_rank: int
    switch_time_us: int
    """The switch's own clock; compare only within one switch."""
    node: str | None
    """Whose report decided; None when a packet did."""
    epoch: int
    sequence: int
    heard_ns: int
    """`time.monotonic_ns()` when the controller heard it."""


@dataclass(frozen=True, slots=True)
class MemberState:
    """A probe's answer: one instance as the switch sees it now."""

    service: str
    node: str
    member: int
    status: MemberStatus
    eligible: bool
    rank: int
    age_us: int | None
    """Since its last accepted report; None when there was none."""
    epoch: int
    sequence: int
    sent: int
    """Pieces of work steered to it."""
    host: str | None
    """The service's current host, for `single` and `pinned`."""
    best: str | None
    """The node at the root of the service's tree."""
    best_rank: int
    now_us: int
    """The switch's clock."""


@dataclass(frozen=True, slots=True)
class Count:
    """A switch counter."""

    packets: int
    octets: int


@dataclass(frozen=True, slots=True)
class SwitchCounters:
    """The switch's counters, by the fabric's names; only those that are not zero."""

    steered: dict[tuple[str, str], Count] = field(default_factory=dict)
    """By (service, node)."""
    drops: dict[str, Count] = field(default_factory=dict)
    """By reason."""
    events: dict[str, int] = field(default_factory=dict)
    """What happened, by the program's name for it, whether a digest told it or not."""


@dataclass(slots=True)
class SwitchState:
    """A switch as its session sees it."""

    name: str
    target: str
    """P4Runtime address."""
    connected: bool = False
    """Primary, right pipeline, entries in place."""
    cookie: int | None = None
    """Of the pipeline it runs."""
    error: str | None = None
    """Why it is not connected."""
    connects: int = 0
    """Times the session got this far."""
    pushes: int = 0
    """Times the pipeline had to be pushed."""
    hosts: dict[str, str | None] = field(default_factory=dict)
    """Service -> node that is its host, by the last digest or probe."""
    members: dict[tuple[str, str], MemberState] = field(default_factory=dict)
    """(service, node) -> the last probe's answer."""
    counters: SwitchCounters = field(default_factory=SwitchCounters)
    migrations: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(service, reason) -> how often its host changed from one node to another."""
