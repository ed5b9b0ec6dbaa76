"""The steering decision for one service: reports, requests and time in, moves and evictions out.

The executable form of the data plane contract, in the switch's own passes and integers. Pure: time is what the caller
says, microseconds on a 48-bit clock. The reconfiguration path decides with it; the P4 program is compared with it.
"""

from dataclasses import dataclass
from enum import Enum

from controller.policy.arithmetic import U32, U48, elapsed
from controller.policy.rank import LAST_RESORT, NOT_ELIGIBLE, SPREAD_BEST
from controller.policy.reports import Instance, rank
from controller.policy.settings import Pinned, Settings, Single, Spread
from controller.policy.tree import Tree
from controller.status import MemberStatus, Reason
from hitless.report import Report

MAX_DAMPING = 6
"""A dwell is doubled up to 64 times."""
MAX_PASSES = 64
"""A packet goes round so often at most: once for every member that it finds dead."""
RETURN_DWELLS = 10
"""To come back within so many dwells is a return."""


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


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one report, request or look led to."""

    verdict: Verdict
    member: int | None = None
    """Where the request goes."""
    events: tuple[Event, ...] = ()


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
    host: int | None
    best: int | None
    best_rank: int


@dataclass(frozen=True, slots=True)
class _Choice:
    """One pass's wish, before it is checked that the member is alive."""

    member: int
    reason: Reason | None
    overdue: bool
    """The host has not reported for too long."""
    no_live: bool
    """Nobody is eligible, and the choice is not the operator's."""


class ServiceSteering:
    """One service's steering state."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        """Replace it at any time, as a table entry is modified; it counts from the next report or request on."""
        self._instances: dict[int, Instance] = {}
        self._tree = Tree()
        self._host: int | None = None
        self._last: int | None = None
        self._moved = 0
        self._damping = 0

    @property
    def host(self) -> int | None:
        """The member that takes new work under `single` and `pinned`."""
        return self._host

    def report(self, now: int, member: int, report: Report) -> Outcome:
        """A report of a member's node has come."""
        bound = self.settings.instances.get(member)
        if bound is None:
            return Outcome(Verdict.UNBOUND)
        unseen = self._instance(member).accept(now, report, bound.generation)
        if unseen is None:
            return Outcome(Verdict.OLD)
        self._tree.change(member, rank(now, report, unseen, self.settings, bound))
        events: list[Event] = []
        if not isinstance(self.settings.policy, Spread):
            self._settle(now, report, events)
        return Outcome(Verdict.ACCEPTED, events=tuple(events))

    def look(self, now: int) -> tuple[Event, ...]:
        """Find out what a request would, without sending one: for time passing where no requests are seen."""
        events: list[Event] = []
        self._settle(now, None, events)
        return tuple(events)

    def request(self, now: int) -> Outcome:
        """Steer a piece of new work (not one that its affinity keeps where it is)."""
        events: list[Event] = []
        for _ in range(MAX_PASSES + 1):
            choice = self._choose(now, by_report=False)
            member = choice.member
            if choice.no_live:
                if self.settings.on_no_live == "fallback":
                    return Outcome(Verdict.FALLBACK, events=tuple(events))
                if self.settings.on_no_live == "drop" or self._last is None or self._gone(self._last):
                    return Outcome(Verdict.DROPPED, events=tuple(events))
                member = self._last
            elif self._evicted(now, member, None, events):
                continue
            if choice.reason is not None:
                self._move(now, choice.reason, member, None, events)
            self._book(now, member, choice.no_live)
            return Outcome(Verdict.STEERED, member, tuple(events))
        return Outcome(Verdict.DROPPED, events=tuple(events))

    def probe(self, now: int, member: int) -> Probe:
        """What is believed of a member."""
        instance = self._instances.get(member, Instance())
        best = self._tree.best
        return Probe(
            status=instance.status,
            eligible=self._tree.rank(member) != NOT_ELIGIBLE,
            rank=self._tree.rank(member),
            age=elapsed(now, instance.arrival) if instance.generation else None,
            epoch=instance.epoch,
            sequence=instance.sequence,
            sent=instance.sent,
            host=self._host,
            best=best.member if best.rank != NOT_ELIGIBLE else None,
            best_rank=best.rank,
        )

    def _instance(self, member: int) -> Instance:
        return self._instances.setdefault(member, Instance())

    def _settle(self, now: int, report: Report | None, events: list[Event]) -> None:
        """Let the host move if it must, past everyone who turns out dead."""
        for _ in range(MAX_PASSES + 1):
            choice = self._choose(now, by_report=report is not None)
            if choice.no_live or (choice.reason is None and not choice.overdue):
                return
            if self._evicted(now, choice.member, report, events):
                continue
            if choice.reason is not None:
                self._move(now, choice.reason, choice.member, report, events)
            return

    def _choose(self, now: int, *, by_report: bool) -> _Choice:
        best = self._tree.best
        no_live = best.rank == NOT_ELIGIBLE
        policy = self.settings.policy
        if isinstance(policy, Spread):
            return _Choice(best.member, None, False, no_live)
        host = self._host
        held = self._instance(host) if host is not None else Instance()
        late = host is not None and elapsed(now, held.arrival) > self.settings.stale_after
        overdue = late and held.status is not MemberStatus.ABSENT
        if isinstance(policy, Pinned) and self._instance(policy.member).status is not MemberStatus.ABSENT:
            return _Choice(policy.member, Reason.PINNED if host != policy.member else None, overdue, False)
        if no_live:
            return _Choice(host or 0, None, overdue, True)
        reason = None
        if host is None:
            reason = Reason.FIRST
        elif held.status is MemberStatus.ABSENT:
            reason = Reason.STALE if late else Reason.GONE
        elif held.status is MemberStatus.NOT_READY:
            reason = Reason.NOT_READY
        elif by_report:
            reason = self._better(now, host, policy)
        return _Choice(best.member if reason is not None or host is None else host, reason, overdue, False)

    def _better(self, now: int, host: int, policy: Single | Pinned) -> Reason | None:
        """Whether a live host should make room: because it drains, or because another is better and it has dwelt."""
        held, best = self._tree.rank(host), self._tree.best.rank
        if held == LAST_RESORT:
            return Reason.DRAINING if best > LAST_RESORT else None
        if not isinstance(policy, Single) or best <= min(held + policy.margin, U48):
            return None
        dwelt = (now - self._moved) & U48
        return Reason.BETTER if dwelt >= policy.dwell << self._damping & U48 else None

    def _gone(self, member: int) -> bool:
        """No such instance any more, or another one in its slot."""
        bound = self.settings.instances.get(member)
        return bound is None or self._instance(member).generation != bound.generation

    def _evicted(self, now: int, member: int, report: Report | None, events: list[Event]) -> bool:
        """Take a member out if it is gone or stale."""
        instance = self._instance(member)
        if self._gone(member):
            reason = Reason.EVICT_GONE
            instance.generation = 0
        elif elapsed(now, instance.arrival) > self.settings.stale_after:
            reason = Reason.EVICT_STALE
        else:
            return False
        instance.status = MemberStatus.ABSENT
        held = self._tree.rank(member)
        best = self._tree.change(member, NOT_ELIGIBLE)
        successor = best.member if best.rank != NOT_ELIGIBLE else None
        events.append(_event(reason, member, successor, held, best.rank, now, report))
        return True

    def _move(self, now: int, reason: Reason, member: int, report: Report | None, events: list[Event]) -> None:
        """Make a member the host. A return within ten dwells doubles the dwell; any other move for load restores it."""
        before = self._host
        events.append(
            _event(
                reason,
                before,
                member,
                self._tree.rank(before) if before is not None else 0,
                self._tree.rank(member),
                now,
                report,
            )
        )
        if reason is Reason.BETTER and isinstance(self.settings.policy, Single):
            left = self._instance(member).left
            dwell = self.settings.policy.dwell << self._damping
            if left == 0 or (now - left) & U48 >= RETURN_DWELLS * dwell:
                self._damping = 0
            else:
                self._damping = min(self._damping + 1, MAX_DAMPING)
        elif reason in (Reason.FIRST, Reason.PINNED):
            self._damping = 0
        if before is not None:
            self._instance(before).left = now
        self._host = self._last = member
        self._moved = now

    def _book(self, now: int, member: int, no_live: bool) -> None:
        """A piece of new work goes to a member: count it, and under `spread` let it start the next one later."""
        instance = self._instance(member)
        instance.sent = (instance.sent + 1) & U32
        self._last = member
        if not isinstance(self.settings.policy, Spread) or no_live:
            return
        held = self._tree.rank(member)
        if held > LAST_RESORT:
            start = max(SPREAD_BEST - held, now)
            held = SPREAD_BEST - (start + instance.interval) & U48
        self._tree.change(member, held)


def _event(
    reason: Reason, before: int | None, after: int | None, held: int, gained: int, now: int, report: Report | None
) -> Event:
    if report is None:
        return Event(reason, before, after, held, gained, now)
    return Event(reason, before, after, held, gained, now, report.node_id, report.epoch, report.sequence)
