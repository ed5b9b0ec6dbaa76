"""Pacing of fragments: a burst, then a steady rate. Sans-I/O."""

from __future__ import annotations

BURST = 16
"""Fragments sent without a pause: a quarter of BMv2's egress queue, which several senders share."""
RATE = 8000.0
"""Fragments a second after a burst: what a software switch forwards on one core with room to spare."""


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

    def wait(self) -> float:
        """Seconds from the last `take` until the next fragment may be sent."""
        return max(0.0, (1.0 - self._tokens) / self._rate)
