"""What a switch believes and what it tells: typed values that the session fills and everything else reads."""

from collections import Counter
from dataclasses import dataclass, field

from controller.switches.shares import ShareGauge
from hitless.steering.outcome import MOVES
from hitless.wire.report import Report
from hitless.words import FlowPlace, MemberStatus, Reason

UNHEARD = "UNHEARD"
"""Of a change that no digest told: the switch's probe shows another host than the last digest did."""


def reason_name(reason: Reason | None) -> str:
    """A change's reason as events and counters name it."""
    return UNHEARD if reason is None else reason.name


@dataclass(frozen=True, slots=True)
class SteeringEvent:
    """A change that the switch told by digest, or that its probes show and no digest told, in the fabric's names."""

    switch: str
    service: str
    reason: Reason | None
    """None: no digest was heard, but the probe tells of another host than the last digest did."""
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

    @property
    def moves(self) -> bool:
        """Whether the service's host changed; else only an instance was taken out."""
        return self.reason is None or self.reason in MOVES


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
    own: int
    """Packets steered to it that its own node had sent: it answers those within itself, unseen."""
    received: int
    """By its last report: pieces of new work that came since its epoch began."""
    held: int
    """By its last report: requests that wait or are executed."""
    host: str | None
    """The service's current host, for `single` and `pinned`."""
    best: str | None
    """The node at the root of the service's tree."""
    best_rank: int
    now_us: int
    """The switch's clock."""
    report: Report
    """Its last accepted report, as far as the switch remembers it: what its rank is made of."""
    evidence: int
    """For another host of the service, under `single`,"""
    lasted_us: int
    """... and for how long there has been any."""


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
    answered: dict[tuple[str, str], Count] = field(default_factory=dict)
    """By (service, node) of those behind this switch: what they sent from their ports."""
    reported: dict[tuple[str, str], int] = field(default_factory=dict)
    """By (service, node) of those behind this switch: reports accepted."""
    newcomers: dict[str, dict[FlowPlace, int]] = field(default_factory=dict)
    """By service: the flows that began, by the place that its share of the flow store had for them."""


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
    behind: dict[tuple[str, str], MemberState] = field(default_factory=dict)
    """(service, node) -> the last probe's answer, of the instances behind this switch, whoever steers to them. The
    counters were read after it."""
    polled_at: float = 0.0
    """`time.monotonic()` when the last poll was complete; 0 before the first."""
    migrations: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(service, reason) -> how often its host changed from one node to another."""
    shares: dict[str, ShareGauge] = field(default_factory=dict)
    """Service -> how full its share of the flow store is."""
