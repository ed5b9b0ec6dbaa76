"""The steering decision for one service: reports, requests and time in, moves and evictions out.

The executable form of the data plane contract, in the switch's own passes and integers. Pure: time is what the caller
says, microseconds on a 48-bit clock. The reconfiguration path decides with it; the P4 program is compared with it.
"""

from collections.abc import Callable
from dataclasses import dataclass

from hitless.steering.arithmetic import U32, U48, elapsed
from hitless.steering.draw import Draw, by_chance, first_from, hashed_slot
from hitless.steering.flows import Bucket, Entry, FlowStore, Lookup, Work, keeps
from hitless.steering.outcome import Event, Outcome, Probe, Verdict
from hitless.steering.policies import OneHost, Policy, Shared
from hitless.steering.reports import Instance, rank
from hitless.steering.settings import InstanceSettings, Settings
from hitless.steering.tree import Tree
from hitless.wire.report import Report
from hitless.words import (
    LAST_RESORT,
    LATE_START,
    MAX_DAMPING,
    MAX_RESUBMITS,
    MEMBERS,
    NOT_ELIGIBLE,
    SPREAD_BEST,
    FlowPlace,
    FlowState,
    MemberStatus,
    OnNoLive,
    Reason,
)

RETURN_DWELLS = 10
"""To come back within so many dwells is a return."""


@dataclass(frozen=True, slots=True)
class _Choice:
    """One pass's wish, before it is checked that the member is alive."""

    member: int
    reason: Reason | None = None
    """Why the host moves there, if it does."""
    overdue: bool = False
    """The host has not reported for too long."""
    no_live: bool = False
    """Nobody is eligible, and the choice is not the operator's."""


@dataclass(frozen=True, slots=True)
class _PassFlags:
    """What the last of a request's passes found."""

    no_live: bool
    no_entry: bool
    no_slot: bool
    place: FlowPlace

    def outcome(self, verdict: Verdict, member: int | None, events: list[Event]) -> Outcome:
        return Outcome(verdict, member, tuple(events), self.no_live, self.no_entry, self.no_slot, self.place)


class ServiceSteering:
    """One service's steering state."""

    def __init__(self, settings: Settings, flows: FlowStore | None = None) -> None:
        """`flows` is the switch's; one of its own if None."""
        self.settings = settings
        """Replace it at any time, as a table entry is modified; it counts from the next report or request on."""
        self._flows = flows or FlowStore()
        self._instances: dict[int, Instance] = {}
        self._tree = Tree()
        self._host: int | None = None
        self._last: int | None = None
        self._moved = 0
        self._damping = 0
        self._evidence = 0
        self._since = 0
        self._turn = 0

    @property
    def host(self) -> int | None:
        """The member that takes new work under `single` and `pinned`."""
        return self._host

    def report(self, now: int, member: int, report: Report, bound: InstanceSettings | None = None) -> Outcome:
        """A report of a member's node has come. `bound` is what its binding says where that may differ from `instances`
        (a switch's tables change one by one)."""
        bound = bound or self.settings.instances.get(member)
        if bound is None:
            return Outcome(Verdict.UNBOUND)
        unseen = self._instance(member).accept(now, report, bound)
        if unseen is None:
            return Outcome(Verdict.OLD)
        self._tree.change(member, rank(now, report, unseen, self.settings, bound))
        events: list[Event] = []
        if isinstance(self.settings.policy, OneHost):
            if member == self._host:
                self._weigh(now, member, self.settings.policy)
            self._settle(now, report, events)
        return Outcome(Verdict.ACCEPTED, events=tuple(events))

    def tick(self, now: int) -> tuple[Event, ...]:
        """Find out what a request would, without sending one: for time passing where no requests are seen."""
        events: list[Event] = []
        self._settle(now, None, events)
        return tuple(events)

    def request(
        self, now: int, work: Work | None = None, draw: Draw = by_chance, fits: Callable[[int], bool] = lambda _: True
    ) -> Outcome:
        """Steer a packet. Without `work` its service has no affinity: each packet is new work.

        `draw` draws one of a set of members. `fits` tells whether the path to a member takes so long a packet.
        """
        events: list[Event] = []
        for _ in range(MAX_RESUBMITS + 1):
            lookup = Lookup() if work is None else self._find(now, work)
            flow_member = self._flow_member(now, work, lookup)
            kept = flow_member if flow_member is not None and self._reports(now, flow_member) else None
            hashed = work if work is not None and kept is None and (lookup.slot is None or work.quoted) else None
            choice = self._choose(now, by_report=False, hashed=hashed, draw=draw) if kept is None else _Choice(kept)
            member = choice.member
            flags = _PassFlags(choice.no_live, *_unknown(work, lookup), lookup.place)
            if choice.no_live:
                if self.settings.on_no_live is OnNoLive.FALLBACK:
                    return flags.outcome(Verdict.FALLBACK, None, events)
                if self.settings.on_no_live is OnNoLive.LAST and flow_member is not None:
                    member = kept = flow_member
                    if self._evicted(now, member, None, events, kept=True):
                        continue
                elif self.settings.on_no_live is OnNoLive.DROP or self._last is None or self._gone(self._last):
                    return flags.outcome(Verdict.DROPPED, None, events)
                else:
                    member = self._last
            elif self._evicted(now, member, None, events, kept=kept is not None) or (
                kept is None and hashed is None and self._put_off(now, member)
            ):
                continue
            if choice.reason is not None:
                self._move(now, choice.reason, member, None, events)
            if not fits(member):
                return flags.outcome(Verdict.TOO_BIG, member, events)
            if kept is None and hashed is None:
                self._book(now, member, choice.no_live)
            if work is not None and not work.quoted:
                before = lookup.entry.state if lookup.entry is not None and flow_member is not None else FlowState.FREE
                generation = self._instance(member).generation
                self._flows.write(lookup, now, work, before, member, generation, self.settings.idle_after)
            return flags.outcome(Verdict.STEERED, member, events)
        return flags.outcome(Verdict.EXHAUSTED, None, events)

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
            report=instance.report,
            host=self._host,
            best=best.member if best.rank != NOT_ELIGIBLE else None,
            best_rank=best.rank,
            evidence=self._evidence,
            since=self._since,
        )

    def _instance(self, member: int) -> Instance:
        return self._instances.setdefault(member, Instance())

    def _weigh(self, now: int, host: int, policy: OneHost) -> None:
        """The host has reported: what speaks for another one?"""
        self._evidence = policy.weighed(self._evidence, self._tree.best.rank, self._tree.rank(host))
        if not self._evidence:
            self._since = now

    def _put_off(self, now: int, member: int) -> bool:
        """Whether the start that a member could make had come nearer than the way there is long; it has not any more.

        A start drains between reports, and the way does not: who is nearer may be better by now.
        """
        policy, rank = self.settings.policy, self._tree.rank(member)
        path_cost = self.settings.instances[member].path_cost
        delays = isinstance(policy, Shared) and policy.delays_next_start
        soonest = (now + path_cost) & U48
        if not delays or not path_cost or SPREAD_BEST - rank >= soonest:
            return False
        self._tree.change(member, SPREAD_BEST - soonest)
        return True

    def _settle(self, now: int, report: Report | None, events: list[Event]) -> None:
        """Let the host move if it must, past everyone who turns out dead."""
        for _ in range(MAX_RESUBMITS + 1):
            choice = self._choose(now, by_report=report is not None)
            if choice.no_live or (choice.reason is None and not choice.overdue):
                return
            if self._evicted(now, choice.member, report, events):
                continue
            if choice.reason is not None:
                self._move(now, choice.reason, choice.member, report, events)
            return

    def _find(self, now: int, work: Work) -> Lookup:
        return self._flows.find(now, work, self.settings.share, self.settings.old_share)

    def _flow_member(self, now: int, work: Work | None, lookup: Lookup) -> int | None:
        """The member that the packet's flow has been on, dead or alive, unless another has got its slot since."""
        held: Entry | Bucket | None = lookup.bucket
        if work is not None and lookup.entry is not None and keeps(now, work, lookup.entry):
            held = lookup.entry
        if held is None:
            return None
        return held.member if held.generation == self._instance(held.member).generation else None

    def _reports(self, now: int, member: int) -> bool:
        """Whether it has been silent for less than a flow waits."""
        return elapsed(now, self._instance(member).arrival) <= self.settings.dead_after

    def _choose(self, now: int, *, by_report: bool, hashed: Work | None = None, draw: Draw = by_chance) -> _Choice:
        best = self._tree.best
        no_live = best.rank == NOT_ELIGIBLE
        policy = self.settings.policy
        if not isinstance(policy, OneHost):
            return _Choice(self._share(policy, best.member, hashed, draw), no_live=no_live)
        host = self._host
        held = self._instance(host) if host is not None else Instance()
        late = host is not None and elapsed(now, held.arrival) > self.settings.stale_after
        overdue = late and held.status is not MemberStatus.ABSENT
        wanted = policy.wanted
        if wanted is not None and self._instance(wanted).status is not MemberStatus.ABSENT:
            return _Choice(wanted, Reason.PINNED if host != wanted else None, overdue, False)
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

    def _share(self, policy: Policy, best: int, hashed: Work | None, draw: Draw) -> int:
        """The member for a service without a host: only eligible ones that do not drain, or when all do, the best."""
        eligible = self._tree.eligible
        if not eligible or not isinstance(policy, Shared):
            return best
        if hashed is not None:
            return first_from(eligible, hashed_slot(hashed.key, self.settings.members))
        member = policy.choose(self._tree, self._turn, draw)
        if policy.takes_turns:
            self._turn = (member + 1) % MEMBERS
        return member

    def _better(self, now: int, host: int, policy: OneHost) -> Reason | None:
        """Whether a live host should make room: because it drains or starts new work too late, or because another has
        been better for long enough and it has dwelt."""
        held, best = self._tree.rank(host), self._tree.best.rank
        if held == LAST_RESORT:
            return Reason.DRAINING if best > LAST_RESORT else None
        if held == LATE_START:
            return Reason.LATE_START if best > LATE_START else None
        if not policy.beats(best, held) or self._evidence < policy.enough_evidence:
            return None
        dwelt = (now - self._moved) & U48
        return Reason.BETTER if dwelt >= policy.dwell_when_damped(self._damping) & U48 else None

    def _gone(self, member: int) -> bool:
        """No such instance any more, or another one in its slot."""
        bound = self.settings.instances.get(member)
        return bound is None or self._instance(member).generation != bound.generation

    def _evicted(
        self, now: int, member: int, report: Report | None, events: list[Event], *, kept: bool = False
    ) -> bool:
        """Take a member out if it is gone, or stale and not only keeping its flows."""
        instance = self._instance(member)
        if self._gone(member):
            reason = Reason.EVICT_GONE
            instance.generation = 0
        elif elapsed(now, instance.arrival) > self.settings.stale_after and not kept:
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
        policy = self.settings.policy
        if reason is Reason.BETTER and isinstance(policy, OneHost):
            left = self._instance(member).left
            dwell = policy.dwell_when_damped(self._damping)
            if left == 0 or (now - left) & U48 >= RETURN_DWELLS * dwell & U48:
                self._damping = 0
            else:
                self._damping = min(self._damping + 1, MAX_DAMPING)
        elif reason in (Reason.FIRST, Reason.PINNED):
            self._damping = 0
        if before is not None:
            self._instance(before).left = now
        self._host = self._last = member
        self._moved = self._since = now
        self._evidence = 0

    def _book(self, now: int, member: int, no_live: bool) -> None:
        """A piece of new work goes to a member: count it, and under `spread` let it start the next one later."""
        instance = self._instance(member)
        instance.sent = (instance.sent + 1) & U32
        self._last = member
        held = self._tree.rank(member)
        policy = self.settings.policy
        if not isinstance(policy, Shared) or no_live or not (policy.delays_next_start or held == LAST_RESORT):
            return
        if held > LAST_RESORT:
            start = max(SPREAD_BEST - held, now)
            interval = instance.report.service_interval if instance.report is not None else 0
            held = SPREAD_BEST - (start + interval) & U48
        self._tree.change(member, held)


def _unknown(work: Work | None, lookup: Lookup) -> tuple[bool, bool]:
    """Whether a packet has no entry in mid-flow, or starts a flow that gets no slot."""
    nowhere = work is not None and lookup.slot is None
    starts = work is not None and work.starts
    return nowhere and not starts, nowhere and starts


def _event(
    reason: Reason, before: int | None, after: int | None, held: int, gained: int, now: int, report: Report | None
) -> Event:
    if report is None:
        return Event(reason, before, after, held, gained, now)
    return Event(reason, before, after, held, gained, now, report.node_id, report.epoch, report.sequence)
