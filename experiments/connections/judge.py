"""What the experiment shows, from its raw rows alone. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from experiments.connections.client import DOWNLOAD, FAILED, KEPT, LOST, OK, RESET, Row
from experiments.connections.plan import WINDOW_S
from experiments.connections.rows import Facts, Move
from experiments.migration.validity import CORES

FEWEST_MOVED = 0.9
"""Of the moves: a way that fails more often is not compared with one that does not."""


@dataclass(frozen=True, slots=True)
class Left:
    """What one move came to. Times in ms from the move on; None: that did not happen before the next one."""

    first_ms: float | None
    """Until a request was answered by the new node."""
    kept_ms: float | None
    """Until the last answer to a kept connection by the old node."""
    empty_ms: float | None
    """Until the last download from the old node ended."""


@dataclass
class Tally:
    """What was counted of a way."""

    moves: list[Left] = field(default_factory=list)
    requests: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)
    """Of requests over kept connections."""
    opened: int = 0
    """Connections that were opened for them after a segment's first move."""
    downloads: int = 0
    broken: int = 0
    """Downloads that did not come to their end."""


def left(move: Move, requests: Sequence[Row]) -> Left:
    """Judge a move by the requests of its segment."""
    until = move.at_ns + int(WINDOW_S * 1e9)
    mine = [one for one in requests if move.at_ns <= one.ended_ns < until and one.outcome == OK]
    kept, downloads = ([one for one in mine if one.kind == kind] for kind in (KEPT, DOWNLOAD))
    return Left(
        _ms(move, min((one.ended_ns for one in kept if one.node == move.to), default=None)),
        _ms(move, max((one.ended_ns for one in kept if one.node == move.origin), default=None)),
        _ms(move, max((one.ended_ns for one in downloads if one.node == move.origin), default=None)),
    )


def _ms(move: Move, at_ns: int | None) -> float | None:
    return None if at_ns is None else (at_ns - move.at_ns) / 1e6


def take(tally: Tally, moves: Sequence[Move], requests: Sequence[Row]) -> None:
    """Add a segment to what is known of its way."""
    tally.moves += [left(move, requests) for move in moves]
    for one in requests:
        if one.kind == DOWNLOAD:
            tally.downloads += 1
            tally.broken += one.outcome != OK
        else:
            tally.requests += 1
            tally.outcomes[one.outcome] = tally.outcomes.get(one.outcome, 0) + 1
            tally.opened += one.opened and bool(moves) and one.started_ns >= moves[0].at_ns


def figures(tally: Tally) -> dict[str, Any]:
    """The figures of a way. Times in ms; with none reset or broken of N, fewer than 3/N are at 95 % confidence."""
    return {
        "moves": sum(one.first_ms is not None for one in tally.moves),
        "missed": sum(one.first_ms is None for one in tally.moves),
        "requests": tally.requests,
        **{name: tally.outcomes.get(name, 0) for name in (RESET, LOST, FAILED)},
        "opened": tally.opened,
        "downloads": tally.downloads,
        "broken": tally.broken,
        "first_ms": _spread(one.first_ms for one in tally.moves),
        "kept_ms": _spread(one.kept_ms for one in tally.moves),
        "empty_ms": _spread(one.empty_ms for one in tally.moves),
        "each": [
            [None if ms is None else round(ms, 3) for ms in (one.first_ms, one.kept_ms, one.empty_ms)]
            for one in tally.moves
        ],
    }


def _spread(values: Iterable[float | None]) -> dict[str, float | None]:
    known = [one for one in values if one is not None]
    return {"p50": round(median(known), 3) if known else None, "max": round(max(known), 3) if known else None}


def invalid(facts: Facts, ways: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Why the run tells nothing, by rule; empty if it does."""
    found = []
    cores = min((int(one["cores"]) for one in facts.machine), default=CORES)
    if cores < CORES:
        found.append(f"the switch, the nodes and the client share {cores} core: they need {CORES}")
    if len({one.get("commit") for one in facts.machine}) > 1:
        found.append("it was gone on with by another commit")
    for name, one in ways.items():
        asked = one["moves"] + one["missed"]
        if one["moves"] < FEWEST_MOVED * asked:
            found.append(f"{name}: only {one['moves']} of {asked} moves moved anything")
        if not one["downloads"] or not one["requests"]:
            found.append(f"{name}: there was no request, or no download")
    return found


def summarise(facts: Facts) -> dict[str, Any]:
    """All figures."""
    tallies = {name: Tally() for name in facts.options["ways"]}
    for one in facts.done:
        take(tallies[one.way], one.moves, facts.requests[one.number])
    ways = {name: figures(tally) for name, tally in tallies.items()}
    return {
        "machine": facts.machine,
        "options": facts.options,
        "peers": facts.peers,
        "invalid": invalid(facts, ways),
        "ways": ways,
    }
