"""How many workers to keep, when to start another, and when to give up. Pure: times are passed in, in seconds.

A death is *early* when the worker was not ready, or within EARLY_S of it without a request, unless it was told to end.
Three of them in a row, with no request answered by any worker in between, mean that the function cannot serve. What a
request does to its worker says nothing of the next one: otherwise, whoever can send it could end the function.
"""

from __future__ import annotations

from typing import NamedTuple

EARLY_S = 10.0
GIVE_UP_AFTER = 3
FIRST_PAUSE_S = 0.1
LAST_PAUSE_S = 5.0
TOLD_PAUSE_S = 0.5
"""Before a worker is replaced that was told to end: whoever told it may be about to say that fewer are wanted."""


class Life(NamedTuple):
    """What became of a worker."""

    ready_at: float | None
    """When it was warm; None if it never was."""
    answers: int
    """Requests that it has answered."""
    told: bool = False
    """Whether it was told to end."""
    asked: bool = False
    """Whether it was given a request."""


class Pool:
    """The workers of one launch, by process id."""

    def __init__(self, wanted: int) -> None:
        self.wanted = wanted
        """Workers to keep; may be changed at any time. Those beyond it are told to end by whoever gives them work."""
        self.children: set[int] = set()
        self.stopping = False
        """Whether no more are started."""
        self.given_up = False
        """Whether too many died early."""
        self._ending: set[int] = set()
        self._early = 0
        """Deaths in a row."""
        self._pauses = 0
        """Early deaths in a row whatever others answered: how long to wait before the next start."""
        self._answers = 0
        """Requests that all workers had answered at the last early death."""
        self._died_at = 0.0
        """The last early death."""
        self._start_at = 0.0

    def to_start(self, now: float) -> int:
        """How many workers to start now."""
        if self.stopping or self.given_up or now < self._start_at:
            return 0
        return max(0, self.wanted - len(self.children))

    def next_start(self, now: float) -> float | None:
        """When `to_start` will be more than 0, if only time has to pass."""
        if self.stopping or self.given_up or len(self.children) >= self.wanted:
            return None
        return max(now, self._start_at)

    def started(self, pid: int) -> None:
        """A worker was started."""
        self.children.add(pid)

    def postpone(self, now: float) -> None:
        """A worker could not be started: the next one is tried after a pause."""
        self._start_at = now + min(FIRST_PAUSE_S * 2.0**self._pauses, LAST_PAUSE_S)
        self._pauses += 1

    def end(self, pid: int) -> bool:
        """A worker is to be killed. Returns whether it is one of these; its death will not count."""
        if pid in self.children:
            self._ending.add(pid)
        return pid in self.children

    def ended(self, pid: int, life: Life, answers: int, now: float) -> None:
        """A worker has ended; `answers` is what all workers of the pool have answered up to now."""
        self.children.discard(pid)
        killed = pid in self._ending
        self._ending.discard(pid)
        if life.told:
            self._start_at = max(self._start_at, now + TOLD_PAUSE_S)
        if killed or life.told or self.stopping:
            return
        young = life.ready_at is None or (now - life.ready_at < EARLY_S and not (life.asked or life.answers))
        if not young:
            self._early = self._pauses = 0
            return
        if answers > self._answers:
            self._early = 0
        if now - self._died_at > EARLY_S + LAST_PAUSE_S:
            self._pauses = 0
        self._answers, self._died_at = answers, now
        self._early += 1
        self.postpone(now)
        self.given_up = self._early >= GIVE_UP_AFTER

    def stop(self) -> None:
        """Start no more."""
        self.stopping = True
