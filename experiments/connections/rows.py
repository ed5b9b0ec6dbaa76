"""The raw rows of the experiment, as they lie in its folder. Times are ns of the machine's monotonic clock.

`run.ndjson` has an object a line, told apart by `row`: `machine`, `options`, `peers`, then a `segment` for each that is
done, with its moves. `requests.csv.gz` has a row for each request and each download.
"""

from __future__ import annotations

import csv
import dataclasses
import gzip
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from experiments import scenario
from experiments.connections.client import COLUMNS, Row

RUN, REQUESTS = "run.ndjson", "requests.csv.gz"
KINDS = ("peers", "segment")
"""Of the rows of RUN, beside those that every experiment has."""


@dataclass(frozen=True, slots=True)
class Move:
    """The service left a node for another one."""

    at_ns: int
    origin: str
    to: str


@dataclass(frozen=True, slots=True)
class Done:
    """A segment that was run."""

    row: ClassVar = "segment"

    number: int
    round: int
    way: str
    moves: tuple[Move, ...]
    ended_ns: int
    size: int
    """Bytes of the file of requests, with this segment's."""


@dataclass(frozen=True, slots=True)
class Facts:
    """All raw rows of an experiment."""

    machine: list[dict[str, Any]]
    """A row for each time that it was begun or gone on with."""
    options: dict[str, Any]
    peers: dict[str, str]
    done: list[Done]
    requests: dict[int, list[Row]]
    """By segment."""


def read_client(file: Path) -> list[Row]:
    """What a client has written. Raises OSError, ValueError."""
    with file.open(newline="") as lines:
        return [_row(line) for line in list(csv.reader(lines))[1:]]


def _row(line: list[str]) -> Row:
    kind, started, ended, node, outcome, opened = line
    return Row(kind, int(started), int(ended), node, outcome, int(opened))


def add(folder: Path, done: Done, requests: Iterable[Row]) -> None:
    """Add a segment that is done; its `size` is found here."""
    file = folder / REQUESTS
    new = not file.exists() or not file.stat().st_size
    with gzip.open(file, "at", newline="") as text:
        writer = csv.writer(text, lineterminator="\n")
        if new:
            writer.writerow(("segment", *COLUMNS))
        writer.writerows((done.number, *dataclasses.astuple(one)) for one in requests)
    size = file.stat().st_size
    scenario.append(folder / RUN, done.row, **dataclasses.asdict(dataclasses.replace(done, size=size)))


def cut(folder: Path, done: list[Done]) -> None:
    """Take away what a segment left that was not ended."""
    if (folder / REQUESTS).exists():
        os.truncate(folder / REQUESTS, done[-1].size if done else 0)


def read_done(folder: Path) -> list[Done]:
    """The segments that are done. Raises OSError, ValueError."""
    found = scenario.read(folder / RUN, KINDS)["segment"]
    return [Done(**{**values, "moves": tuple(Move(**move) for move in values["moves"])}) for values in found]


def read(folder: Path) -> Facts:
    """Read an experiment. Raises OSError, ValueError where a file is not what it should be."""
    run, done = scenario.read(folder / RUN, KINDS), read_done(folder)
    requests: dict[int, list[Row]] = {one.number: [] for one in done}
    if (folder / REQUESTS).exists():
        with gzip.open(folder / REQUESTS, "rt", newline="") as lines:
            for number, *line in list(csv.reader(lines))[1:]:
                requests[int(number)].append(_row(line))
    peers = dict(run["peers"][0]) if run["peers"] else {}
    return Facts(run["machine"], run["options"][0], peers, done, requests)
