"""How often a gateway says that its loop turns, and for how long each word of it holds. Pure: time is passed in.

All is measured in idle intervals, which the switch's `stale_after` is measured in too (at least two; four by default).
"""

from __future__ import annotations

from dataclasses import dataclass

RESTING = 5
"""Idle intervals between two heartbeats of a gateway that has nothing to do: each one wakes a process that sleeps."""
LATE = 4
"""Idle intervals that a heartbeat may be late: by default as long as a node may keep silent (`stale_after`), since a
node whose gateway stands still serves nobody, and one that reports too late may just be busy."""


@dataclass(slots=True)
class Heartbeat:
    """One gateway's."""

    interval_ns: int
    """Between two reports at rest: as often does a gateway that has work say that it goes on."""
    _done: int = 0

    def beat(self, done: int, *, empty: bool) -> int:
        """Nanoseconds until the next heartbeat: `done` requests were executed so far, and with `empty` none is here."""
        resting = empty and done == self._done
        self._done = done
        return self.interval_ns * (RESTING if resting else 1)

    def holds(self, pause_ns: int) -> int:
        """For how long this heartbeat is believed, where the next one comes after that pause."""
        return pause_ns + LATE * self.interval_ns
