"""How often the same message is told: a fault that repeats a hundred times a second is told a few times. Pure."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field

PERIOD_S = 10.0
KINDS = 256
"""Kinds that are told apart; the oldest give way."""


@dataclass(slots=True)
class _Kind:
    began: float
    told: int = 0
    held_back: int = 0


@dataclass(slots=True)
class Repeats:
    """Counts messages by kind: what they say, or where in the code they come from."""

    limit: int
    """Messages of a kind that are told in a period."""
    _kinds: dict[Hashable, _Kind] = field(default_factory=dict)

    def admit(self, kind: Hashable, now: float) -> int | None:
        """Whether one more message is told at time `now` (s): None for no, else how many were held back before it."""
        known = self._kinds.get(kind)
        if known is None or now - known.began >= PERIOD_S:
            held_back = known.held_back if known is not None else 0
            self._kinds.pop(kind, None)
            while len(self._kinds) >= KINDS:
                del self._kinds[next(iter(self._kinds))]
            self._kinds[kind] = _Kind(now, told=1)
            return held_back
        if known.told >= self.limit:
            known.held_back += 1
            return None
        known.told += 1
        return 0
