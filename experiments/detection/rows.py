"""The raw rows of the experiment, as they lie in its folder. Times are ns of the machine's monotonic clock.

`rows.ndjson` has one JSON object a line, told apart by `row`: first `machine` and `options`, then `cost`, `run` and
`rest` as they come. `load-*.csv` have every request, as `experiments.migration.records` has it, and `logs/nodes/` every
execution and every report.
"""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from experiments import scenario
from experiments.migration import records
from experiments.migration.measure import serving_nodes
from experiments.migration.records import Execution, Request
from greengrass_agent.logs.evidence import REPORTS

ROWS = "rows.ndjson"
LOADS = "load-*.csv"


@dataclass(frozen=True, slots=True)
class Ran:
    """One disturbance that was made."""

    row: ClassVar = "run"

    number: int
    variant: str
    kind: str
    steady_ns: int
    """From here on nothing was wrong, and the services were kept on the node."""
    released_ns: int
    """Until here; from here on the switch might move them."""
    began_ns: int
    """The disturbance began."""
    ended_ns: int
    """It was undone."""
    note: str = ""
    """What was wrong beside; the run counts for nothing then."""


@dataclass(frozen=True, slots=True)
class Rested:
    """A stretch without any disturbance."""

    row: ClassVar = "rest"

    number: int
    variant: str
    load: int
    """In percent of a node's budget."""
    released_ns: int
    """From here on the switch might move the services from where the runs have them."""
    began_ns: int
    """From here on each move was one too many: they were where the switch had left them."""
    ended_ns: int
    used: float
    """How much of a node's budget the services used in fact, in percent."""


@dataclass(frozen=True, slots=True)
class Depth:
    """What an instance's report said of its queue."""

    emitted_ns: int
    requests: int


@dataclass(frozen=True, slots=True)
class Facts:
    """All raw rows of an experiment but the reports, of which there are too many to keep."""

    machine: dict[str, Any]
    options: dict[str, Any]
    runs: list[Ran]
    rests: list[Rested]
    requests: list[Request]
    """With the node that served each."""
    executions: list[Execution]


KINDS = ("cost", Ran.row, Rested.row)
"""Of rows, beside those that every experiment has."""


def add(folder: Path, one: Ran | Rested) -> None:
    """Add what was done."""
    scenario.append(folder / ROWS, one.row, **dataclasses.asdict(one))


def read(folder: Path) -> Facts:
    """Read an experiment. Raises OSError, ValueError where a file is not what it should be."""
    found = scenario.read(folder / ROWS, KINDS)
    executions = list(records.read_executions(folder / "logs" / "nodes"))
    requests = [one for file in sorted(folder.glob(LOADS)) for one in records.read_requests(file)]
    (machine,), (options,) = found["machine"], found["options"]
    return Facts(
        machine,
        options,
        [Ran(**values) for values in found[Ran.row]],
        [Rested(**values) for values in found[Rested.row]],
        serving_nodes(requests, executions),
        executions,
    )


def depths(folder: Path, node: str, service: str, spans: Sequence[tuple[int, int]]) -> list[list[Depth]]:
    """The reports of an instance that were emitted within each of the spans, which follow one another."""
    within: list[list[Depth]] = [[] for _ in spans]
    at = 0
    for emitted_ns, requests in _depths(REPORTS.path(folder / "logs" / "nodes" / node, service)):
        while at < len(spans) and emitted_ns > spans[at][1]:
            at += 1
        if at == len(spans):
            break
        if emitted_ns >= spans[at][0]:
            within[at].append(Depth(emitted_ns, requests))
    return within


def _depths(file: Path) -> Iterator[tuple[int, int]]:
    if not file.exists():
        return
    with file.open(newline="") as rows:
        for row in csv.DictReader(rows):
            emitted, depth = row["emitted_ns"], row["queue_depth"]
            if emitted is not None and depth is not None and emitted.isdecimal() and depth.isdecimal():
                yield int(emitted), int(depth)
