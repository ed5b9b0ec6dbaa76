"""What is done with one event, step by step, so that what its trigger says of delivery is true. Pure.

To *settle* an event is to let go of it for good: a message is acknowledged to the broker, a point in time is written
down. At least once, that comes last, and what is not settled comes again, here or on another node; at most once, it
comes first, and what is not called then never is.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum, auto

from hitless.backoff import Backoff
from hitless.component.triggers import ATTEMPTS, Trigger

FIRST_PAUSE_S, LAST_PAUSE_S = 0.5, 30.0
"""Between two attempts."""


class Outcome(Enum):
    """What became of an event."""

    DONE = auto()
    """The service has answered below 500."""
    DROPPED = auto()
    """It was given up."""
    BURIED = auto()
    """It was given up, and is on the dead-letter topic."""
    LEFT = auto()
    """It is not ours any more: the broker is gone, or another node has taken the triggers."""


@dataclass(frozen=True, slots=True)
class Settle:
    """Let go of it; say `settled`."""


@dataclass(frozen=True, slots=True)
class Call:
    """Call the service; say `answered`."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait so many seconds; say `waited`."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Bury:
    """Publish it on the dead-letter topic, with the reason; say `buried`."""

    reason: str


@dataclass(frozen=True, slots=True)
class End:
    """There is nothing more to do."""

    outcome: Outcome
    reason: str | None = None
    """Why it was given up."""


Step = Settle | Call | Wait | Bury | End


class Progress:
    """One event of a trigger."""

    def __init__(self, trigger: Trigger) -> None:
        self._first = trigger.delivery == "at_most_once"
        """Whether it is settled first."""
        self._left = 1 if self._first else trigger.attempts or ATTEMPTS
        self._buries = trigger.dead_letter is not None
        self._backoff = Backoff(FIRST_PAUSE_S, LAST_PAUSE_S)
        self._settled = False
        self._outcome = Outcome.DONE
        self._reason: str | None = None

    def begin(self) -> Step:
        """The first step."""
        return Settle() if self._first else Call()

    def refused(self, reason: str) -> Step:
        """The first step with what cannot be an event at all."""
        self._left = 0
        self._reason = reason
        return Settle() if self._first else self._given_up()

    def settled(self, done: bool) -> Step:
        """It has been let go of, or could not be."""
        if not done:
            return End(Outcome.LEFT)
        self._settled = True
        if not self._first:
            return End(self._outcome, self._reason)
        return Call() if self._left else self._given_up()

    def answered(self, failure: str | None) -> Step:
        """The service has done its part, or has failed."""
        self._left -= 1
        if failure is None:
            return self._ended(Outcome.DONE)
        self._reason = failure
        return Wait(self._backoff.next()) if self._left else self._given_up()

    def waited(self) -> Step:
        """The pause is over."""
        return Call() if self._left else self._given_up()

    def buried(self, done: bool) -> Step:
        """It is on the dead-letter topic, or could not be put there. At least once, that is tried until it is."""
        if done:
            return self._ended(Outcome.BURIED)
        return self._ended(Outcome.DROPPED) if self._first else Wait(self._backoff.next())

    def _given_up(self) -> Step:
        return Bury(self._reason or "") if self._buries else self._ended(Outcome.DROPPED)

    def _ended(self, outcome: Outcome) -> Step:
        self._outcome = outcome
        if outcome is Outcome.DONE:
            self._reason = None
        return End(outcome, self._reason) if self._settled else Settle()


class InOrder:
    """Acknowledgements in the order in which the messages came, as MQTT wants them (MQTT 5, 4.6)."""

    def __init__(self) -> None:
        self._waiting: deque[int] = deque()
        self._settled: set[int] = set()

    def came(self, number: int) -> None:
        """A message came."""
        self._waiting.append(number)

    def settle(self, number: int) -> list[int]:
        """A message has been dealt with; returns those that are to be acknowledged now."""
        self._settled.add(number)
        ready = []
        while self._waiting and self._waiting[0] in self._settled:
            ready.append(self._waiting.popleft())
            self._settled.discard(ready[-1])
        return ready
