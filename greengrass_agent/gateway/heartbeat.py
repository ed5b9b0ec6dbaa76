"""How often a gateway says that its loop turns, and for how long each word of it holds. Pure: time is passed in.

All is measured in idle intervals, which the switch's `stale_after` is measured in too (at least two; four by default).
"""

from __future__ import annotations

from dataclasses import dataclass

RESTING = 10
"""Idle intervals between two heartbeats of a gateway that has nothing to do: each one wakes a process that sleeps."""
LATE = 4
"""Idle intervals that a heartbeat may be late: by default as long as a node may keep silent (`stale_after`), since a
node whose gateway stands still serves nobody, and one that reports too late may just be busy."""


@dataclass(slots=True)
class Heartbeat:
    """One gateway's."""

    interval_ns: int
    """Between two reports at rest: as often does a gateway that has work say that it goes on."""
    next_ns: int = 0
    """When the next heartbeat is due."""
    in_time: bool = True
    """Whether the last one was: a loop that stood still has not yet heard what its workers said meanwhile."""
    _done: int = 0

    def beat(self, now_ns: int, done: int, *, empty: bool) -> int:
        """A heartbeat; returns until when it is believed.

        `done` requests were executed so far, and with `empty` none is here.
        """
        late_ns = LATE * self.interval_ns
        self.in_time = now_ns <= self.next_ns + late_ns
        resting = empty and done == self._done
        self._done = done
        self.next_ns = now_ns + self.interval_ns * (RESTING if resting else 1)
        return self.next_ns + late_ns
