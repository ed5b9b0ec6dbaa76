"""What the experiment shows, from its raw rows alone (pure)."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from statistics import median
from typing import Any

from experiments.detection.kinds import FRONT, HERE, KINDS, MEASURED
from experiments.detection.rows import Depth, Facts, Ran, Rested
from experiments.migration import measure
from experiments.migration.measure import Move, Served
from experiments.migration.records import FAILED, LOST, Request

HOUR_NS = 3600 * 10**9
LATE = 3.0
"""A request is late from so many times the steady 99th percentile on."""
FEWEST_BEYOND = 10
"""A quantile is a number only with so many samples beyond it."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one disturbance led to. Times in ms; None: that did not happen."""

    number: int
    variant: str
    kind: str
    found_ms: float | None
    """From the disturbance to the sending of the first request that was steered elsewhere."""
    queue_ms: float | None
    """The same, from where the queue began to grow."""
    late: int | None
    """Requests that were late until then, or while it lasted; None without a steady percentile to compare with."""
    requests: int
    """Requests of that time."""
    moves: int
    """Moves while it lasted, of either service."""
    early: bool
    """It moved between its release and the disturbance: the run tells nothing of the disturbance."""
    note: str

    @property
    def counts(self) -> bool:
        """Whether the run tells something."""
        return not self.early and not self.note


def quantile(values: Iterable[float], q: float) -> float | None:
    """By nearest rank; None of fewer than 10/(1-q) values: it would be an accident."""
    ordered = sorted(values)
    if len(ordered) * (1 - q) < FEWEST_BEYOND - 1e-9:
        return None
    return ordered[max(0, ceil(q * len(ordered)) - 1)]


def steady_p99(runs: Iterable[Sequence[float]]) -> float | None:
    """The 99th percentile of runs one after the other, as many as it takes to tell; of all such stretches, the median.

    The machine may have other work for some seconds: a quantile of all runs together would be of those seconds alone.
    None of fewer than a thousand values.
    """
    found: list[float] = []
    stretch: list[float] = []
    for one in runs:
        stretch += one
        if (p99 := quantile(stretch, 0.99)) is not None:
            found.append(p99)
            stretch = []
    return median(found) if found else None


def grown_since(depths: Sequence[Depth], normal: float, until_ns: int) -> int | None:
    """Since when an instance's queue has been longer than normal, in ns, at a time; None if it is not then."""
    since = None
    for one in depths:
        if one.emitted_ns > until_ns:
            break
        if one.requests <= normal:
            since = None
        elif since is None:
            since = one.emitted_ns
    return since


class Load:
    """The requests of the load in the order of their intended starts."""

    def __init__(self, requests: Iterable[Request]) -> None:
        self._requests = sorted((one for one in requests if one.service == FRONT), key=lambda one: one.intended_ns)
        self._times = [one.intended_ns for one in self._requests]

    def within(self, begin_ns: int, end_ns: int) -> list[Request]:
        """Those intended from `begin_ns` on and before `end_ns`."""
        return self._requests[bisect_left(self._times, begin_ns) : bisect_left(self._times, end_ns)]


class Work:
    """The work of each service in the order of time."""

    def __init__(self, work: Mapping[str, Sequence[Served]]) -> None:
        self._work = work
        self._times = {name: [one.time_ns for one in served] for name, served in work.items()}

    def node_at(self, service: str, time_ns: int) -> str | None:
        """The node that served the last new work before a time; None if there was none."""
        before = bisect_left(self._times.get(service, []), time_ns)
        return self._work[service][before - 1].node if before else None

    def moves(self, service: str, begin_ns: int, end_ns: int) -> list[Move]:
        """The changes of the node that serves its new work, within a span."""
        times = self._times.get(service, [])
        return measure.moves(
            service, self._work.get(service, [])[bisect_left(times, begin_ns) : bisect_right(times, end_ns)]
        )


def outcome(
    run: Ran,
    work: Work,
    load: Load,
    depths: Mapping[str, Sequence[Depth]],
    normal: Mapping[str, float],
    limit_ms: float | None,
) -> Outcome:
    """Judge a run. `depths` are those of the disturbed instances by service, `normal` is the longest queue of each that
    is none."""
    kind = KINDS[run.kind]
    found = [one for name in kind.services for one in work.moves(name, run.steady_ns, run.ended_ns)]
    early = any(one.first_ns < run.began_ns for one in found)
    first = min((one.first_ns for one in found if one.first_ns >= run.began_ns and one.origin == HERE), default=None)
    until = run.ended_ns if first is None else first
    since = min(
        (
            grown
            for name in kind.services
            if (grown := grown_since([x for x in depths[name] if x.emitted_ns >= run.began_ns], normal[name], until))
        ),
        default=None,
    )
    passed = load.within(run.began_ns, until)
    return Outcome(
        run.number,
        run.variant,
        run.kind,
        _ms(run.began_ns, first),
        None if since is None else _ms(since, first),
        None if limit_ms is None else sum(late(one, limit_ms) for one in passed),
        len(passed),
        sum(len(work.moves(name, run.began_ns, run.ended_ns)) for name in MEASURED),
        early,
        run.note,
    )


def late(request: Request, limit_ms: float) -> bool:
    """Whether a request took longer than that, or was not answered."""
    return request.latency_ns is None or request.latency_ns > limit_ms * 1e6


def _ms(since_ns: int, until_ns: int | None) -> float | None:
    return None if until_ns is None else round((until_ns - since_ns) / 1e6, 3)


def summarise(facts: Facts, depths: Mapping[str, Sequence[Sequence[Depth]]]) -> dict[str, Any]:
    """summary.json. `depths` by service, for each run: the reports of the disturbed node from its `steady_ns` on.

    Raises ValueError if there are no requests.
    """
    if not facts.requests:
        raise ValueError("the load sent no request")
    work = Work(measure.new_work(facts.requests, facts.executions))
    load = Load(facts.requests)
    steady = [
        [one.latency_ns / 1e6 for one in load.within(run.steady_ns, run.released_ns) if one.latency_ns is not None]
        for run in facts.runs
    ]
    p99 = steady_p99(steady)
    limit = None if p99 is None else LATE * p99
    normal = {name: _normal(facts.runs, depths[name]) for name in MEASURED}
    outcomes = [
        outcome(run, work, load, {name: depths[name][at] for name in MEASURED}, normal, limit)
        for at, run in enumerate(facts.runs)
    ]
    lateness = measure.late_p99_ms(facts.requests)
    return {
        "machine": facts.machine,
        "options": facts.options,
        "requests": len(facts.requests),
        "lost": measure.count(facts.requests, LOST),
        "failed": measure.count(facts.requests, FAILED),
        "duplicated": measure.duplicated(facts.requests, facts.executions),
        "generator_late_p99_ms": lateness,
        "noisy": lateness > measure.NOISY_LATE_MS,
        "steady_p99_ms": p99,
        "steady_requests": sum(map(len, steady)),
        "late_ms": limit,
        "queue_normal": normal,
        "variants": {
            name: _variant(
                [one for one in outcomes if one.variant == name],
                [one for one in facts.rests if one.variant == name],
                work,
            )
            for name in facts.options["variants"]
        },
        "runs": [{name: getattr(one, name) for name in Outcome.__dataclass_fields__} for one in outcomes],
    }


def invalid(summary: Mapping[str, Any]) -> list[str]:
    """Why the run tells nothing, by rule; empty if it does."""
    return [f"the load was {summary['generator_late_p99_ms']} ms late at its p99"] if summary["noisy"] else []


def _normal(runs: Sequence[Ran], depths: Sequence[Sequence[Depth]]) -> float:
    """The longest queue of an instance that is usual: 99 of 100 reports without a disturbance told of no longer one."""
    seen = [
        float(one.requests)
        for run, told in zip(runs, depths, strict=True)
        for one in told
        if one.emitted_ns < run.released_ns
    ]
    found = quantile(seen, 0.99)
    return found if found is not None else max(seen, default=0.0)


def _variant(outcomes: Sequence[Outcome], rests: Sequence[Rested], work: Work) -> dict[str, Any]:
    moving = [one for one in outcomes if not KINDS[one.kind].stays]
    return {
        "all": group(moving),
        "kinds": {
            kind: group([one for one in outcomes if one.kind == kind])
            for kind in KINDS
            if any(one.kind == kind for one in outcomes)
        },
        "rest": {
            str(load): rest([one for one in rests if one.load == load], work)
            for load in sorted({one.load for one in rests})
        },
    }


def group(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Figures of runs together: those that tell something."""
    told = [one for one in outcomes if one.counts]
    found = [one.found_ms for one in told if one.found_ms is not None]
    queue = [one.queue_ms for one in told if one.queue_ms is not None and one.found_ms is not None]
    known = [one.late for one in told if one.late is not None]
    return {
        "runs": len(outcomes),
        "early": sum(one.early for one in outcomes),
        "failed": sum(bool(one.note) for one in outcomes),
        "found": len(found),
        "missed": sum(one.found_ms is None and bool(one.late) for one in told),
        "harmless": sum(one.found_ms is None and one.late == 0 for one in told),
        "found_ms": spread(found),
        "queue_ms": spread(queue),
        "late": sum(known) if known or not told else None,
        "requests": sum(one.requests for one in told),
        "moves": sum(one.moves for one in told),
    }


def spread(values: Sequence[float]) -> dict[str, float | None]:
    """Two quantiles and the longest."""
    return {"p50": quantile(values, 0.5), "p99": quantile(values, 0.99), "max": max(values, default=None)}


def rest(rests: Sequence[Rested], work: Work) -> dict[str, Any]:
    """How often the services moved without any reason. Without a move, an hour has fewer than `bound_95` of them."""
    hours = sum(one.ended_ns - one.began_ns for one in rests) / HOUR_NS
    moves = sum(len(work.moves(name, one.began_ns, one.ended_ns)) for one in rests for name in MEASURED)
    return {
        "hours": round(hours, 4),
        "used": round(sum(one.used for one in rests) / len(rests), 1) if rests else None,
        "moves": moves,
        "an_hour": round(moves / hours, 3) if hours else None,
        "bound_95": round(3 / hours, 3) if hours and not moves else None,
    }
