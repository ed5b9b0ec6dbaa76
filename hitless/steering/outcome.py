"""What a report, a request or the passing of time leads to, as values."""

from dataclasses import dataclass
from enum import Enum

from hitless.wire.report import Report
from hitless.words import FlowPlace, MemberStatus, Reason

MOVES = frozenset(
    (
        Reason.FIRST,
        Reason.BETTER,
        Reason.DRAINING,
        Reason.NOT_READY,
        Reason.STALE,
        Reason.GONE,
        Reason.PINNED,
        Reason.LATE_START,
    )
)
"""Why a service's host changes."""
EVICTIONS = frozenset((Reason.EVICT_STALE, Reason.EVICT_GONE))
"""Why an instance is taken out."""


@dataclass(frozen=True, slots=True)
class Event:
    """A move of the host, or an eviction; a digest's content. Ranks are those that decided."""

    reason: Reason
    from_member: int | None
    to_member: int | None
    from_rank: int
    to_rank: int
    time: int
    """When the report or packet came that caused it (µs)."""
    node_id: int = 0
    """Of the report that decided, as are epoch and sequence; zero when a packet or time did."""
    epoch: int = 0
    sequence: int = 0

    @property
    def moves(self) -> bool:
        """Whether the service's host changed; else only an instance was taken out."""
        return self.reason in MOVES


class Verdict(Enum):
    """What becomes of a report or a request."""

    ACCEPTED = "accepted"
    """The report counts."""
    UNBOUND = "unbound"
    """The report is of no instance of this service."""
    OLD = "old"
    """The report is not newer than the last one."""
    STEERED = "steered"
    """The request goes to the member."""
    FALLBACK = "fallback"
    """No live instance: the request goes to the service's fallback address."""
    DROPPED = "dropped"
    """No live instance, and nowhere to go."""
    TOO_BIG = "too big"
    """The request does not fit through the tunnel to the member."""
    EXHAUSTED = "exhausted"
    """The request found an instance dead on each of its rounds."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one report or request led to."""

    verdict: Verdict
    member: int | None = None
    """Where the request goes."""
    events: tuple[Event, ...] = ()
    no_live: bool = False
    """The request met nobody eligible."""
    no_entry: bool = False
    """It belongs to a flow that the store does not know."""
    no_slot: bool = False
    """It starts a flow, and its service's share of the store is full where it hashes."""
    place: FlowPlace = FlowPlace.NONE
    """What a flow that begins has found there."""


@dataclass(frozen=True, slots=True)
class Probe:
    """What is believed of an instance: the switch's answer to a probe."""

    status: MemberStatus
    eligible: bool
    rank: int
    age: int | None
    """Microseconds since the last accepted report; None when there is none."""
    epoch: int
    sequence: int
    sent: int
    report: Report | None
    """The last accepted one."""
    host: int | None
    best: int | None
    best_rank: int
    evidence: int
    """For another host, under `single`,"""
    since: int
    """... and when there was none, the last time (µs)."""
