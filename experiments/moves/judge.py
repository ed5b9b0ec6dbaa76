"""What the experiment shows, from its raw rows alone. Pure."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from math import ceil, floor, sqrt
from typing import Any

from experiments.moves.rows import Changed, Done, Facts, Request

AFTER_NS = 100_000_000
"""What a move does to requests is looked for so long after it."""
FEWEST_BEYOND = 5
"""A quantile is a number only with so many samples beyond it."""
LATE_GENERATOR_MS = 1.0
"""A run whose requests left later than that, at the 99th percentile, tells of its generator."""
FEWEST_MOVED = 0.9
"""Of the periods: a way that fails more often is not compared with one that does not."""
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


@dataclass
class Tally:
    """What was counted of a way."""

    moves: list[Move] = field(default_factory=list)
    idle_periods: int = 0
    """Periods that began with the service at the node that was not busy: an earlier move had failed."""
    requests: int = 0
    lost: int = 0
    duplicated: int = 0
    """Executed more than once."""
    reordered: int = 0
    """Arrived anywhere after one that was sent later."""
    steady_ms: list[float] = field(default_factory=list)
    after_ms: list[float] = field(default_factory=list)
    """Latencies of requests in the time after a move, and of all others since the first one."""
    late_ms: list[float] = field(default_factory=list)
    """How late requests were sent."""


def take(tally: Tally, done: Done, facts: Facts) -> None:
    """Add a segment to what is known of its way."""
    arrivals = sorted((at, member, id_) for member, some in enumerate(facts.arrived) for at, id_ in some)
    times = [at for at, _, _ in arrivals]
    found: list[Move] = []
    for period in range(done.moves):
        begin = done.start_ns + period * done.period_ns
        end, host = begin + done.period_ns, period % 2
        before = bisect_left(times, begin)
        told = next((one.emitted_ns for one in facts.told[host] if one.busy and begin <= one.emitted_ns < end), None)
        if not before or arrivals[before - 1][1] != host or told is None:
            tally.idle_periods += period > 0  # the first may find it where the segment before has left it
            continue
        found.append(
            _move(done, period, told, end, host, arrivals[bisect_left(times, told) : bisect_left(times, end)], facts)
        )
    tally.moves += found
    _count(tally, facts.requests, arrivals)
    _latencies(tally, done, facts.requests, [one.first_ns for one in found if one.first_ns is not None])


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


def _count(tally: Tally, requests: Sequence[Request], arrivals: Sequence[tuple[int, int, int]]) -> None:
    tally.requests += len(requests)
    tally.lost += sum(not one.answers for one in requests)
    tally.duplicated += len(arrivals) - len({id_ for _, _, id_ in arrivals})
    newest = -1
    for _, _, id_ in arrivals:
        tally.reordered += id_ < newest
        newest = max(newest, id_)
    tally.late_ms += [(one.sent_ns - one.intended_ns) / 1e6 for one in requests]


def _latencies(tally: Tally, done: Done, requests: Sequence[Request], moved: Sequence[int]) -> None:
    for one in requests:
        if one.answers and one.intended_ns >= done.start_ns:
            latency = (one.received_ns - one.intended_ns) / 1e6
            last = bisect_right(moved, one.received_ns) - 1
            near = last >= 0 and one.received_ns - moved[last] < AFTER_NS
            (tally.after_ms if near else tally.steady_ms).append(latency)


def quantile(ordered: Sequence[float], q: float) -> float | None:
    """By nearest rank, of values in order; None where fewer than FEWEST_BEYOND lie beyond it."""
    if len(ordered) * (1 - q) < FEWEST_BEYOND - 1e-9:
        return None
    return ordered[max(0, ceil(q * len(ordered)) - 1)]


def interval(ordered: Sequence[float], q: float) -> tuple[float, float] | None:
    """95 % confidence bounds of a quantile, by order statistics (normal approximation of the binomial)."""
    if quantile(ordered, q) is None:
        return None
    middle, spread = q * len(ordered), 1.96 * sqrt(len(ordered) * q * (1 - q))
    low, high = floor(middle - spread), ceil(middle + spread)
    return ordered[max(0, low)], ordered[min(len(ordered) - 1, high)]


def figures(tally: Tally) -> dict[str, Any]:
    """The figures of a way. Times in ms; `bound_95`: with none lost of N, fewer than 3/N are at 95 % confidence."""
    after, steady = sorted(tally.after_ms), sorted(tally.steady_ms)
    p999_after, p999_steady = quantile(after, 0.999), quantile(steady, 0.999)
    return {
        "moves": sum(one.first_ns is not None for one in tally.moves),
        "missed": sum(one.first_ns is None for one in tally.moves),
        "idle_periods": tally.idle_periods,
        "requests": tally.requests,
        "lost": tally.lost,
        "duplicated": tally.duplicated,
        "reordered": tally.reordered,
        "bound_95": 3 / tally.requests if tally.requests else None,
        "stages_ms": {name: _spread(one.stage_ms(name) for one in tally.moves) for name in STAGES},
        "last_after_first_ms": _spread(
            max(0.0, (one.last_ns - one.first_ns) / 1e6)
            for one in tally.moves
            if one.first_ns is not None and one.last_ns is not None
        ),
        "latency_ms": {"steady": _spread(steady), "after": _spread(after)},
        "p999_after_to_steady": p999_after / p999_steady if p999_after and p999_steady else None,
        "late_p99_ms": quantile(sorted(tally.late_ms), 0.99),
    }


def _spread(values: Iterable[float | None]) -> dict[str, Any]:
    ordered = sorted(one for one in values if one is not None)
    named = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999}
    return {
        "count": len(ordered),
        **{name: quantile(ordered, q) for name, q in named.items()},
        "p50_interval": interval(ordered, 0.5),
        "p99_interval": interval(ordered, 0.99),
        "max": ordered[-1] if ordered else None,
    }


def invalid(ways: dict[str, dict[str, Any]]) -> list[str]:
    """Why the run tells nothing, by rule; empty if it does."""
    found = []
    for name, one in ways.items():
        late = one["late_p99_ms"]
        if late is None or late > LATE_GENERATOR_MS:
            found.append(f"{name}: requests were sent {late or 0:.3g} ms late at the 99th percentile")
        if one["moves"] < 0.9 * (one["moves"] + one["missed"] + one["idle_periods"]):
            found.append(
                f"{name}: only {one['moves']} of {one['moves'] + one['missed'] + one['idle_periods']} periods moved"
            )
    return found


def as_rows(tally: Tally) -> list[dict[str, Any]]:
    """A row for each move, as it is published."""
    return [asdict(one) for one in tally.moves]
