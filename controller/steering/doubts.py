"""Whose word is not relied on now, and for how long: what follows from findings about claims. Pure.

Whoever is found out is a last resort for a while: it gets work only when nobody else takes any, and its flows stay.
Without work there is nothing to find out, so it gets a chance when the time is over, which is twice as long with
each relapse.
"""

from dataclasses import dataclass

from controller.steering.claims import Evidence

FIRST_S = 10.0
"""How long the first doubt lasts, in seconds."""
LONGEST_S = 600.0
"""How long one lasts at most."""
FORGOTTEN_S = 600.0
"""Who kept to its word for so long is as good as new."""

Key = tuple[str, str]
"""(service, node)."""


@dataclass(frozen=True, slots=True)
class Doubt:
    """An instance whose word is not relied on."""

    evidence: Evidence
    until: float
    """Seconds, of the caller's clock."""
    length_s: float


class Doubts:
    """The doubts of a fabric."""

    def __init__(self) -> None:
        self._current: dict[Key, Doubt] = {}
        self._past: dict[Key, Doubt] = {}

    @property
    def current(self) -> dict[Key, Doubt]:
        """The doubts that last."""
        return dict(self._current)

    def found(self, now: float, key: Key, evidence: Evidence) -> Doubt | None:
        """Something was found about an instance. The doubt that begins; None if there was one already."""
        if key in self._current:
            return None
        past = self._past.get(key)
        relapse = past is not None and now < past.until + FORGOTTEN_S
        length = min(2 * past.length_s, LONGEST_S) if past is not None and relapse else FIRST_S
        self._current[key] = self._past[key] = doubt = Doubt(evidence, now + length, length)
        return doubt

    def over(self, now: float) -> list[Key]:
        """End the doubts whose time is over; returns whose they were."""
        ended = [key for key, doubt in self._current.items() if doubt.until <= now]
        for key in ended:
            del self._current[key]
        return ended
