"""Which of a schedule's times a service is called for. Pure: times are seconds since 1970.

What the nodes know together is up to when the times have been dealt with: whoever takes the triggers goes on there.
"""

from __future__ import annotations

from dataclasses import dataclass

from hitless.component.schedule import Schedule, passed

LATE_S = 30.0
"""A time that has passed for longer has been missed."""
AHEAD_S = 60.0
"""A record that is further ahead of the clock is of a clock that was wrong."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing is to be done before this time."""

    until: float


@dataclass(frozen=True, slots=True)
class Fire:
    """Call for this time; those before it are over, too."""

    at: float
    passed_over: int
    """How many those are, at least."""


@dataclass(frozen=True, slots=True)
class Skip:
    """All times up to this one have been missed."""

    at: float
    missed: int
    """How many they are, at least."""


def decide(schedule: Schedule, dealt_with: float, now: float, *, caught_up: bool) -> Wait | Fire | Skip:
    """What to do now, with all times up to `dealt_with` done; `caught_up`: missed ones are called for once."""
    since = now if dealt_with - now > AHEAD_S else dealt_with
    due = passed(schedule, since, now)
    if due is None:
        return Wait(schedule.next_after(since))
    if caught_up or now - due.last <= LATE_S:
        return Fire(due.last, due.count - 1)
    return Skip(due.last, due.count)
