"""What one fault cost, from the requests around it (pure)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Any

from experiments.chaos.verdict import Fault, Trouble
from experiments.migration.records import FAILED, LOST, OK, Request

BEFORE_NS = 2_000_000_000
"""A fault is compared with so long before it, in which nothing else was done."""
WINDOW_NS = 100_000_000
"""The time until as before is told in windows of this length, by intended starts."""
SLOWER = 1.5
"""A window is as fast as before if its median latency is at most so many times that of the slowest window before."""


@dataclass(frozen=True, slots=True)
class Cost:
    """A row of faults.csv: a fault and what it cost. Times are ms."""

    round: int
    number: int
    kind: str
    node: str
    target: str
    lasted_ms: float
    """From its beginning until its cause was gone."""
    requests: int
    """To start from its beginning until everything had settled again."""
    lost: int
    failed: int
    duplicated: int
    unexplained: int
    """Of those, how many no killed process and no dead link explains."""
    gap_ms: float | None
    """Longest time that a client waited between two good answers of a service; None if there were not two."""
    as_before_ms: float | None
    """From its beginning until all requests are answered and as fast as before it; None if not until the next fault."""
    wrong: str
    """What did not come out as it must, beside requests; empty if all did."""


def cost(number: int, fault: Fault, until_ns: int, requests: Iterable[Request], troubles: Iterable[Trouble]) -> Cost:
    """The cost of a fault in a round, as seen in requests that were to start until `until_ns`."""
    around = [one for one in requests if fault.began_ns - BEFORE_NS <= one.intended_ns <= until_ns]
    by_service: dict[str, list[Request]] = defaultdict(list)
    for one in around:
        by_service[one.service].append(one)
    gaps = [gap for one in by_service.values() if (gap := longest_gap_ns(one, fault)) is not None]
    ends = [as_before_ns(one, fault) for one in by_service.values()]
    mine = [one for one in troubles if one.fault == fault.number]
    what = [one.what for one in mine]
    return Cost(
        round=number,
        number=fault.number,
        kind=fault.kind,
        node=fault.node,
        target=fault.target,
        lasted_ms=_ms(fault.ended_ns - fault.began_ns),
        requests=sum(fault.began_ns <= one.intended_ns <= fault.settled_ns for one in around),
        lost=what.count(LOST),
        failed=what.count(FAILED),
        duplicated=what.count("duplicated"),
        unexplained=sum(not one.explained for one in mine),
        gap_ms=_ms(max(gaps)) if gaps else None,
        as_before_ms=None if not ends or None in ends else _ms(max(end for end in ends if end is not None)),
        wrong="; ".join(fault.wrong),
    )


def _ms(nanoseconds: int) -> float:
    return round(nanoseconds / 1e6, 1)


def longest_gap_ns(requests: Iterable[Request], fault: Fault) -> int | None:
    """The longest time between two good answers of a service that ends after the fault began."""
    at = sorted(one.received_ns for one in requests if one.outcome == OK and one.received_ns is not None)
    return max((after - before for before, after in pairwise(at) if after > fault.began_ns), default=None)


def as_before_ns(requests: Sequence[Request], fault: Fault) -> int | None:
    """From a fault's beginning to the end of the last window in which its service was not as before.

    A window is as before if each of its requests had a good answer, and the median of their latencies is at most
    SLOWER times that of the slowest window before the fault. None if the last window is not, or if nothing was
    answered before the fault.
    """
    windows: dict[int, list[int | None]] = defaultdict(list)
    for one in requests:
        windows[(one.intended_ns - fault.began_ns) // WINDOW_NS].append(_good_ns(one))
    before = [
        median(good) for at, all_ in windows.items() if at < 0 and (good := [one for one in all_ if one is not None])
    ]
    if not before:
        return None
    limit = SLOWER * max(before)
    bad = [at for at, latencies in windows.items() if at >= 0 and not _as_before(latencies, limit)]
    if not bad:
        return 0
    return None if max(bad) == max(windows) else (max(bad) + 1) * WINDOW_NS


def _good_ns(request: Request) -> int | None:
    return request.latency_ns if request.outcome == OK else None


def _as_before(latencies: Sequence[int | None], limit: float) -> bool:
    good = [one for one in latencies if one is not None]
    return len(good) == len(latencies) and median(good) <= limit


def from_text(row: Mapping[str, str]) -> Cost:
    """The cost that a row of faults.csv tells. Raises ValueError, KeyError on a row that is none."""
    known: dict[str, Any] = dict(row)
    for name in ("round", "number", "requests", "lost", "failed", "duplicated", "unexplained"):
        known[name] = int(row[name])
    for name in ("gap_ms", "as_before_ms"):
        known[name] = float(row[name]) if row[name] else None
    return Cost(**{**known, "lasted_ms": float(row["lasted_ms"])})
