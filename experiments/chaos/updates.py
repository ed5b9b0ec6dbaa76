"""What changes of version cost in latency, from the raw rows (pure).

The p99 of the 100 ms after each change beside that of each 100 ms of the same run that no change was near. Both are the
same estimate over as many requests, so that their medians compare.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from experiments.migration.records import Request

WINDOW_NS = 100_000_000
APART_NS = 1_000_000_000
"""So far from any change a window counts as steady."""


@dataclass(frozen=True, slots=True)
class Change:
    """A function's new version: when the first request that it answered was sent, in ns."""

    service: str
    version: str
    sent_ns: int


@dataclass(frozen=True, slots=True)
class Compared:
    """Latency after changes and without any, of one service; None without enough requests."""

    service: str
    changes: int
    after_ms: float | None
    steady_ms: float | None

    @property
    def ratio(self) -> float | None:
        """After a change against steady."""
        return round(self.after_ms / self.steady_ms, 3) if self.after_ms and self.steady_ms else None


def compare(service: str, requests: Sequence[Request], changes: Sequence[Change]) -> Compared:
    """The medians of both for a service. A failed or lost request has no latency: it is counted elsewhere."""
    served = sorted(
        (one.intended_ns, one.latency_ns) for one in requests if one.service == service and one.latency_ns is not None
    )
    times = [at for at, _ in served]
    own = sorted(change.sent_ns for change in changes if change.service == service)

    def p99(begin_ns: int) -> float | None:
        found = sorted(
            latency for _, latency in served[bisect_left(times, begin_ns) : bisect_left(times, begin_ns + WINDOW_NS)]
        )
        return found[min(len(found) - 1, int(len(found) * 0.99))] / 1e6 if found else None

    everyone = sorted(change.sent_ns for change in changes)
    steady = []
    begin = times[0] if times else 0
    while times and begin + WINDOW_NS <= times[-1]:
        near = bisect_left(everyone, begin - APART_NS)
        if near == len(everyone) or everyone[near] > begin + WINDOW_NS + APART_NS:
            steady.append(p99(begin))
        begin += WINDOW_NS
    return Compared(service, len(own), _median([p99(at) for at in own]), _median(steady))


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(median(known), 3) if known else None
