"""Whether what stands in a gateway's page may still be believed. Pure: time is passed in."""

from __future__ import annotations

from dataclasses import dataclass, replace

from greengrass_agent.measure.queue_page import QueueNumbers


@dataclass(slots=True)
class Trust:
    """In one gateway's page."""

    silent: bool = False
    """Whether its gateway stands still."""
    _overdue: bool = False

    def look(self, holds_until_ns: int, now_ns: int) -> None:
        """Look at a point of the schedule whether the gateway's heartbeat is overdue.

        Only the second look in a row counts: where the whole node stood still, the emitter may run before the gateway.
        """
        overdue = now_ns > holds_until_ns
        self.silent = overdue and self._overdue
        self._overdue = overdue

    def judge(self, numbers: QueueNumbers) -> QueueNumbers:
        """The numbers as they are to be reported: who stands still is not ready, whatever it said before."""
        return replace(numbers, ready=False) if self.silent and numbers.ready else numbers
