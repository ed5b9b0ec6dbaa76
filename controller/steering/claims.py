"""Whether an instance does what its reports claim, by what the switch of its node sees of it. Pure.

What an honest instance says it received over UDP it has answered, with a result or an error, or still has:

    received <= answered + own + held

`received` and `held` (waiting or executed) are its own words, in one report; `answered` is what the switch counted,
`own` the requests that its own node had sent, whose answers stay there, and `held` is at most what its component's
configuration has room for. An instance that draws work and does not do it cannot keep to this: either it confirms what
it gets, and then answers are missing, or it confirms nothing. Of TCP the packets by which a connection is accepted
count as well, so there only an instance is found that does not even accept what it confirms.

What clients send cannot make an honest instance break the rule, since its own words are one side of it and packets
that only its node can send are the other. Answers that get lost on the way to the switch can: so some may always be
missing, and as many more as reports of the same time are missing.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile

from controller.observe.findings import Finding
from hitless.steering.arithmetic import U32

LEAST = 20
"""Pieces of work: about fewer nothing is said."""
CONTRADICTED_S = 3.0
"""Seconds for which answers must be missing while more and more work comes."""
LATE_S = 10.0
"""Seconds for which answers must be missing that come in the end."""
LATE_SHARE = 1 / 10
"""... and the share of what came meanwhile that they are at least."""
UNANSWERED_S = 5.0
"""Seconds in which nothing of what was sent was confirmed or answered."""
TOLERATED = 1 / 8
"""The share of answers that may get lost."""
MOST_TOLERATED = 1 / 2
"""... and at most, however many reports are missing."""
OUTAGE = 2 / 5
"""When so many reports are missing, the link was away: what went unanswered meanwhile is forgiven,"""
OUTAGES = 3
"""... so often in `OUTAGES_S`: who leaps with its sequence is judged all the same."""
OUTAGES_S = 60.0
HALF = 1 << 31
FEWEST_REPORTS = 5
"""By fewer the share that is missing is not estimated."""


@dataclass(frozen=True, slots=True)
class Seen:
    """An instance at one time, by the switch of its node: first what its last report says, then the counters."""

    at: float
    """Seconds, of one clock."""
    ready: bool
    epoch: int
    sequence: int
    received: int
    """It says: pieces of new work that came since its epoch began, modulo 2^32."""
    held: int
    """It says: requests that wait or are executed."""
    sent: int
    """By all switches: pieces of new work, modulo 2^32."""
    steered: int
    """By all switches: packets."""
    own: int
    """By all switches: packets that came from its own node, modulo 2^32. It answers those within itself."""
    answered: int
    """Packets that it sent from its port."""
    reported: int
    """Its reports that were accepted."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a finding rests on."""

    finding: Finding
    seconds: float
    """The time that it is about."""
    sent: int
    received: int
    """What it said that it received of that."""
    answered: int
    """Packets with answers."""
    missing: int
    """Answers that are missing by its own words, or by what was sent if it confirms nothing."""


@dataclass(frozen=True, slots=True)
class _Interval:
    """What came between two looks."""

    begin: float
    sent: int
    received: int
    answered: int
    reported: int
    idle: bool
    """It had nothing to do, by its own words."""
    short: bool
    """Less than half of what it said it had done was answered."""
    missing: float
    """At its end."""


class Claims:
    """Holds one instance's word against what is seen of it."""

    def __init__(self, room: int) -> None:
        """`room`: the most requests that the instance can hold."""
        self._room = room
        self._last: Seen | None = None
        self._before = 0
        """Settled at the look before the last one."""
        self._settled = 0
        """Answered, or its own, since it is looked at."""
        self._settled_before = 0
        """The same when the last report had not been sent yet, for sure."""
        self._steered = 0
        """Between the last two looks."""
        self._unanswered = 0
        """Received less settled since it is looked at; only differences mean something."""
        self._floor = 0.0
        """The most of that which is nobody's fault."""
        self._intervals: deque[_Interval] = deque()
        self._outages: deque[float] = deque()

    def look(self, seen: Seen) -> Evidence | None:
        """Take the next look. Looks should lie a second or so apart."""
        seen = replace(seen, held=min(seen.held, self._room))
        last, self._last = self._last, seen
        if last is None or not _continues(last, seen):
            self._begin(seen)
            return None
        interval = self._interval(last, seen)
        self._intervals.append(interval)
        while len(self._intervals) > 1 and self._intervals[1].begin <= seen.at - max(LATE_S, UNANSWERED_S):
            self._intervals.popleft()
        return self._contradicted(seen) or self._nothing_answered(seen)

    def _begin(self, seen: Seen) -> None:
        self._before = self._settled_before = self._settled = self._steered = 0
        self._unanswered = 0
        self._floor = float(-seen.held)
        self._intervals.clear()

    def _interval(self, last: Seen, seen: Seen) -> _Interval:
        # What no switch sent is none of their business, such as a call within the node.
        steered, before = seen.steered - last.steered, self._steered
        self._steered = steered
        received = min(seen.received - last.received & U32, before + steered)
        answered = seen.answered - last.answered
        settled = answered + (seen.own - last.own & U32)
        reports = seen.sequence - last.sequence & U32
        if reports:
            # It is newer than the report of the last look, whose counters may have been read a little later.
            self._settled_before = self._before
        self._before = self._settled
        self._settled += settled
        self._unanswered += received - settled
        # When the report was sent, answers were missing: at least so many, if all since counted had come before,
        # and at most so many, if none had.
        least = self._unanswered - seen.held
        most = least + self._settled - self._settled_before
        lost = max(0.0, 1 - (seen.reported - last.reported) / reports) if reports >= FEWEST_REPORTS else 0.0
        self._floor += received * min(max(TOLERATED, 2 * lost), MOST_TOLERATED)
        if lost >= OUTAGE and self._forgives(seen.at):
            self._floor = max(self._floor, float(most))
        self._floor = min(self._floor, float(most))
        done = received - (seen.held - last.held)
        return _Interval(
            begin=last.at,
            sent=seen.sent - last.sent & U32,
            received=seen.received - last.received & U32,
            answered=answered,
            reported=seen.reported - last.reported,
            idle=seen.ready and seen.held == 0,
            short=received > 0 and 2 * settled < done,
            missing=least - self._floor,
        )

    def _forgives(self, at: float) -> bool:
        while self._outages and self._outages[0] <= at - OUTAGES_S:
            self._outages.popleft()
        self._outages.append(at)
        return len(self._outages) <= OUTAGES

    def _contradicted(self, seen: Seen) -> Evidence | None:
        """Answers are missing, for so long, and work goes on coming."""
        lacking = _latest(self._intervals, lambda one: one.missing >= LEAST)
        short = _latest(lacking, lambda one: one.short)
        for intervals, seconds, share in ((short, CONTRADICTED_S, 0.0), (lacking, LATE_S, LATE_SHARE)):
            evidence = _evidence(Finding.CONTRADICTED, intervals, seen.at)
            missing = intervals[-1].missing if intervals else 0.0
            if evidence.seconds >= seconds and evidence.received >= LEAST and missing >= share * evidence.received:
                return replace(evidence, missing=int(missing))
        return None

    def _nothing_answered(self, seen: Seen) -> Evidence | None:
        """It reports, and that is all it does."""
        silent = _latest(
            self._intervals, lambda one: one.idle and one.reported > 0 and one.received == 0 and one.answered == 0
        )
        evidence = _evidence(Finding.UNANSWERED, silent, seen.at)
        # What was sent just now may not have come there yet.
        long_ago = sum(one.sent for one in silent if one.begin <= seen.at - UNANSWERED_S / 2)
        if evidence.seconds >= UNANSWERED_S and long_ago >= LEAST:
            return replace(evidence, missing=evidence.sent)
        return None


def _continues(last: Seen, seen: Seen) -> bool:
    """Whether nothing began anew in between: the instance, or a switch and its counters."""
    return (
        seen.epoch == last.epoch
        and seen.at > last.at
        and seen.answered >= last.answered
        and seen.steered >= last.steered
        and seen.reported >= last.reported
        and all(
            after - before & U32 < HALF
            for before, after in (
                (last.sequence, seen.sequence),
                (last.received, seen.received),
                (last.sent, seen.sent),
                (last.own, seen.own),
            )
        )
    )


def _latest(intervals: Sequence[_Interval], holds: Callable[[_Interval], bool]) -> list[_Interval]:
    """The last intervals, in order, back to one for which it does not hold."""
    return list(takewhile(holds, reversed(intervals)))[::-1]


def _evidence(finding: Finding, intervals: Sequence[_Interval], now: float) -> Evidence:
    return Evidence(
        finding=finding,
        seconds=now - intervals[0].begin if intervals else 0.0,
        sent=sum(one.sent for one in intervals),
        received=sum(one.received for one in intervals),
        answered=sum(one.answered for one in intervals),
        missing=0,
    )
