"""What becomes of parts of a fabric that end by themselves: when each is started again. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from hitless.backoff import Backoff

FIRST_WAIT_S = 0.1
"""Seconds from an end to the start after it; doubled with each end that comes soon, up to `LAST_WAIT_S`."""
LAST_WAIT_S = 10.0
CALM_S = 30.0
"""A part that ran for so many seconds did not end of how it was started: its next end begins with the shortest wait."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A part has ended: tell of it."""

    part: str
    wait_s: float
    """Until it is started again."""
    times: int
    """How often it has ended since the fabric is up."""


@dataclass(frozen=True, slots=True)
class Start:
    """Start a part again."""

    part: str


@dataclass(slots=True)
class _Part:
    started: float
    backoff: Backoff = field(default_factory=lambda: Backoff(FIRST_WAIT_S, LAST_WAIT_S))
    due: float | None = None
    times: int = 0


class Supervision:
    """Decides for all parts of one fabric. Times are seconds of any clock that only goes forward."""

    def __init__(self, now: float) -> None:
        """All parts run as of `now`."""
        self._began = now
        self._parts: dict[str, _Part] = {}

    def look(self, now: float, ended: Collection[str]) -> list[Ended | Start]:
        """What to do about the parts that do not run now."""
        decided: list[Ended | Start] = []
        for name in ended:
            part = self._parts.setdefault(name, _Part(self._began))
            if part.due is None:
                if now - part.started >= CALM_S:
                    part.backoff.reset()
                wait_s = part.backoff.next()
                part.due = now + wait_s
                part.times += 1
                decided.append(Ended(name, wait_s, part.times))
            if now >= part.due:
                part.due, part.started = None, now
                decided.append(Start(name))
        return decided
