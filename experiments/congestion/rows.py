"""The raw rows of the experiment, as they lie in its folder: all that its figures are made from.

`run.ndjson` has an object a line, told apart by `row`: `machine`, `options`, `peers`, `cost`, then a `segment` for each
that is done, with its windows. `requests.csv.gz` has a row for each request of a window or of the steady time before
it, `queues.csv.gz` one for each report by which a node's queue has changed. Their times are µs from the disturbance of
the window that they name.
"""

from __future__ import annotations

import csv
import dataclasses
import gzip
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from experiments import scenario
from experiments.congestion.schedule import STEADY_S, WINDOW_S
from experiments.migration.records import Request

RUN, REQUESTS, QUEUES = "run.ndjson", "requests.csv.gz", "queues.csv.gz"
KINDS = ("peers", "cost", "segment")
"""Of the rows of RUN, beside those that every experiment has."""
REQUEST_COLUMNS = ("window", "at_us", "late_us", "latency_us", "node", "outcome")
QUEUE_COLUMNS = ("window", "node", "at_us", "queue")
STEADY_US, WINDOW_US = round(STEADY_S * 1e6), round(WINDOW_S * 1e6)


@dataclass(frozen=True, slots=True)
class Window:
    """One disturbance. Times in ns of the machine's monotonic clock."""

    number: int
    """In the run, from 1."""
    began_ns: int
    ended_ns: int
    acted_ns: int | None = None
    """When the fabric file was changed, in a way that does so."""
    note: str = ""
    """What was wrong beside; the window counts for nothing then."""


@dataclass(frozen=True, slots=True)
class Done:
    """A segment that was run."""

    row: ClassVar = "segment"

    number: int
    round: int
    way: str
    kind: str
    windows: tuple[Window, ...]
    steal: float
    """Share of the cores' time that the hypervisor took."""
    pressure: float | None
    """Share of the time in which something waited for a core, as the kernel tells it."""
    switch_wait: float | None
    """Share of the time in which a thread of the switch waited for one."""
    sizes: tuple[int, int]
    """Bytes of the files of requests and of queues, with this segment's."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A request of a window: when it was to be sent, how late it was, how long it took from then on (None: for ever),
    and who served it."""

    at_us: int
    late_us: int
    latency_us: int | None
    node: str
    outcome: str


@dataclass(frozen=True, slots=True)
class Depth:
    """A node's queue from a time on, as it was reported."""

    at_us: int
    queue: int


@dataclass(frozen=True, slots=True)
class Facts:
    """All raw rows of an experiment."""

    machine: list[dict[str, Any]]
    """A row for each time that it was begun or gone on with."""
    options: dict[str, Any]
    peers: dict[str, str]
    """The versions of others' programs, by name."""
    cost_ns: float | None
    """CPU time of a request."""
    done: list[Done]
    answers: dict[int, list[Answer]]
    """By window, in the order of their times."""
    depths: dict[int, dict[str, list[Depth]]]
    """By window and node."""


def answers(window: Window, requests: Iterable[Request]) -> Iterator[Answer]:
    """The requests of a window, and of the steady time before it."""
    for one in sorted(requests, key=lambda one: one.intended_ns):
        at_us = (one.intended_ns - window.began_ns) // 1000
        if -STEADY_US <= at_us < WINDOW_US:
            latency = None if one.latency_ns is None else one.latency_ns // 1000
            yield Answer(at_us, (one.sent_ns - one.intended_ns) // 1000, latency, one.node or "", one.outcome)


def depths(window: Window, reported: Iterable[tuple[int, int]]) -> Iterator[Depth]:
    """The changes of a node's queue in a window, of its reports by time (ns): what it was at first among them."""
    before: int | None = None
    for emitted_ns, queue in reported:
        at_us = (emitted_ns - window.began_ns) // 1000
        if -STEADY_US <= at_us < WINDOW_US and queue != before:
            before = queue
            yield Depth(at_us, queue)


def add_table(file: Path, columns: Sequence[str], lines: Iterable[Sequence[object]]) -> int:
    """Add lines to a compressed table; its size then, in bytes."""
    new = not file.exists() or not file.stat().st_size
    with gzip.open(file, "at", newline="") as text:
        writer = csv.writer(text, lineterminator="\n")
        if new:
            writer.writerow(columns)
        writer.writerows(lines)
    return file.stat().st_size


def add(folder: Path, done: Done, found: dict[int, list[Answer]], queues: dict[int, dict[str, list[Depth]]]) -> None:
    """Add a segment that is done, with its windows' requests and queues; its `sizes` are found here."""
    requests = add_table(
        folder / REQUESTS,
        REQUEST_COLUMNS,
        (
            (number, one.at_us, one.late_us, "" if one.latency_us is None else one.latency_us, one.node, one.outcome)
            for number, some in found.items()
            for one in some
        ),
    )
    changed = add_table(
        folder / QUEUES,
        QUEUE_COLUMNS,
        (
            (number, node, one.at_us, one.queue)
            for number, nodes in queues.items()
            for node, some in nodes.items()
            for one in some
        ),
    )
    scenario.append(folder / RUN, done.row, **dataclasses.asdict(dataclasses.replace(done, sizes=(requests, changed))))


def cut(folder: Path, done: Sequence[Done]) -> None:
    """Take away what a segment left that was not ended."""
    sizes = done[-1].sizes if done else (0, 0)
    for name, size in zip((REQUESTS, QUEUES), sizes, strict=True):
        if (folder / name).exists():
            os.truncate(folder / name, size)


def read_done(folder: Path) -> tuple[float | None, list[Done]]:
    """What a request costs, if that is known, and the segments that are done. Raises OSError, ValueError."""
    found = scenario.read(folder / RUN, KINDS)
    cost = float(found["cost"][0]["ns"]) if found["cost"] else None
    return cost, [_done(values) for values in found[Done.row]]


def _done(values: dict[str, Any]) -> Done:
    windows = tuple(Window(**window) for window in values["windows"])
    return Done(**{**values, "windows": windows, "sizes": tuple(values["sizes"])})


def read(folder: Path) -> Facts:
    """Read an experiment. Raises OSError, ValueError where a file is not what it should be."""
    run = scenario.read(folder / RUN, KINDS)
    cost, done = read_done(folder)
    known = {window.number for one in done for window in one.windows}
    found: dict[int, list[Answer]] = {number: [] for number in known}
    queues: dict[int, dict[str, list[Depth]]] = {number: {} for number in known}
    for row in _lines(folder / REQUESTS, REQUEST_COLUMNS):
        number, at, late, latency, node, outcome = row
        found[int(number)].append(Answer(int(at), int(late), int(latency) if latency else None, node, outcome))
    for number, node, at, queue in _lines(folder / QUEUES, QUEUE_COLUMNS):
        queues[int(number)].setdefault(node, []).append(Depth(int(at), int(queue)))
    peers = dict(run["peers"][0]) if run["peers"] else {}
    return Facts(run["machine"], run["options"][0], peers, cost, done, found, queues)


def _lines(file: Path, columns: Sequence[str]) -> Iterator[list[str]]:
    if not file.exists():
        return
    with gzip.open(file, "rt", newline="") as text:
        reader = csv.reader(text)
        header = tuple(next(reader, ()))
        if header != tuple(columns):
            raise ValueError(f"{file}: the columns are {', '.join(header)}, expected {', '.join(columns)}")
        yield from reader
