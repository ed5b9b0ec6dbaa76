"""When a trigger fires: five fields as cron has them, or an interval. Pure: times are seconds since 1970."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

_NAMED: Final = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_EVERY = re.compile(r"@every ([1-9][0-9]{0,6})(s|m|h)")
_SECONDS = {"s": 1, "m": 60, "h": 3600}
_LOOKED_AT = 500
"""Times that are counted one by one."""


class ScheduleError(ValueError):
    """No schedule; says what was expected."""


@dataclass(frozen=True, slots=True)
class Every:
    """At the multiples of an interval since 1970, so that all nodes mean the same times."""

    seconds: int

    def next_after(self, at: float) -> float:
        """The first time after another."""
        return float((int(at // self.seconds) + 1) * self.seconds)

    def last_until(self, at: float) -> float:
        """The last time that is not after another."""
        return float(int(at // self.seconds) * self.seconds)


@dataclass(frozen=True, slots=True)
class Cron:
    """At local times.

    Those that the clock leaves out are at the first minute that it has again, those that it has twice are once; where
    minutes or hours begin with a star, it is each time that the clock shows. That is how Debian's cron has it.
    """

    fields: str
    zone: ZoneInfo

    def next_after(self, at: float) -> float:
        """The first time after another."""
        times = CronSim(self.fields, datetime.fromtimestamp(at, self.zone))
        # After the second of two equal local times the first one comes again.
        return next(one for one in (time.timestamp() for time in times) if one > at)

    def last_until(self, at: float) -> float:
        """The last time that is not after another; of those that the clock leaves out none."""
        times = CronSim(self.fields, datetime.fromtimestamp(at + 1, self.zone), reverse=True)
        return next(one for one in (time.timestamp() for time in times) if one <= at)


Schedule = Every | Cron


def zone(name: str) -> ZoneInfo:
    """A time zone of the IANA's database. Raises ScheduleError."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ScheduleError("expected a time zone such as Europe/Berlin, which this machine's tzdata has") from None


def parse(text: str, time_zone: str = "UTC") -> Schedule:
    """The schedule that a text means. Raises ScheduleError."""
    if found := _EVERY.fullmatch(text):
        return Every(int(found[1]) * _SECONDS[found[2]])
    expected = "expected five fields such as */5 * * * *, @hourly to @yearly, or @every with a number of s, m or h"
    fields = _NAMED.get(text, text)
    if len(fields.split()) != 5:
        raise ScheduleError(expected)
    try:
        schedule = Cron(fields, zone(time_zone))
        schedule.next_after(0.0)
    except CronSimError as error:
        raise ScheduleError(f"{expected}: {str(error).lower()}") from None
    except (StopIteration, RuntimeError):
        raise ScheduleError("expected a date that there is") from None
    return schedule


@dataclass(frozen=True, slots=True)
class Passed:
    """Times that have come."""

    last: float
    """The last of them."""
    count: int
    """How many they are, at least."""


def passed(schedule: Schedule, after: float, until: float) -> Passed | None:
    """The times after one time, up to another; None if there are none."""
    last, count, upcoming = after, 0, schedule.next_after(after)
    while upcoming <= until:
        last, count = upcoming, count + 1
        if count >= _LOOKED_AT:
            return Passed(schedule.last_until(until), count)
        upcoming = schedule.next_after(last)
    return Passed(last, count) if count else None


def written(at: float) -> str:
    """A time as RFC 3339 has it, in UTC."""
    return datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")
