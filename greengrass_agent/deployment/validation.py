"""Components say whether they take the configuration that they will get. Pure: time is passed in.

AWS IoT Greengrass, "Interact with component configuration": who listens is asked, and must answer in time; one that
refuses, or says nothing, keeps the deployment from being merged.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field


@dataclass(slots=True)
class Validation:
    """The question of one deployment."""

    deadline: float
    """When who has not answered has not taken it (seconds)."""
    _asked: set[str]
    _refused: dict[str, str] = field(default_factory=dict)

    def report(self, component: str, refusal: str | None) -> bool:
        """A component takes its configuration (None), or refuses it with a reason; False: it was not asked."""
        if component not in self._asked:
            return False
        self._asked.discard(component)
        if refusal is not None:
            self._refused[component] = refusal
        return True

    def problem(self, listening: Collection[str], now: float) -> str | None:
        """Why the deployment cannot be merged, for people. Who listens no more has ended, and is not waited for."""
        self._asked &= set(listening)
        if self._refused:
            told = "; ".join(f"{name}: {reason}" for name, reason in sorted(self._refused.items()))
            return f"the new configuration is refused by {told}"
        if self._asked and now >= self.deadline:
            return f"{', '.join(sorted(self._asked))} did not say in time whether the new configuration is taken"
        return None

    @property
    def waits(self) -> bool:
        """Whether a component has not answered yet."""
        return bool(self._asked)
