"""Rows of the migration experiment as a run leaves them, made up."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from experiments import scenario
from experiments.moves import rows
from experiments.moves.plan import INTERVAL_US, PERIOD_NS, Plan, segments
from experiments.moves.rows import Changed, Done, Facts, Request, Told

MS = 1_000_000
START = 1000 * MS
PERIODS = 4


def done(way: str = "route") -> Done:
    return Done(1, 1, way, f"001-{way}", START, PERIOD_NS, PERIODS)


def facts(
    after_ms: Callable[[int], float | None] = lambda _: 5.0, keep: Callable[[int], bool] = lambda _: True
) -> Facts:
    """Requests a millisecond apart. In each period the host is busy from its first report on, 3 ms after its beginning,
    and the service leaves it `after_ms` later (None: it stays). `keep` tells which requests arrive."""
    host, requests, arrived = 0, list[Request](), [list[tuple[int, int]](), list[tuple[int, int]]()]
    told, changed = [list[Told](), list[Told]()], list[Changed]()
    moved = [
        None if (ms := after_ms(period)) is None else period_begin(period) + round((3 + ms) * MS)
        for period in range(PERIODS)
    ]
    for period in range(PERIODS):
        told[period % 2].append(Told(period_begin(period) + 3 * MS, True))
        told[1 - period % 2].append(Told(period_begin(period) + 4 * MS, False))
        if (at := moved[period]) is not None:
            changed.append(Changed(1 - period % 2, at - 2 * MS, at - MS))
    for number, at in enumerate(range(START - 500 * MS, START + PERIODS * PERIOD_NS, MS)):
        passed = [period for period in range(PERIODS) if (moment := moved[period]) is not None and moment <= at]
        host = 1 - passed[-1] % 2 if passed else 0
        answered = keep(number)
        requests.append(
            Request(number, at, at + 1000, at + 200_000 if answered else 0, int(answered), 0, host if answered else -1)
        )
        if answered:
            arrived[host].append((at + 100_000, number))
    return Facts(requests, arrived, told, changed)


def period_begin(period: int) -> int:
    return START + period * PERIOD_NS


def a_run(folder: Path, ways: Sequence[str], after_ms: Callable[[int], float | None] = lambda _: 5.0) -> None:
    """Write the folder of a run of these ways, all of which do the same."""
    plan = Plan(1, ways, 2, PERIODS, 1000)
    options = {**dataclasses.asdict(plan), "target": "softswitch", "interval_us": INTERVAL_US}
    scenario.begin(folder / rows.RUN, rows.KINDS, options)
    for one in segments(plan):
        rows.add(folder, Done(one.number, one.round, one.way, one.name, START, PERIOD_NS, PERIODS))
        write_segment(folder / one.name, facts(after_ms))


def write_segment(folder: Path, found: Facts) -> None:
    """Write the files of a segment."""
    folder.mkdir()
    _write(folder / rows.CLIENT, list(Request.__dataclass_fields__), map(dataclasses.astuple, found.requests))
    for member, (arrived, told) in enumerate(zip(found.arrived, found.told, strict=True)):
        lines = [("request", id_, at, 0) for at, id_ in arrived]
        lines += [("report", 0, one.emitted_ns, int(one.busy)) for one in told]
        _write(folder / rows.NODE.format(member), ["what", "id", "time_ns", "busy"], lines)
    _write(folder / rows.CONTROLLED, list(Changed.__dataclass_fields__), map(dataclasses.astuple, found.changed))


def _write(file: Path, names: Sequence[str], lines: Iterable[Sequence[Any]]) -> None:
    with file.open("w", newline="") as content:
        writer = csv.writer(content)
        writer.writerow(names)
        writer.writerows(lines)
