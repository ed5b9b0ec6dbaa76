"""Instances that cannot be reported yet, and when each is tried again. Pure: time is passed in."""

from __future__ import annotations

from dataclasses import dataclass, field

from greengrass_agent.emitter.settings import Add
from hitless.backoff import Backoff
from hitless.saved_key import SavedKey

FIRST_RETRY_S = 0.5
LAST_RETRY_S = 10.0
NS_PER_S = 1_000_000_000


@dataclass(slots=True)
class _Waits:
    added: Add
    sequence: int
    backoff: Backoff = field(default_factory=lambda: Backoff(FIRST_RETRY_S, LAST_RETRY_S))
    again_ns: int = 0


@dataclass(slots=True)
class Waiting:
    """By service."""

    _waiting: dict[str, _Waits] = field(default_factory=dict)

    def put(self, added: Add, now_ns: int, sequence: int) -> bool:
        """An instance could not be reported; whether that is new. It goes on behind `sequence`."""
        new = added.service not in self._waiting
        waits = self._waiting.setdefault(added.service, _Waits(added, sequence))
        waits.again_ns = now_ns + int(waits.backoff.next() * NS_PER_S)
        return new

    def due(self, now_ns: int) -> list[tuple[Add, int]]:
        """Those to try again now, and the sequence numbers that they go on behind."""
        return [(waits.added, waits.sequence) for waits in self._waiting.values() if now_ns >= waits.again_ns]

    def tag(self, service: str, key: SavedKey | None) -> None:
        """An instance will be tagged with another key, if it waits."""
        if (waits := self._waiting.get(service)) is not None:
            waits.added = waits.added.model_copy(update={"key": key})

    def drop(self, service: str) -> bool:
        """An instance waits no more; whether it did."""
        return self._waiting.pop(service, None) is not None
