"""Which component may start now. Pure.

A component starts when its HARD dependencies are RUNNING or FINISHED (AWS IoT Greengrass, "Component recipe reference",
ComponentDependencies). When one of them is lost and comes back, it starts again; until then it goes on as it can,
since what it does without the other is better than nothing. SOFT dependencies only come first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from hitless.component.states import READY, ComponentState

_NOT_RESTARTED = frozenset({ComponentState.FINISHED, ComponentState.BROKEN})
"""Has done its work, or has failed for reasons of its own before the other was lost."""


@dataclass(slots=True)
class StartOrder:
    """The components of a node, those that are still to be started among them."""

    _needs: Mapping[str, frozenset[str]] = field(default_factory=dict)
    _pending: list[str] = field(default_factory=list)
    """To be started, dependencies first."""
    _lost: list[str] = field(default_factory=list)
    """Running, and to be started again once a dependency is back."""
    _states: dict[str, tuple[ComponentState, str | None]] = field(default_factory=dict)

    def begin(self, needs: Mapping[str, frozenset[str]], pending: Sequence[str]) -> None:
        """Take the components that are to be on the node, by name with those they need, and the ones to start.

        `pending` has dependencies first. What was still to be started is forgotten.
        """
        self._needs, self._pending = needs, list(pending)
        self._states = {name: state for name, state in self._states.items() if name in needs}
        self._lost = [name for name in self._lost if name in needs and name not in pending]

    def changed(self, name: str, state: ComponentState, reason: str | None = None) -> None:
        """A component is in another state."""
        was_ready = self._ready(name)
        self._states[name] = (state, reason)
        if was_ready and state not in READY:
            self._lose(name)

    def next(self) -> str | None:
        """The next component to start, or to start again; call until there is none."""
        name = next((name for name in (*self._pending, *self._lost) if self._waits_for(name) is None), None)
        if name is not None:
            (self._pending if name in self._pending else self._lost).remove(name)
            if self._ready(name):
                self._lose(name)
            # What it was says nothing about the one that starts now.
            self._states.pop(name, None)
        return name

    def pending(self, name: str) -> bool:
        """Whether the component is still to be started, so that its state is not yet that of what it should be."""
        return name in self._pending

    def waits(self, name: str) -> str | None:
        """What the component waits for, for people; None if for nothing."""
        if name not in self._pending and name not in self._lost:
            return None
        needed = self._waits_for(name)
        if needed is None:
            return None
        state, reason = self._states.get(needed, (None, None))
        told = f"{state}: {reason}" if reason else str(state or "not started yet")
        verb = "waits for" if name in self._pending else "starts again with"
        return f"{verb} {needed}, which is {told}"

    def _waits_for(self, name: str) -> str | None:
        return next((needed for needed in sorted(self._needs[name]) if not self._ready(needed)), None)

    def _ready(self, name: str) -> bool:
        return name in self._states and self._states[name][0] in READY and name not in self._pending

    def _lose(self, name: str) -> None:
        for other, needs in self._needs.items():
            state, _ = self._states.get(other, (None, None))
            if name in needs and state not in _NOT_RESTARTED and other not in (*self._pending, *self._lost):
                self._lost.append(other)
