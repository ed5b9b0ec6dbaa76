"""Components put an update off: when to tell them of it, how long to wait, when to go on. Pure: time is passed in.

AWS IoT Greengrass, "Interact with component lifecycle": each component that listens has a time to answer; the longest
wait that one asks for counts, and after it all are told and asked again. Who does not answer in time is not waited for.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from enum import Enum, auto


class Step(Enum):
    """What is to be done now."""

    ASK = auto()
    """Tell every component that listens."""
    WAIT = auto()
    """Until a component answers or leaves, or the deadline passes."""
    GO = auto()
    """The update may begin."""


@dataclass(slots=True)
class Deferral:
    """One update."""

    timeout_s: float
    """How long a component may take to answer, each time that it is asked."""
    deadline: float = 0.0
    """When to take the next step if nothing happens; what counts while it says WAIT."""
    _asked: bool = False
    _unanswered: set[str] = field(default_factory=set)
    _put_off_until: float | None = None
    """The latest that a component has asked for since all were told."""

    def step(self, listening: Collection[str], now: float) -> Step:
        """What to do at time `now` (seconds), with the components that listen. Each ASK is taken as done."""
        if self._asked:
            self._unanswered &= set(listening)
            if self._unanswered and now < self.deadline:
                return Step.WAIT
            # Who has not answered by now has had its time.
            self._unanswered.clear()
            if self._put_off_until is None:
                return Step.GO
            if now < self._put_off_until:
                self.deadline = self._put_off_until
                return Step.WAIT
        if not listening:
            return Step.GO
        self._asked, self._unanswered, self._put_off_until = True, set(listening), None
        self.deadline = now + self.timeout_s
        return Step.ASK

    def answer(self, component: str, recheck_after_s: float, now: float) -> bool:
        """A component is ready (0), or wants to be asked again after so many seconds; False: too late, or twice."""
        if component not in self._unanswered:
            return False
        self._unanswered.discard(component)
        if recheck_after_s > 0:
            self._put_off_until = max(self._put_off_until or now, now + recheck_after_s)
        return True
