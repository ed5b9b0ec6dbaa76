"""Idle timeouts (specification, "Idle-timeout"): which entries have to be looked at when, and which are then reported.

Pure: time is given, in nanoseconds of any monotonic clock. The data plane only knows when an entry was hit last, so a
timer that runs out means to look: an entry that was hit meanwhile gets the time that is left.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass

from softswitch.p4runtime.keys import EntryId

MIN_TIMEOUT_NS = 10_000_000
"""A shorter timeout counts as this one."""


@dataclass(slots=True, eq=False)
class Timer:
    """Runs for one entry of a table. `since`: nothing before is counted (insertion, the last report)."""

    table: int
    entry: EntryId
    timeout: int
    since: int


class IdleTimers:
    """The timers of all tables."""

    def __init__(self) -> None:
        self._timers: dict[tuple[int, EntryId], Timer] = {}
        self._heap: list[tuple[int, int, Timer]] = []
        self._pushed = 0

    def set(self, table: int, entry: EntryId, timeout_ns: int, now: int) -> None:
        """An entry was written; with 0 it has no timeout. One that keeps its timeout keeps its timer."""
        name = table, entry
        old = self._timers.get(name)
        timeout = max(timeout_ns, MIN_TIMEOUT_NS) if timeout_ns else 0
        if not timeout:
            self._timers.pop(name, None)
        elif old is None:
            self._timers[name] = timer = Timer(table, entry, timeout, now)
            self._push(timer, now + timeout)
        elif old.timeout != timeout:
            self._timers[name] = timer = Timer(table, entry, timeout, old.since)
            self._push(timer, now)

    def due(self, now: int) -> list[Timer]:
        """The timers that have run out. Each is to be handed to `settle`."""
        due = []
        while self._heap and self._heap[0][0] <= now:
            _, _, timer = heapq.heappop(self._heap)
            if self._timers.get((timer.table, timer.entry)) is timer:
                due.append(timer)
        return due

    def settle(self, idle: Mapping[Timer, int], now: int) -> list[Timer]:
        """What `due` has returned, with how long nothing has hit each entry. Returns those whose time is over; all
        begin anew."""
        over = []
        for timer, nanoseconds in idle.items():
            quiet = min(nanoseconds, now - timer.since)
            if quiet >= timer.timeout:
                over.append(timer)
                timer.since, quiet = now, 0
            self._push(timer, now + timer.timeout - quiet)
        return over

    def deadline(self) -> int | None:
        """When `due` will next return something; None while nothing waits."""
        while self._heap:
            due, _, timer = self._heap[0]
            if self._timers.get((timer.table, timer.entry)) is timer:
                return due
            heapq.heappop(self._heap)
        return None

    def _push(self, timer: Timer, due: int) -> None:
        self._pushed += 1
        heapq.heappush(self._heap, (due, self._pushed, timer))
