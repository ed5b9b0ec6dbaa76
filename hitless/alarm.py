"""One timer of an asyncio loop, for an engine that says when it next has something to do."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

SHORTEST_S = 0.001
"""What the timers of a loop can tell apart."""


class Alarm:
    """Calls `ring` in the running loop, at the earliest time it was set to.

    It may ring early or for nothing, which does an engine no harm: setting it to a later time does not move it.
    """

    def __init__(self, ring: Callable[[], None]) -> None:
        self._ring = ring
        self._handle: asyncio.TimerHandle | None = None
        self._at = math.inf

    def set(self, at: float | None, now: float) -> None:
        """Ring at the time `at` (None: never), by the clock that says `now`; both in seconds."""
        if at is None:
            return
        at = max(at, now + SHORTEST_S)
        if at >= self._at:
            return
        self.cancel()
        self._at = at
        self._handle = asyncio.get_running_loop().call_later(at - now, self._rings)

    def cancel(self) -> None:
        """Ring no more, until it is set again."""
        if self._handle is not None:
            self._handle.cancel()
        self._handle, self._at = None, math.inf

    def _rings(self) -> None:
        self._handle, self._at = None, math.inf
        self._ring()
