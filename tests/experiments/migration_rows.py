"""Rows of a run as the tests of its judging make them."""

from __future__ import annotations

from typing import Any

from experiments.migration.judge import Evidence
from experiments.migration.measure import SECOND
from experiments.migration.records import OK, Load, Request
from experiments.migration.samples import Cycle, MachineSample, RankSample

MS = 1_000_000
CYCLE_MS = 3000
TRIGGER_MS = 1200
CALM_MS = 2500


def request(number: int, at_ms: float, node: str | None = "edge1", latency_ms: float = 5, **changes: object) -> Request:
    """A request that was answered."""
    intended = int(at_ms * MS)
    values: dict[str, object] = {
        "id": number,
        "client": 1,
        "service": "preprocess",
        "intended_ns": intended,
        "sent_ns": intended,
        "received_ns": intended + int(latency_ms * MS),
        "node": node,
        "outcome": OK,
        "answers": 1,
    }
    return Request(**{**values, **changes})  # type: ignore[arg-type]


def cycles(ways: list[str], *, disturbed: bool = True) -> list[Cycle]:
    """A cycle of each of these ways, one after the other."""
    made = []
    for number, way in enumerate(ways):
        start = number * CYCLE_MS * MS
        trigger, calm = (start + TRIGGER_MS * MS, start + CALM_MS * MS) if disturbed else (None, None)
        made.append(Cycle(number + 1, 1, way, "edge1", start, trigger, calm, start + CYCLE_MS * MS))
    return made


def steered(ways: list[str], moved_ms: float = 1400, slow_ms: float = 80, gap_ms: float = 10) -> list[Request]:
    """A request every few ms: disturbed ones take long on edge1; without steering all are there."""
    found = []
    for number in range(int(len(ways) * CYCLE_MS / gap_ms)):
        at = number * gap_ms
        way, inside = ways[int(at // CYCLE_MS)], at % CYCLE_MS
        away = way != "unsteered" and moved_ms <= inside
        slow = TRIGGER_MS <= inside < CALM_MS and not away
        found.append(request(number, at, "edge2" if away else "edge1", slow_ms if slow else 5))
    return found


def evidence(ways: list[str], requests: list[Request], **changes: Any) -> Evidence:
    """A calm machine of two cores, each node with its whole budget while it is disturbed."""
    made = cycles(ways)
    loads = [Load(time * 10 * MS, 990, 0) for time in range(len(ways) * CYCLE_MS // 10)]
    ranks = [RankSample(at * SECOND, "preprocess", node, 65000) for at in range(9) for node in ("edge1", "edge2")]
    values: dict[str, Any] = {
        "run": {
            "ways": list(dict.fromkeys(ways)),
            "first_node": "edge1",
            "start_ns": 0,
            "disturb": "cpu",
            "target": "softswitch",
            "machine": {"cores": 2, "cpu": "a cpu", "kernel": "6.1", "python": "3.11", "commit": "abc"},
            "cameras": 4,
            "frames_per_second": 6.0,
            "http_per_second": 8.0,
            "budget_cores": 0.5,
            "seed": 1,
            "when": "2026-01-01T00:00:00Z",
        },
        "requests": requests,
        "executions": [],
        "decisions": [],
        "emissions": {},
        "loads": {("edge1", "preprocess"): loads},
        "cycles": made,
        "ranks": ranks,
        "machine": [MachineSample(0, 0, 0, 0, 0, 0), MachineSample(10 * SECOND, 20_000, 9000, 0, 100_000, 100_000)],
    }
    return Evidence(**{**values, **changes})
