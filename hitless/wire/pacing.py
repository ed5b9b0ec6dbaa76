"""Pacing of fragments: a burst, then a steady rate. Sans-I/O."""

from __future__ import annotations

import sys
from collections import OrderedDict, deque
from collections.abc import Hashable, Sequence
from itertools import count
from typing import Generic, TypeVar

from hitless.wire.fair import FairStore
from hitless.wire.invocation import Datagram

BURST = 16
"""Fragments sent without a pause: a quarter of BMv2's egress queue, which several senders share."""
RATE = 8000.0
"""Fragments a second after a burst: what a software switch forwards on one core with room to spare."""
_BEYOND_ROUNDING_S = 1e-9
_MESSAGE_BYTES = 384
"""What a message that waits takes beside its datagrams."""
_DATAGRAM_BYTES = 224
"""What a datagram takes beside its bytes, at most."""
_EMPTY_TURNS = 64
_FRESH = 64
"""Messages that may be put before they wait with the others."""


class Pacer:
    """A token bucket over the fragments of one socket."""

    def __init__(self, burst: int = BURST, rate: float = RATE) -> None:
        if burst < 1 or rate <= 0:
            raise ValueError(f"burst is {burst} and rate {rate}, expected a burst of at least 1 and a positive rate")
        self._burst = burst
        self._rate = rate
        self._tokens = float(burst)
        self._updated = float("-inf")

    def take(self, wanted: int, now: float) -> int:
        """How many of `wanted` fragments may be sent at `now` (seconds, a clock that does not step)."""
        self._tokens = min(self._burst, self._tokens + (now - self._updated) * self._rate)
        self._updated = now
        granted = min(wanted, int(self._tokens))
        self._tokens -= granted
        return granted

    def ready_at(self) -> float:
        """When the next fragment may be sent, by the clock of `take`."""
        return self._updated + max(0.0, (1.0 - self._tokens) / self._rate) + _BEYOND_ROUNDING_S


Route = TypeVar("Route")
"""Where a message goes, as its sender describes it."""


class Sending(Generic[Route]):
    """A message on its way out of an Outbox."""

    __slots__ = ("datagrams", "route", "sent")

    def __init__(self, datagrams: Sequence[Datagram], route: Route) -> None:
        self.datagrams = datagrams
        self.route = route
        self.sent = 0
        """How many of the datagrams have left."""

    @property
    def done(self) -> bool:
        """Whether nothing of it waits any more."""
        return self.sent >= len(self.datagrams)

    def cancel(self) -> None:
        """Send nothing more of it."""
        self.datagrams = ()


class Outbox(Generic[Route]):
    """The messages that wait to leave one socket, as the pacer allows.

    To one destination they leave whole and in their order; several destinations have their turns by datagram, so that
    what waits for one does not delay another. Beyond `max_bytes`, the oldest message for the destination for which most
    waits is given up (FairStore).
    """

    def __init__(self, pacer: Pacer | None = None, max_bytes: int = sys.maxsize) -> None:
        self._pacer = pacer or Pacer()
        self._fresh: deque[tuple[Sending[Route], Hashable]] = deque()
        """Put lately, with their destinations: most leave with the next `take`."""
        self._waiting: FairStore[Sending[Route]] = FairStore(max_bytes)
        self._numbers = count()
        self._turns: OrderedDict[Hashable, None] = OrderedDict()
        """Destinations for which something waits; whose turn it is comes first."""

    @property
    def size(self) -> int:
        """Bytes that all takes that waits."""
        return self._waiting.size

    def put(self, datagrams: Sequence[Datagram], route: Route, destination: Hashable = None) -> Sending[Route]:
        """Have a message sent when its turn comes among those to its destination, and of that among the others."""
        sending = Sending(datagrams, route)
        self._fresh.append((sending, destination))
        if len(self._fresh) > _FRESH:
            self._settle()
        return sending

    def take(self, now: float) -> list[tuple[Datagram, Route]]:
        """The datagrams to send at `now`, each with its message's route."""
        taken: list[tuple[Datagram, Route]] = []
        fresh = self._fresh
        if not self._turns:
            # The usual case: small messages that leave at once.
            while fresh and (size := len(fresh[0][0].datagrams)) <= 1 and self._pacer.take(size, now) == size:
                message = fresh.popleft()[0]
                taken += [(datagram, message.route) for datagram in message.datagrams]
                message.sent = 1
        if fresh:
            self._settle()
        turns, waiting = self._turns, self._waiting
        while turns:
            destination = next(iter(turns))
            kept = waiting.oldest_of(destination)
            if kept is None:
                del turns[destination]
                continue
            message = kept.value
            datagrams, sent, route = message.datagrams, message.sent, message.route
            left = len(datagrams) - sent
            wanted = left if len(turns) == 1 else min(left, 1)
            granted = self._pacer.take(wanted, now) if wanted > 0 else 0
            if granted == 1:
                taken.append((datagrams[sent], route))
            elif granted:
                taken += [(datagram, route) for datagram in datagrams[sent : sent + granted]]
            message.sent = sent + granted
            if granted < wanted:
                break
            if message.done:
                waiting.remove(kept)
            turns.move_to_end(destination)
        return taken

    def take_all(self) -> list[tuple[Datagram, Route]]:
        """Everything that waits, whatever the pace: for a socket that is about to be closed."""
        self._settle()
        rest = []
        while (kept := self._waiting.oldest()) is not None:
            self._waiting.remove(kept)
            rest += [(datagram, kept.value.route) for datagram in kept.value.datagrams[kept.value.sent :]]
        self._turns.clear()
        return rest

    def next_timer(self) -> float | None:
        """When `take` has something to give; None when nothing waits."""
        return self._pacer.ready_at() if self._turns or self._fresh else None

    def _settle(self) -> None:
        """What was put lately waits with the others."""
        waiting = self._waiting
        for sending, destination in self._fresh:
            size = _MESSAGE_BYTES + len(sending.datagrams) * _DATAGRAM_BYTES + sum(map(len, sending.datagrams))
            waiting.add(destination, next(self._numbers), sending, size)
            self._turns[destination] = None
            while (gone := waiting.give_way()) is not None:
                gone.value.cancel()
        self._fresh.clear()
        if len(self._turns) > 2 * len(waiting) + _EMPTY_TURNS:
            self._turns = OrderedDict.fromkeys(one for one in self._turns if waiting.oldest_of(one) is not None)
