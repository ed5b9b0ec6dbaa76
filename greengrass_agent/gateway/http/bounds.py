"""What a connection may cost: how long it may keep us waiting, how many there may be, which one gives way. Pure.

Times are seconds of a monotonic clock. A time limit says when the connection ends if nothing happens before; all are
looked at once a second, so that a request costs no timer.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

HEAD_S = 10.0
"""From connecting, or from a request's first byte, to the end of its header section."""
BODY_SILENCE_S = 10.0
"""Without a byte of a body that is not complete."""
BODY_BYTES_A_SECOND = 500
"""The least rate of a body, over all of it, after the first ten seconds."""
BODY_CREDIT_S = 60.0
"""The longest that a fast beginning of a body lets the rest be slower than that."""
IDLE_S = 75.0
"""Between an answer and the next request."""
WRITE_SILENCE_S = 60.0
"""Without a byte that the client takes, while there are some for it."""
LINGER_S = 2.0
"""After the last answer, for the client to read it and to close: closing at once could destroy what it has not read."""
FOREVER = float("inf")

MAX_BODY = 16 * 1024 * 1024
"""Bytes of a request that is handed to the function whole."""
MAX_BUFFERED = 256 * 1024 * 1024
"""Bytes of request bodies that are held for all connections together."""
MAX_CONNECTIONS = 16384
"""Whatever the descriptor limit: each takes some kilobytes."""
RESERVED_DESCRIPTORS = 64
"""Kept for workers and files."""
GIVING_WAY = 64
"""Connections that give way at most when there is one too many, so that looking for them is paid for by that many."""


class BodyClock:
    """When a body that keeps coming too slowly ends its connection."""

    __slots__ = ("_paid_until", "_silent_from")

    def __init__(self, now: float) -> None:
        self._paid_until = now + BODY_SILENCE_S
        self._silent_from = now

    def came(self, count: int, now: float) -> None:
        """Some bytes have come."""
        self._silent_from = now
        self._paid_until = min(self._paid_until + count / BODY_BYTES_A_SECOND, now + BODY_CREDIT_S)

    def resumed(self, now: float) -> None:
        """We have read nothing for a while: what the client did not send then is not its fault."""
        self._silent_from = now
        self._paid_until = max(self._paid_until, now + BODY_SILENCE_S)

    @property
    def due(self) -> float:
        """The time limit as it is now."""
        return min(self._silent_from + BODY_SILENCE_S, self._paid_until)


def connection_bound(descriptors: int, used: int) -> int:
    """How many connections there may be, with a limit of `descriptors` of which some are used."""
    free = descriptors - used
    return max(1, min(MAX_CONNECTIONS, free - min(RESERVED_DESCRIPTORS, free // 4)))


Holder = TypeVar("Holder")
"""Whatever stands for a connection."""


@dataclass(frozen=True, slots=True)
class Held(Generic[Holder]):
    """A connection that may give way, as it has no request under way."""

    holder: Holder
    source: str
    since: float
    """When the client last did something."""
    bytes: int = 0
    """Of a body that is not complete."""


def give_way(held: Iterable[Held[Holder]], of_source: Mapping[str, int], total: int) -> list[Holder]:
    """Which close for new ones: the idlest of the source addresses that have most. `total`: how many there are."""
    count = max(1, min(GIVING_WAY, total // 64))
    first = heapq.nsmallest(count, held, key=lambda one: (-of_source.get(one.source, 0), one.since))
    return [one.holder for one in first]


def give_up_body(held: Iterable[Held[Holder]]) -> Holder | None:
    """Which half-received body is given up for another: of the source that holds most bytes, the one longest silent."""
    bodies = [one for one in held if one.bytes]
    by_source: dict[str, int] = {}
    for one in bodies:
        by_source[one.source] = by_source.get(one.source, 0) + one.bytes
    if not bodies:
        return None
    return min(bodies, key=lambda one: (-by_source[one.source], one.since)).holder
