"""What a run shows, from its raw rows alone. Pure."""

from __future__ import annotations

import statistics
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from experiments.migration import validity
from experiments.migration.figures import QUANTILES, figures, highest_told, interval, withheld
from experiments.migration.measure import (
    SECOND,
    Move,
    count,
    describe_move,
    duplicated,
    late_p99_ms,
    moves,
    new_work,
    rows_missing,
    serving_nodes,
)
from experiments.migration.options import APPLICATION
from experiments.migration.plan import SETTLE_S, WINDOW_S
from experiments.migration.records import FAILED, LOST, Decision, Execution, Load, Request
from experiments.migration.samples import Cycle, MachineSample, RankSample

STEADY, WINDOW, AFTER = PHASES = ("steady", "window", "after")
SLOW_TO_TELL_NS = SECOND * 3 // 10
"""After the start of a disturbance until a node's reports must show it."""
Summary = dict[str, Any]


@dataclass(frozen=True)
class Evidence:
    """The raw rows of a run."""

    run: Mapping[str, Any]
    """What was asked, of which machine (run.json)."""
    requests: Sequence[Request]
    executions: Sequence[Execution]
    decisions: Sequence[Decision]
    emissions: Mapping[tuple[str, str], Mapping[tuple[int, int], int]]
    loads: Mapping[tuple[str, str], Sequence[Load]]
    cycles: Sequence[Cycle]
    ranks: Sequence[RankSample]
    machine: Sequence[MachineSample]


@dataclass(frozen=True)
class Judged:
    """A cycle with the application's own moves in it."""

    cycle: Cycle
    early: bool
    """The application left its first node before anything disturbed it: the cycle's latencies do not count."""
    moved_ns: int | None
    """When the first of its requests after the start of the disturbance was served elsewhere."""

    def phase(self, time_ns: int) -> str | None:
        """Where an intended start belongs; None: nowhere, or the cycle does not count.

        The window is as long in every way, so that its quantiles can be compared. What comes after begins when the
        application has moved.
        """
        one = self.cycle
        if self.early or time_ns < one.placed_ns + int(SETTLE_S * SECOND):
            return None
        if one.trigger_ns is None or one.calm_ns is None:
            return STEADY if time_ns < one.end_ns else None
        if time_ns < one.trigger_ns:
            return STEADY
        window_end = one.trigger_ns + int(WINDOW_S * SECOND)
        if time_ns < window_end:
            return WINDOW
        return AFTER if max(window_end, self.moved_ns or 0) <= time_ns < one.calm_ns else None


def judge_cycle(cycle: Cycle, first_node: str, found: Iterable[Move]) -> Judged:
    """A cycle by the application's moves."""
    until = cycle.trigger_ns if cycle.trigger_ns is not None else cycle.end_ns
    early, moved = False, None
    for move in found:
        if cycle.placed_ns <= move.first_ns < until and move.to != first_node:
            early = True
        if cycle.trigger_ns is not None and cycle.trigger_ns <= move.first_ns < cycle.end_ns and moved is None:
            moved = move.first_ns
    # Without a disturbance there is nothing that an early move would spoil.
    return Judged(cycle, early and cycle.trigger_ns is not None, moved)


def judged_cycles(evidence: Evidence) -> list[Judged]:
    """All cycles of a run."""
    requests = serving_nodes(evidence.requests, evidence.executions)
    own = moves(APPLICATION, new_work(requests, evidence.executions).get(APPLICATION, []))
    return [judge_cycle(cycle, evidence.run["first_node"], own) for cycle in evidence.cycles]


def cycle_of(judged: Sequence[Judged], time_ns: int) -> Judged | None:
    """The cycle in which a time lies; cycles are in order of time."""
    after = bisect_left(judged, time_ns + 1, key=lambda one: one.cycle.placed_ns)
    found = judged[after - 1] if after else None
    return found if found is not None and time_ns < found.cycle.end_ns else None


def latencies(
    evidence: Evidence, requests: Iterable[Request], judged: Sequence[Judged]
) -> dict[str, dict[str, dict[str, list[float]]]]:
    """Milliseconds by way, service and phase: of the load's requests from their intended start; of work that only
    functions call, from its arrival at the node until it was done."""
    called = {one.service for one in requests}
    samples: dict[str, dict[str, dict[str, list[float]]]] = {}

    def take(service: str, start_ns: int, end_ns: int | None) -> None:
        found = cycle_of(judged, start_ns)
        phase = None if found is None else found.phase(start_ns)
        if found is not None and phase is not None and end_ns is not None:
            of_service = samples.setdefault(found.cycle.way, {}).setdefault(service, {name: [] for name in PHASES})
            of_service[phase].append((end_ns - start_ns) / 1e6)

    for request in requests:
        take(request.service, request.intended_ns, request.received_ns)
    for one in evidence.executions:
        if one.service not in called:
            take(one.service, one.received_ns, one.finished_ns)
    return samples


def delivered(judged: Iterable[Judged], loads: Mapping[tuple[str, str], Sequence[Load]]) -> float | None:
    """The share of its budget that a disturbed node used: the median of its reports. None without a disturbance."""
    seen = [
        load.cpu / 1000
        for one in judged
        if one.cycle.trigger_ns is not None and one.cycle.calm_ns is not None
        for load in loads.get((one.cycle.node, APPLICATION), ())
        if one.cycle.trigger_ns + SLOW_TO_TELL_NS <= load.time_ns < one.cycle.calm_ns
    ]
    return round(statistics.median(seen), 3) if seen else None


def migrations(
    evidence: Evidence, requests: Iterable[Request], judged: Sequence[Judged]
) -> Iterator[dict[str, object]]:
    """Every move that nobody ordered, in order of time, with its cycle: `disturbed` tells whether one was going on."""
    first_node = evidence.run["first_node"]
    start = evidence.run["start_ns"]
    work = new_work(requests, evidence.executions)
    found = [move for service, served in sorted(work.items()) for move in moves(service, served)]
    for move in sorted(found, key=lambda one: one.first_ns):
        inside = cycle_of(judged, move.first_ns)
        if inside is None:
            continue
        trigger = inside.cycle.trigger_ns
        disturbed = trigger is not None and trigger <= move.first_ns
        if not disturbed and move.to == first_node:
            continue  # put back there for this cycle
        yield {
            "cycle": inside.cycle.number,
            "way": inside.cycle.way,
            "at_s": round((move.first_ns - start) / SECOND, 3),
            "disturbed": disturbed,
            **describe_move(move, work[move.service], trigger, evidence.decisions, evidence.emissions),
        }


def summarise(evidence: Evidence) -> Summary:
    """Everything of summary.json. Raises ValueError if there are no requests or no cycles."""
    if not evidence.requests or not evidence.cycles:
        raise ValueError("the run has no requests or no cycles")
    run = evidence.run
    requests = serving_nodes(evidence.requests, evidence.executions)
    judged = judged_cycles(evidence)
    samples = latencies(evidence, requests, judged)
    moved = list(migrations(evidence, requests, judged))
    ways = {way: of_way(way, judged, requests, samples.get(way, {}), moved) for way in run["ways"]}
    late = late_p99_ms(requests)
    got = delivered(judged, evidence.loads)
    used = validity.use(evidence.machine)
    steady = {way: one["latency_ms"].get(APPLICATION, {}).get(STEADY, {}).get("p50") for way, one in ways.items()}
    causes = [
        *validity.machine_causes(run["machine"]["cores"], used),
        *validity.run_causes(late, got, steady),
    ]
    lost = count(requests, LOST)
    summary: Summary = {
        **run,
        "valid": not causes,
        "causes": causes,
        "cycles": len(judged),
        "requests": len(requests),
        "lost": lost,
        "failed": count(requests, FAILED),
        "duplicated": duplicated(requests, evidence.executions),
        "lost_rate_bound_95": round(3 / len(requests), 6) if lost == 0 else None,
        "evidence_rows_missing": rows_missing(requests, evidence.executions, evidence.emissions),
        "generator_late_p99_ms": late,
        "budget_delivered": got,
        "machine_use": None if used is None else {name: rounded(value) for name, value in vars(used).items()},
        "headline": headline(ways, judged, requests),
        "ways": ways,
        "migrations": moved,
    }
    if causes:
        withhold(summary)
    return summary


def rounded(value: float | None) -> float | None:
    """To a tenth of a percent."""
    return None if value is None else round(value, 3)


def of_way(
    way: str,
    judged: Sequence[Judged],
    requests: Iterable[Request],
    samples: Mapping[str, Mapping[str, Sequence[float]]],
    moved: Iterable[Mapping[str, Any]],
) -> dict[str, Any]:
    """What is told of one way to meet a disturbance."""
    mine = [one for one in judged if one.cycle.way == way]
    spans = [(one.cycle.placed_ns, one.cycle.end_ns) for one in mine]
    sent = [one for one in requests if within(spans, one.intended_ns)]
    own = [one for one in moved if one["way"] == way and one["service"] == APPLICATION and one["disturbed"]]
    first = list({one["cycle"]: one for one in reversed(own)}.values())
    return {
        "cycles": len(mine),
        "counted": sum(not one.early for one in mine),
        "moved": len(first),
        "undisturbed_moves": dict(
            Counter(one["service"] for one in moved if one["way"] == way and not one["disturbed"])
        ),
        "requests": len(sent),
        "lost": count(sent, LOST),
        "failed": count(sent, FAILED),
        **{
            name: figures(value for one in first if (value := one[name]) is not None)
            for name in ("trigger_to_first_steered_ms", "report_to_first_steered_ms", "longest_gap_ms")
        },
        "latency_ms": {
            service: {phase: figures(values) for phase, values in phases.items()}
            for service, phases in sorted(samples.items())
        },
    }


def within(spans: Sequence[tuple[int, int]], time_ns: int) -> bool:
    """Whether a time lies in one of these spans, which are in order."""
    after = bisect_left(spans, (time_ns + 1, 0))
    return after > 0 and time_ns < spans[after - 1][1]


def headline(
    ways: Mapping[str, Mapping[str, Any]], judged: Sequence[Judged], requests: Iterable[Request]
) -> dict[str, Any] | None:
    """The window of each way by the highest quantile that all of them have the samples for, and its confidence
    interval from cycle to cycle; None without one."""
    windows = {way: one["latency_ms"].get(APPLICATION, {}).get(WINDOW) for way, one in ways.items()}
    known = {way: window for way, window in windows.items() if window is not None and window["n"]}
    name = highest_told(known.values()) if known.keys() == ways.keys() else None
    if name is None:
        return None
    intervals = {}
    for way in known:
        limits = interval(windows_of_cycles(way, judged, requests), QUANTILES[name])
        intervals[way] = None if limits is None else [round(limit, 3) for limit in limits]
    return {
        "quantile": name,
        "ms": {way: window[name] for way, window in known.items()},
        "interval_95_ms": intervals,
    }


def windows_of_cycles(way: str, judged: Sequence[Judged], requests: Iterable[Request]) -> list[list[float]]:
    """The application's latencies in the window of each cycle of a way, ms."""
    windows: dict[int, list[float]] = {}
    for one in requests:
        found = cycle_of(judged, one.intended_ns)
        if found is None or one.service != APPLICATION or one.latency_ns is None or found.cycle.way != way:
            continue
        if found.phase(one.intended_ns) == WINDOW:
            windows.setdefault(found.cycle.number, []).append(one.latency_ns / 1e6)
    return list(windows.values())


def withhold(summary: Summary) -> None:
    """Leave no figure of time in a summary: they would tell of the machine."""
    summary["headline"] = None
    for one in summary["ways"].values():
        for name in ("trigger_to_first_steered_ms", "report_to_first_steered_ms", "longest_gap_ms"):
            one[name] = withheld(one[name])
        for phases in one["latency_ms"].values():
            for phase in phases:
                phases[phase] = withheld(phases[phase])
    for move in summary["migrations"]:
        for name in move:
            if name.endswith("_ms"):
                move[name] = None
