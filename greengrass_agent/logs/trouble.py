"""When to say that something is not written as it should be, and when that is over. Pure: time is passed in."""

from __future__ import annotations

from dataclasses import dataclass

SETTLED_S = 5.0
"""Trouble is over when there was none for so long, so that what comes and goes is not told each time."""
OVERFLOW = "more comes than is written"


@dataclass(slots=True)
class Trouble:
    """One writer's state: one sentence when it begins to drop, one when it has ended."""

    what: str
    """What is written, for the sentences."""
    dropping: bool = False
    """Whether the beginning was told, and the end not yet."""
    _dropped: int = 0
    """At the last look."""
    _dropped_before: int = 0
    _last: float = 0.0

    def look(self, dropped: int, error: str | None, now: float) -> str | None:
        """What to say at time `now` (s), if anything. `dropped`: bytes so far; `error`: why writing failed just now."""
        troubled = error is not None or dropped > self._dropped
        before, self._dropped = self._dropped, dropped
        if troubled:
            self._last = now
            if self.dropping:
                return None
            self.dropping, self._dropped_before = True, before
            return f"{self.what}: {error or OVERFLOW}: what cannot be kept until it is written is dropped"
        if self.dropping and now - self._last >= SETTLED_S:
            self.dropping = False
            return f"{self.what} is written again; {dropped - self._dropped_before} bytes were dropped"
        return None

    def end(self, dropped: int) -> str | None:
        """What to say when nothing will be written any more."""
        return f"{self.what}: {dropped - self._dropped_before} bytes were dropped at last" if self.dropping else None
