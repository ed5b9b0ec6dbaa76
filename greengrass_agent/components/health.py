"""What keeps an instance from being ready although its component runs. Pure: what was seen is passed in.

The emitter sees a gateway that stands still, the gateway workers that take no work, and a health check whether the way
through both of them to the handler is open.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Health:
    """Of one instance."""

    silent: bool = False
    """Whether its gateway stands still."""
    stalled: bool = False
    """Whether work waits and no worker takes any."""
    failed: int = 0
    """Health checks in a row that failed."""
    failing: str | None = None
    """Why the last ones failed, once there were as many as it takes; None: they do not fail."""

    def checked(self, failure: str | None, failures: int) -> None:
        """A health check has come out so (None: well); it takes so many in a row that fail, and one that does not."""
        self.failed = 0 if failure is None else self.failed + 1
        if failure is None:
            self.failing = None
        elif self.failed >= failures:
            self.failing = failure

    @property
    def reason(self) -> str | None:
        """Why the instance is not ready, for people; None where nothing speaks against it."""
        if self.silent:
            return "not ready: its gateway stands still"
        if self.stalled:
            return "not ready: work waits and no worker takes any"
        if self.failing is not None:
            return f"not ready: health check: {self.failing}"
        return None
