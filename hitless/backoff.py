"""How long to wait before the next attempt at something that failed. Pure."""

from __future__ import annotations


class Backoff:
    """Waits that double from the first to the last: a short fault is over soon, a long one costs the machine little."""

    def __init__(self, first_s: float, last_s: float) -> None:
        """The shortest and the longest wait, in seconds."""
        if not 0 < first_s <= last_s:
            raise ValueError(f"waits from {first_s:g} s to {last_s:g} s, expected 0 < first_s <= last_s")
        self._first_s = first_s
        self._last_s = last_s
        self._next_s = first_s

    def next(self) -> float:
        """Seconds to wait before the next attempt; each call doubles what the following one says."""
        wait_s = self._next_s
        self._next_s = min(2 * wait_s, self._last_s)
        return wait_s

    def reset(self) -> None:
        """The attempt has succeeded: the next failure begins with the shortest wait again."""
        self._next_s = self._first_s
