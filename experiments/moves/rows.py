"""The raw rows of the experiment, as they lie in its folder. Times are ns of the machine's monotonic clock.

`run.ndjson` has an object a line, told apart by `row`: `machine` for each time that the run was begun or gone on with,
`options`, then a `segment` for each that is done. A
segment's folder has `client.csv` with every request, `node0.csv` and `node1.csv` with what each node received and
reported, `executions0.csv` and `executions1.csv` with what its gateway received, where a function serves, and
`controller.csv` with what the controller did, where there is one.
"""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from experiments import scenario

RUN, CLIENT, CONTROLLED = "run.ndjson", "client.csv", "controller.csv"
NODE, EXECUTED = "node{}.csv", "executions{}.csv"
"""By member."""


@dataclass(frozen=True, slots=True)
class Done:
    """A segment that was run."""

    row: ClassVar = "segment"

    number: int
    round: int
    way: str
    name: str
    start_ns: int
    """When its first period began."""
    period_ns: int
    moves: int


KINDS = (Done.row,)
"""Of rows."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request: when it was to be sent, was sent, and its first answer came (0: none), and who gave that.

    `failed` is 1 for an answer that is an error, which nobody is named for.
    """

    id: int
    intended_ns: int
    sent_ns: int
    received_ns: int
    answers: int
    failed: int
    member: int


@dataclass(frozen=True, slots=True)
class Told:
    """A report that a node emitted."""

    emitted_ns: int
    busy: bool


@dataclass(frozen=True, slots=True)
class Changed:
    """A rule that a controller changed."""

    member: int
    decided_ns: int
    applied_ns: int


@dataclass(frozen=True, slots=True)
class Facts:
    """What a segment left."""

    requests: list[Request]
    arrived: list[list[tuple[int, int]]]
    """By node: when a request arrived, and its id."""
    told: list[list[Told]]
    """By node."""
    changed: list[Changed]


def add(folder: Path, done: Done) -> None:
    """Add a segment that is done."""
    scenario.append(folder / RUN, done.row, **dataclasses.asdict(done))


def read(folder: Path) -> tuple[list[dict[str, Any]], dict[str, Any], list[Done]]:
    """The machine at each beginning, options and segments.

    Raises OSError, ValueError where a row is not what it should be.
    """
    found = scenario.read(folder / RUN, KINDS)
    return found["machine"], found["options"][0], [Done(**values) for values in found[Done.row]]


def read_segment(folder: Path, nodes: int) -> Facts:
    """Read a segment's folder. Raises OSError, ValueError."""
    requests = [Request(**{name: int(value) for name, value in row.items()}) for row in _rows(folder / CLIENT)]
    arrived: list[list[tuple[int, int]]] = []
    told: list[list[Told]] = []
    for member in range(nodes):
        arrived.append([])
        told.append([])
        for row in _rows(folder / NODE.format(member)):
            at = int(row["time_ns"])
            if row["what"] == "report":
                told[-1].append(Told(at, row["busy"] == "1"))
            else:
                arrived[-1].append((at, int(row["id"])))
        for row in _rows(folder / EXECUTED.format(member)):
            arrived[-1].append((int(row["received_ns"]), int(row["request_id"])))
    changed = [Changed(**{name: int(value) for name, value in row.items()}) for row in _rows(folder / CONTROLLED)]
    return Facts(requests, arrived, told, changed)


def _rows(file: Path) -> Iterator[dict[str, str]]:
    if file.exists():
        with file.open(newline="") as lines:
            yield from csv.DictReader(lines)
