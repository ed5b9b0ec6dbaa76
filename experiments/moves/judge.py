"""What the experiment shows, from its raw rows alone. Pure."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from math import ceil, floor, sqrt
from typing import Any, overload

from experiments.moves.rows import Changed, Done, Facts, Request

AFTER_NS = 100_000_000
"""What a move does to requests is looked for so long after it."""
FEWEST_BEYOND = 5
"""A quantile is a number only with so many samples beyond it."""
LATE_GENERATOR_MS = 1.0
"""A run whose requests left later than that, at the 99th percentile, tells of its generator."""
FEWEST_MOVED = 0.9
"""Of the periods: a way that fails more often is not compared with one that does not."""
WRONGS = ("lost", "failed", "duplicated", "reordered")
"""What may become of a request."""
STAGES = ("told_to_decided", "decided_to_applied", "applied_to_first", "told_to_first")


@dataclass(frozen=True, slots=True)
class Move:
    """A period: the host became busy, and the service should have gone to the other node. In ns, None for never."""

    way: str
    round: int
    period: int
    told_ns: int
    """The host's first report that says so was emitted."""
    decided_ns: int | None
    applied_ns: int | None
    """By the controller, if there is one."""
    first_ns: int | None
    """The first request since then arrived at the other node."""
    last_ns: int | None
    """The last one arrived at the host, in this period."""

    def stage_ms(self, name: str) -> float | None:
        """One of STAGES, in ms; None if one of its ends never came."""
        begin, end = (getattr(self, f"{one}_ns") for one in name.split("_to_"))
        return None if begin is None or end is None else (end - begin) / 1e6


@dataclass(frozen=True, slots=True)
class Counts:
    """What was counted in a segment."""

    number: int
    round: int
    way: str
    idle_periods: int
    """Periods that began with the service at the node that was not busy: an earlier move had failed."""
    requests: int
    lost: int
    """Without any answer."""
    failed: int
    """Answered with an error."""
    duplicated: int
    """Executed more than once."""
    reordered: int
    """Arrived anywhere after one that was sent later."""


PARTS = ("steady", "after", "late")
"""Latencies of requests in the time after a move (`after`), of all others since the first one, and how late requests
were sent."""


@dataclass
class Tally:
    """What is known of a way: all that its figures are made of."""

    moves: list[Move] = field(default_factory=list)
    counts: list[Counts] = field(default_factory=list)
    times_us: dict[str, Counter[int]] = field(default_factory=lambda: {part: Counter() for part in PARTS})
    """How many took so many µs, by part."""

    def total(self, name: str) -> int:
        """One of the counts, of all segments."""
        return sum(getattr(one, name) for one in self.counts)

    def ordered_ms(self, part: str) -> Ordered:
        """The times of a part."""
        return Ordered(self.times_us[part])


class Ordered(Sequence[float]):
    """Values in their order, given by how many there are of each; µs go in, ms come out."""

    def __init__(self, counted: Counter[int]) -> None:
        self._values = sorted(counted)
        self._until = list(accumulate(counted[value] for value in self._values))

    def __len__(self) -> int:
        return self._until[-1] if self._until else 0

    @overload
    def __getitem__(self, at: int) -> float: ...

    @overload
    def __getitem__(self, at: slice) -> Sequence[float]: ...

    def __getitem__(self, at: int | slice) -> float | Sequence[float]:
        if isinstance(at, slice):
            return [self[one] for one in range(*at.indices(len(self)))]
        at = at + len(self) if at < 0 else at
        if not 0 <= at < len(self):
            raise IndexError(at)
        return self._values[bisect_right(self._until, at)] / 1000


def take(tally: Tally, done: Done, facts: Facts) -> None:
    """Add a segment to what is known of its way."""
    arrivals = sorted((at, member, id_) for member, some in enumerate(facts.arrived) for at, id_ in some)
    times = [at for at, _, _ in arrivals]
    found: list[Move] = []
    idle = 0
    for period in range(done.moves):
        begin = done.start_ns + period * done.period_ns
        end, host = begin + done.period_ns, period % 2
        before = bisect_left(times, begin)
        told = next((one.emitted_ns for one in facts.told[host] if one.busy and begin <= one.emitted_ns < end), None)
        if not before or arrivals[before - 1][1] != host or told is None:
            idle += period > 0  # the first may find it where the segment before has left it
            continue
        since = arrivals[bisect_left(times, told) : bisect_left(times, end)]
        found.append(_move(done, period, told, end, host, since, facts))
    tally.moves += found
    tally.counts.append(_counts(done, idle, facts.requests, arrivals))
    _times(tally, done, facts.requests, [one.first_ns for one in found if one.first_ns is not None])


def _move(
    done: Done, period: int, told: int, end: int, host: int, since: Sequence[tuple[int, int, int]], facts: Facts
) -> Move:
    changed = next(
        (one for one in facts.changed if one.member != host and told <= one.decided_ns < end), Changed(0, 0, 0)
    )
    return Move(
        done.way,
        done.round,
        period,
        told,
        changed.decided_ns or None,
        changed.applied_ns or None,
        next((at for at, member, _ in since if member != host), None),
        next((at for at, member, _ in reversed(since) if member == host), None),
    )


def _counts(done: Done, idle: int, requests: Sequence[Request], arrivals: Sequence[tuple[int, int, int]]) -> Counts:
    reordered, newest = 0, -1
    for _, _, id_ in arrivals:
        reordered += id_ < newest
        newest = max(newest, id_)
    return Counts(
        done.number,
        done.round,
        done.way,
        idle,
        len(requests),
        sum(not one.answers for one in requests),
        sum(one.failed for one in requests),
        len(arrivals) - len({id_ for _, _, id_ in arrivals}),
        reordered,
    )


def _times(tally: Tally, done: Done, requests: Sequence[Request], moved: Sequence[int]) -> None:
    for one in requests:
        tally.times_us["late"][(one.sent_ns - one.intended_ns) // 1000] += 1
        if one.answers and not one.failed and one.intended_ns >= done.start_ns:
            last = bisect_right(moved, one.received_ns) - 1
            near = last >= 0 and one.received_ns - moved[last] < AFTER_NS
            tally.times_us["after" if near else "steady"][(one.received_ns - one.intended_ns) // 1000] += 1


def quantile(ordered: Sequence[float], q: float) -> float | None:
    """By nearest rank, of values in order; None where fewer than FEWEST_BEYOND lie beyond it."""
    if len(ordered) * (1 - q) < FEWEST_BEYOND - 1e-9:
        return None
    return ordered[max(0, ceil(q * len(ordered)) - 1)]


def interval(ordered: Sequence[float], q: float) -> list[float] | None:
    """95 % confidence bounds of a quantile, by order statistics (normal approximation of the binomial)."""
    if quantile(ordered, q) is None:
        return None
    middle, spread = q * len(ordered), 1.96 * sqrt(len(ordered) * q * (1 - q))
    low, high = floor(middle - spread), ceil(middle + spread)
    return [ordered[max(0, low)], ordered[min(len(ordered) - 1, high)]]


def figures(tally: Tally) -> dict[str, Any]:
    """The figures of a way. Times in ms; `bound_95`: with none lost of N, fewer than 3/N are at 95 % confidence."""
    after, steady = tally.ordered_ms("after"), tally.ordered_ms("steady")
    p999_after, p999_steady = quantile(after, 0.999), quantile(steady, 0.999)
    return {
        "moves": sum(one.first_ns is not None for one in tally.moves),
        "missed": sum(one.first_ns is None for one in tally.moves),
        "idle_periods": tally.total("idle_periods"),
        **_requests([tally]),
        "stages_ms": {name: _spread(one.stage_ms(name) for one in tally.moves) for name in STAGES},
        "last_after_first_ms": _spread(
            max(0.0, (one.last_ns - one.first_ns) / 1e6)
            for one in tally.moves
            if one.first_ns is not None and one.last_ns is not None
        ),
        "latency_ms": {"steady": _quantiles(steady), "after": _quantiles(after)},
        "p999_after_to_steady": p999_after / p999_steady if p999_after and p999_steady else None,
        "late_p99_ms": quantile(tally.ordered_ms("late"), 0.99),
    }


def _requests(tallies: Iterable[Tally]) -> dict[str, Any]:
    """What became of all requests of some ways."""
    known = list(tallies)
    found: dict[str, Any] = {name: sum(one.total(name) for one in known) for name in ("requests", *WRONGS)}
    return {**found, "bound_95": 3 / found["requests"] if found["requests"] else None}


def summarise(
    machines: Sequence[dict[str, Any]], options: dict[str, Any], tallies: Mapping[str, Tally]
) -> dict[str, Any]:
    """summary.json: the figures of each way and of all together, and why the run tells nothing, if so."""
    ways = {name: figures(tally) for name, tally in tallies.items()}
    return {
        "machine": machines[0],
        "options": options,
        "invalid": [*invalid(ways), *_changed(machines)],
        "all": {"moves": sum(one["moves"] for one in ways.values()), **_requests(tallies.values())},
        "ways": ways,
    }


def _changed(machines: Sequence[dict[str, Any]]) -> list[str]:
    """What was not the same when a run was gone on with."""
    names = ("commit", "kernel", "cpu", "cores")
    return [
        f"the run was gone on with on another {name}" for name in names if len({one.get(name) for one in machines}) > 1
    ]


def _spread(values: Iterable[float | None]) -> dict[str, Any]:
    return _quantiles(sorted(one for one in values if one is not None))


def _quantiles(ordered: Sequence[float]) -> dict[str, Any]:
    named = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999}
    return {
        "count": len(ordered),
        **{name: quantile(ordered, q) for name, q in named.items()},
        **{f"{name}_interval": interval(ordered, named[name]) for name in ("p50", "p90", "p99")},
        "max": ordered[-1] if ordered else None,
    }


def invalid(ways: dict[str, dict[str, Any]]) -> list[str]:
    """Why the run tells nothing, by rule; empty if it does."""
    found = []
    for name, one in ways.items():
        late = one["late_p99_ms"]
        if late is None or late > LATE_GENERATOR_MS:
            found.append(f"{name}: requests were sent {late or 0:.3g} ms late at the 99th percentile")
        if not one["moves"] or one["moves"] < FEWEST_MOVED * (one["moves"] + one["missed"] + one["idle_periods"]):
            found.append(
                f"{name}: only {one['moves']} of {one['moves'] + one['missed'] + one['idle_periods']} periods moved"
            )
    return found
