"""The cycles of a run laid over one another: what is seen at each time from the start of the disturbance. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from experiments.migration.figures import quantile
from experiments.migration.judge import Evidence, Judged, cycle_of
from experiments.migration.measure import SECOND
from experiments.migration.options import APPLICATION
from hitless.words import LAST_RESORT

FROM_S, TO_S = -0.9, 1.5
BINS_S = (0.1, 0.15, 0.3)
"""How wide pieces of time may be; one always begins with the disturbance."""
STRIP_BIN_S = 0.1
BANDS = ((0.1, 0.9), (0.25, 0.75))
"""The widest first."""
MOSTLY = 0.9

Points = Sequence[tuple[float, float]]
"""(seconds from the start of the disturbance, value)."""


@dataclass(frozen=True)
class Bin:
    """The samples of a piece of time; a quantile is None where they are too few for it."""

    at_s: float
    """Its middle."""
    median: float | None
    low: float | None
    high: float | None


def bins(points: Points, band: tuple[float, float], width_s: float) -> list[Bin]:
    """Median and band of the values in pieces of time from ``FROM_S`` to ``TO_S``."""
    number = round((TO_S - FROM_S) / width_s)
    held: list[list[float]] = [[] for _ in range(number)]
    for at_s, value in points:
        place = int((at_s - FROM_S) / width_s + 1e-9)
        if 0 <= place < number and at_s >= FROM_S:
            held[place].append(value)
    made = []
    for place, values in enumerate(held):
        ordered = sorted(values)
        # The lower end needs as many samples beyond it as the upper one.
        high = quantile(ordered, band[1])
        low = None if high is None else -(quantile(sorted(-value for value in ordered), 1 - band[0]) or 0.0)
        made.append(Bin(FROM_S + (place + 0.5) * width_s, quantile(ordered, 0.5), low, high))
    return made


def fitting(points_of_ways: Iterable[Points]) -> tuple[tuple[float, float], float]:
    """The narrowest pieces of time, and in them the widest band, that the samples of every way mostly suffice for.

    If they suffice for none, the narrowest band in the widest pieces.
    """
    sets = list(points_of_ways)
    for width in BINS_S:
        for band in BANDS:
            made = [one for points in sets for one in bins(points, band, width)]
            if sum(one.high is not None for one in made) >= MOSTLY * len(made):
                return band, width
    return BANDS[-1], BINS_S[-1]


def latency_points(evidence: Evidence, judged: Sequence[Judged], way: str) -> Points:
    """Milliseconds of the application's requests by their intended start."""
    return [
        (at_s, one.latency_ns / 1e6)
        for one in evidence.requests
        if one.service == APPLICATION and one.latency_ns is not None
        for at_s in place(judged, way, one.intended_ns)
    ]


def queue_points(evidence: Evidence, judged: Sequence[Judged], way: str) -> Points:
    """Requests of the application that waited on the disturbed node."""
    return [
        (at_s, load.queue)
        for (node, service), loads in evidence.loads.items()
        if service == APPLICATION
        for load in loads
        for at_s in place(judged, way, load.time_ns, node)
    ]


def cpu_points(evidence: Evidence, judged: Sequence[Judged], way: str) -> Points:
    """Use of the disturbed node's budget, percent."""
    return [
        (at_s, load.cpu / 10)
        for (node, service), loads in evidence.loads.items()
        if service == APPLICATION
        for load in loads
        for at_s in place(judged, way, load.time_ns, node)
    ]


def lead_points(evidence: Evidence, judged: Sequence[Judged], way: str) -> Points:
    """By how much the rank of the application on the disturbed node is larger than the best other one."""
    by_look: dict[int, dict[str, int]] = {}
    for one in evidence.ranks:
        if one.service == APPLICATION and one.rank > LAST_RESORT:
            by_look.setdefault(one.time_ns, {})[one.node] = one.rank
    points = []
    for time_ns, ranks in by_look.items():
        found = cycle_of(judged, time_ns)
        if found is not None and found.cycle.node in ranks and len(ranks) > 1:
            others = max(rank for node, rank in ranks.items() if node != found.cycle.node)
            points += [(at_s, float(ranks[found.cycle.node] - others)) for at_s in place(judged, way, time_ns)]
    return points


def place(judged: Sequence[Judged], way: str, time_ns: int, node: str | None = None) -> list[float]:
    """Where a time lies in a cycle of that way that counts, in seconds from the start of the disturbance; else none."""
    found = cycle_of(judged, time_ns)
    if found is None or found.early or found.cycle.way != way or found.cycle.trigger_ns is None:
        return []
    if node is not None and node != found.cycle.node:
        return []
    return [(time_ns - found.cycle.trigger_ns) / SECOND]


def means(points: Points) -> list[tuple[float, float]]:
    """The mean in each piece of time that has any sample: of a strip, which shows a course."""
    held: dict[int, list[float]] = {}
    for at_s, value in points:
        if FROM_S <= at_s < TO_S:
            held.setdefault(int((at_s - FROM_S) / STRIP_BIN_S), []).append(value)
    return [(FROM_S + (place + 0.5) * STRIP_BIN_S, statistics.fmean(held[place])) for place in sorted(held)]
