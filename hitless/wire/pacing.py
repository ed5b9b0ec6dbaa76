"""Pacing of fragments: a burst, then a steady rate. Sans-I/O."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Generic, TypeVar

from hitless.wire.invocation import Datagram

BURST = 16
"""Fragments sent without a pause: a quarter of BMv2's egress queue, which several senders share."""
RATE = 8000.0
"""Fragments a second after a burst: what a software switch forwards on one core with room to spare."""
_BEYOND_ROUNDING_S = 1e-9


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
    """The messages that wait to leave one socket: whole messages in their order, fragments as the pacer allows."""

    def __init__(self, pacer: Pacer | None = None) -> None:
        self._pacer = pacer or Pacer()
        self._waiting: deque[Sending[Route]] = deque()

    def put(self, datagrams: Sequence[Datagram], route: Route) -> Sending[Route]:
        """Have a message sent when its turn comes."""
        sending = Sending(datagrams, route)
        self._waiting.append(sending)
        return sending

    def take(self, now: float) -> list[tuple[Datagram, Route]]:
        """The datagrams to send at `now`, each with its message's route."""
        taken: list[tuple[Datagram, Route]] = []
        waiting = self._waiting
        while waiting:
            message = waiting[0]
            datagrams, sent, route = message.datagrams, message.sent, message.route
            if left := len(datagrams) - sent:
                granted = self._pacer.take(left, now)
                message.sent = sent + granted
                if granted == 1:
                    taken.append((datagrams[sent], route))
                else:
                    taken += [(datagram, route) for datagram in datagrams[sent : sent + granted]]
                if granted < left:
                    break
            waiting.popleft()
        return taken

    def take_all(self) -> list[tuple[Datagram, Route]]:
        """Everything that waits, whatever the pace: for a socket that is about to be closed."""
        rest = [(datagram, one.route) for one in self._waiting for datagram in one.datagrams[one.sent :]]
        self._waiting.clear()
        return rest

    def next_timer(self) -> float | None:
        """When `take` has something to give; None when nothing waits."""
        return self._pacer.ready_at() if self._waiting else None
