"""What the experiment shows, from its raw rows alone. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, median
from typing import Any

import numpy as np

from experiments.congestion.rows import STEADY_US, WINDOW_US, Answer, Depth, Done, Facts
from experiments.congestion.ways import STEERED, WAYS
from experiments.detection.kinds import HERE
from experiments.migration.figures import BEYOND
from experiments.migration.records import FAILED, LOST, OK
from experiments.migration.validity import CORES, LATE_MS, STEAL, SWITCH_WAIT

PATIENCE_MS = 5000.0
"""A request without an answer for so long is lost; one that was lost or failed counts as one that took so long."""
LATE = 3.0
"""A request is late from so many times its way's steady 99th percentile on."""
LAST = 5
"""A window whose last steady requests, so many, were not all served by the node that is then disturbed tells nothing of
a way in which one node has them all."""
AHEAD = 20
"""A node is left with the first request from which on it serves one of so many at most."""
BIN_US = 250_000
"""Of the picture's curves."""
DRAWS = 400
"""Of a bootstrap."""
FEWEST_COUNT = 0.9
"""Of a way's windows: one of which fewer count was something else than it is called."""
CONGESTED = 2.0
"""Where nothing is done, requests of the windows must take so many times the steady ones at the 99th percentile."""

Groups = Sequence[np.ndarray]
"""Values of windows that are alike, an array for each."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What one window came to. Times in ms."""

    round: int
    steady: np.ndarray
    """Latencies of the requests before the disturbance."""
    inside: np.ndarray
    """Latencies of those of the window."""
    late: np.ndarray
    """How late they all were sent."""
    lost: int
    failed: int
    """In the window and before."""
    early: bool
    """Requests went elsewhere before anything happened."""
    left_ms: float | None
    """Until the disturbed node was left; None if it never was."""
    peak: int
    """The longest queue that a node reported."""


@dataclass
class Tally:
    """The windows of a way."""

    judged: list[Judged] = field(default_factory=list)
    noted: int = 0
    """Windows in which something went wrong beside."""

    @property
    def counting(self) -> list[Judged]:
        """Those that tell something."""
        return [one for one in self.judged if not one.early]


def latency_ms(one: Answer) -> float:
    """How long a request took, from its intended start on."""
    return one.latency_us / 1000 if one.latency_us is not None and one.outcome == OK else PATIENCE_MS


def left_ms(inside: Sequence[Answer]) -> float | None:
    """From the disturbance to the first request from which on the disturbed node serves hardly any."""
    here = [one.node == HERE for one in inside]
    for at in range(len(inside) - AHEAD + 1):
        if not here[at] and inside[at].outcome == OK and sum(here[at : at + AHEAD]) <= 1:
            return inside[at].at_us / 1000
    return None


def judged(way: str, round_: int, answers: Sequence[Answer], depths: Mapping[str, Sequence[Depth]]) -> Judged:
    """Judge a window by its requests, in the order of their times, and its nodes' queues."""
    steady = [one for one in answers if one.at_us < 0]
    inside = [one for one in answers if one.at_us >= 0]
    last = [one.node for one in steady[-LAST:]]
    return Judged(
        round_,
        np.array([latency_ms(one) for one in steady]),
        np.array([latency_ms(one) for one in inside]),
        np.array([one.late_us / 1000 for one in answers]),
        sum(one.outcome == LOST for one in answers),
        sum(one.outcome == FAILED for one in answers),
        WAYS[way].one_host and any(node != HERE for node in last),
        left_ms(inside),
        max((one.queue for some in depths.values() for one in some if one.at_us >= 0), default=0),
    )


def tallies(facts: Facts) -> dict[str, Tally]:
    """The windows of each way."""
    found = {name: Tally() for name in facts.options["ways"]}
    for done in facts.done:
        for window in done.windows:
            tally = found[done.way]
            if window.note:
                tally.noted += 1
            else:
                answers, depths = facts.answers[window.number], facts.depths[window.number]
                tally.judged.append(judged(done.way, done.round, answers, depths))
    return found


def quantile(values: np.ndarray, q: float) -> float | None:
    """By nearest rank; None of fewer than 10/(1-q) values: it would be an accident."""
    if len(values) * (1 - q) < BEYOND - 1e-9:
        return None
    return _quantile(values, q)


def _quantile(values: np.ndarray, q: float) -> float:
    at = min(len(values) - 1, max(0, int(np.ceil(q * len(values) - 1e-9)) - 1))
    return float(np.partition(values, at)[at])


def _draws(count: int, figure: Callable[[np.ndarray], float | None]) -> tuple[float, float] | None:
    """The 95 % confidence interval of a figure of draws from so many, with repetition; None of fewer than two."""
    if count < 2:
        return None
    chance = np.random.default_rng(0)
    drawn = (figure(chance.integers(0, count, count)) for _ in range(DRAWS))
    found = sorted(one for one in drawn if one is not None)
    return (found[int(len(found) * 0.025)], found[int(len(found) * 0.975)]) if found else None


def interval(groups: Groups, q: float) -> tuple[float, float] | None:
    """The 95 % confidence interval of a quantile: a bootstrap of whole windows, since what one has is alike."""
    if quantile(np.concatenate(groups) if groups else np.array([]), q) is None:
        return None
    return _draws(len(groups), lambda some: _quantile(np.concatenate([groups[at] for at in some]), q))


def ratio(mine: Mapping[int, Groups], base: Mapping[int, Groups], q: float) -> tuple[float, tuple[float, float]] | None:
    """A quantile against that of another way, with its 95 % confidence interval; both by round.

    A bootstrap of whole rounds, in which the ways met the same: a round is drawn for both, or for neither.
    """
    rounds = sorted(mine.keys() & base.keys())
    pools = [(np.concatenate(mine[at]), np.concatenate(base[at])) for at in rounds]
    whole = [np.concatenate([pool[side] for pool in pools]) if pools else np.array([]) for side in (0, 1)]
    if any(quantile(values, q) is None for values in whole):
        return None

    def figure(some: Iterable[int]) -> float | None:
        drawn = [pools[at] for at in some]
        below = _quantile(np.concatenate([pool[1] for pool in drawn]), q)
        return _quantile(np.concatenate([pool[0] for pool in drawn]), q) / below if below else None

    bounds, value = _draws(len(rounds), figure), figure(range(len(rounds)))
    return None if bounds is None or value is None else (value, bounds)


def area(inside: np.ndarray, normal_ms: float) -> float:
    """What a window has over the normal latency, in ms times s: the mean excess of its requests, times its length."""
    return float(np.maximum(inside - normal_ms, 0).mean() * WINDOW_US / 1e6) if len(inside) else 0.0


def figures(tally: Tally) -> dict[str, Any]:
    """The figures of a way. Times in ms, areas in ms times s."""
    counting = tally.counting
    steady = np.concatenate([np.array([]), *(one.steady for one in counting)])
    inside = np.concatenate([np.array([]), *(one.inside for one in counting)])
    sent_late = np.concatenate([np.array([]), *(one.late for one in tally.judged)])
    groups = [one.inside for one in counting if len(one.inside)]
    normal = quantile(steady, 0.99)
    areas = [] if normal is None else [area(one.inside, normal) for one in counting]
    left = [one.left_ms for one in counting]
    known = [one for one in left if one is not None]
    requests = sum(len(one.steady) + len(one.inside) for one in tally.judged)
    return {
        "windows": len(counting),
        "early": len(tally.judged) - len(counting),
        "noted": tally.noted,
        "requests": requests,
        "lost": sum(one.lost for one in tally.judged),
        "failed": sum(one.failed for one in tally.judged),
        "bound_95": _told(3e6 / requests) if requests else None,
        "late": None if normal is None else int((inside > LATE * normal).sum()),
        "steady_ms": {"p50": _told(quantile(steady, 0.5)), "p99": _told(normal)},
        "window_ms": {
            "requests": len(inside),
            "p50": _told(quantile(inside, 0.5)),
            "p99": _told(quantile(inside, 0.99)),
            "p99_interval": _both(interval(groups, 0.99)),
            "p999": _told(quantile(inside, 0.999)),
            "p999_interval": _both(interval(groups, 0.999)),
            "max": _told(float(inside.max())) if len(inside) else None,
        },
        "area_ms_s": _told(fmean(areas)) if areas else None,
        "area_interval": _both(_draws(len(areas), lambda some: fmean(areas[at] for at in some))),
        "queue": {
            "p50": median([one.peak for one in counting]) if counting else None,
            "max": max((one.peak for one in counting), default=None),
        },
        "left": len(known),
        "left_ms": _told(median(known)) if known and 2 * len(known) > len(left) else None,
        "sent_late_p99_ms": _told(quantile(sent_late, 0.99)),
    }


def _told(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def _both(bounds: tuple[float, float] | None) -> list[float] | None:
    return None if bounds is None else [round(one, 3) for one in bounds]


def by_round(tally: Tally) -> dict[int, list[np.ndarray]]:
    """The latencies of a way's windows, by round."""
    found: dict[int, list[np.ndarray]] = {}
    for one in tally.counting:
        if len(one.inside):
            found.setdefault(one.round, []).append(one.inside)
    return found


def curves(facts: Facts) -> dict[str, dict[str, list[float | None]]]:
    """By way, for each bin from the steady time to the window's end: the 90th percentile of the latency (ms) of the
    requests that were to be sent in it, and the mean of the longest queue that the nodes of a window had in it."""
    bins = range(-STEADY_US, WINDOW_US, BIN_US)
    latencies: dict[str, list[list[float]]] = {}
    queues: dict[str, list[list[int]]] = {}
    for done in facts.done:
        slow = latencies.setdefault(done.way, [[] for _ in bins])
        deep = queues.setdefault(done.way, [[] for _ in bins])
        for window in done.windows:
            if window.note:
                continue
            for one in facts.answers[window.number]:
                slow[(one.at_us + STEADY_US) // BIN_US].append(latency_ms(one))
            longest = [0] * len(bins)
            for some in facts.depths[window.number].values():
                for at, value in enumerate(longest_by_bin(some)):
                    longest[at] = max(longest[at], value)
            for at, value in enumerate(longest):
                deep[at].append(value)
    return {
        way: {
            "p90_ms": [_told(quantile(np.array(some), 0.9)) for some in slow],
            "queue": [_told(fmean(some)) if some else None for some in queues[way]],
        }
        for way, slow in latencies.items()
    }


def longest_by_bin(depths: Sequence[Depth]) -> list[int]:
    """The longest queue in each bin: one lasts until the next report that tells of another."""
    found = [0] * len(range(-STEADY_US, WINDOW_US, BIN_US))
    ends = [*(one.at_us for one in depths[1:]), WINDOW_US]
    for one, end in zip(depths, ends, strict=False):
        first, last = (one.at_us + STEADY_US) // BIN_US, (end - 1 + STEADY_US) // BIN_US
        for at in range(first, min(last, len(found) - 1) + 1):
            found[at] = max(found[at], one.queue)
    return found


def invalid(facts: Facts, ways: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Why the run tells nothing, by rule; empty if it does."""
    found = list(_machine(facts.machine, facts.done))
    for name, one in ways.items():
        late = one["sent_late_p99_ms"]
        if late is None:
            found.append(f"{name}: too few requests ({one['requests']}) to tell anything")
        elif late > LATE_MS:
            found.append(f"{name}: requests left {late:.3g} ms late at the 99th percentile (limit {LATE_MS:g})")
        planned = one["windows"] + one["early"] + one["noted"]
        if one["windows"] < FEWEST_COUNT * planned:
            found.append(f"{name}: only {one['windows']} of {planned} windows tell something")
    static = ways.get("static")
    if static is not None:
        steady, inside = static["steady_ms"]["p99"], static["window_ms"]["p99"]
        if steady is not None and inside is not None and inside < CONGESTED * steady:
            found.append(f"static: nothing was congested: p99 {inside:.3g} ms, steady {steady:.3g} ms")
    return found


def _machine(machines: Sequence[Mapping[str, Any]], done: Sequence[Done]) -> Iterable[str]:
    cores = min((int(one["cores"]) for one in machines), default=CORES)
    if cores < CORES:
        yield f"the switch, the nodes and the load share {cores} core: they need {CORES}"
    if len({one.get("commit") for one in machines}) > 1:
        yield "it was gone on with by another commit"
    if done and (steal := fmean(one.steal for one in done)) > STEAL:
        yield f"the hypervisor took {steal:.0%} of the cores' time (limit {STEAL:.0%})"
    waits = [one.switch_wait for one in done if one.switch_wait is not None]
    if waits and (waited := fmean(waits)) > SWITCH_WAIT:
        yield f"the switch waited for a core {waited:.0%} of the time (limit {SWITCH_WAIT:.0%})"


def summarise(facts: Facts) -> dict[str, Any]:
    """All figures."""
    found = tallies(facts)
    ways = {name: figures(tally) for name, tally in found.items()}
    base = by_round(found[STEERED]) if STEERED in found else {}
    for name, tally in found.items():
        compared = ratio(by_round(tally), base, 0.99) if name != STEERED else None
        ways[name]["p99_to_steered"] = None if compared is None else _told(compared[0])
        ways[name]["p99_to_steered_interval"] = None if compared is None else _both(compared[1])
    pressures = [one.pressure for one in facts.done if one.pressure is not None]
    return {
        "machine": facts.machine,
        "options": facts.options,
        "peers": facts.peers,
        "cost_ns": facts.cost_ns,
        "pressure": _told(fmean(pressures)) if pressures else None,
        "segments": len(facts.done),
        "invalid": invalid(facts, ways),
        "ways": ways,
        "curves": curves(facts),
    }
