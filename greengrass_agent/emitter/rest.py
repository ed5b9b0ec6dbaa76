"""Whether an instance has something to say. Pure: time is passed in.

An instance at rest is reported seldom: nothing waits or runs there, its numbers are those that the last reports told,
and the shares have hardly changed. Whatever changes is told at the next point of the schedule, and at
each one until nothing has changed for an idle interval: a report may get lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from greengrass_agent.measure.queue_page import QueueNumbers

TOLERANCE = 3
"""Permille by which a share may differ from what was told."""


class Shares(NamedTuple):
    """What a report says in permille."""

    cpu: int
    cpu_own: int
    memory: int
    contention: int


NOTHING = Shares(0, 0, 0, 0)


@dataclass(slots=True)
class Rest:
    """What was told of one instance, and when."""

    interval_ns: int
    """Between two points of the schedule."""
    idle_interval_ns: int
    """Between two reports at rest."""
    resting: bool = False
    """Whether there was nothing new when it was last asked, nor for an idle interval before."""
    _numbers: QueueNumbers | None = None
    _shares: Shares = NOTHING
    _told_ns: int = 0
    _changed_ns: int = 0

    def due(self, numbers: QueueNumbers, shares: Shares, now_ns: int) -> bool:
        """Whether to report these numbers and shares at a point of the schedule."""
        self.resting = now_ns - self._changed_ns >= self._almost_ns and not self._changes(numbers, shares)
        return not self.resting or now_ns >= self.until_ns

    @property
    def until_ns(self) -> int:
        """When it is to be reported again at the latest."""
        return self._told_ns + self._almost_ns

    def told(self, numbers: QueueNumbers, shares: Shares, now_ns: int) -> None:
        """A report has told these."""
        if self._changes(numbers, shares):
            self._changed_ns = now_ns
        self._numbers, self._shares, self._told_ns = numbers, shares, now_ns

    @property
    def _almost_ns(self) -> int:
        # Half an interval less: points are met a little late, now more, now less.
        return self.idle_interval_ns - self.interval_ns // 2

    def _changes(self, numbers: QueueNumbers, shares: Shares) -> bool:
        """Whether there is work, or something else than was told last."""
        if numbers.in_flight or numbers.queue_depth or (numbers is not self._numbers and numbers != self._numbers):
            return True
        return shares != self._shares and any(
            abs(new - told) > TOLERANCE for new, told in zip(shares, self._shares, strict=True)
        )
