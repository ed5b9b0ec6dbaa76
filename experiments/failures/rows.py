"""A run's folder: run.ndjson, a folder for each round, and faults.csv with manifest.json, made of the rounds.

faults.csv is what figures are made of, and small; a round's own rows are known by their hashes once they are elsewhere.
"""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments import scenario
from experiments.chaos import verdict
from experiments.chaos.scenario import PATIENCE_S
from experiments.chaos.verdict import Fault
from experiments.failures.measure import WINDOW_NS, Cost, cost, from_text
from experiments.migration import records

RUN, FAULTS, MANIFEST = "run.ndjson", "faults.csv", "manifest.json"
ROUND = "round"
"""The kind of row that a round ends with."""
RAW = ("requests.csv", "faults.json")


@dataclass(frozen=True, slots=True)
class Done:
    """A round that is over."""

    number: int
    name: str
    """Of its folder."""
    seed: int
    late_p99_ms: float
    """How late the load was."""
    quiet_troubles: int
    """Requests that were lost, failed or duplicated while there was no fault."""
    machine: dict[str, Any]
    """As it was afterwards: its load and its pressure."""


@dataclass(frozen=True, slots=True)
class Facts:
    """All that figures are made of."""

    machines: Sequence[dict[str, Any]]
    options: dict[str, Any]
    rounds: Sequence[Done]
    costs: Sequence[Cost]


def done(folder: Path) -> list[Done]:
    """The rounds that are over. Raises OSError, ValueError."""
    return [Done(**row) for row in scenario.read(folder / RUN, [ROUND])[ROUND]]


def reduce(folder: Path) -> None:
    """Write faults.csv and manifest.json if the rounds' own rows are there. Raises OSError, ValueError."""
    rounds = done(folder)
    if not all((folder / one.name / RAW[0]).exists() for one in rounds):
        return
    costs: list[Cost] = []
    hashes: dict[str, str] = {}
    for one in rounds:
        costs += of_round(folder / one.name, one.number)
        for name in RAW:
            hashes[f"{one.name}/{name}"] = hashlib.sha256((folder / one.name / name).read_bytes()).hexdigest()
    with (folder / FAULTS).open("w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in dataclasses.fields(Cost)])
        writer.writeheader()
        writer.writerows(dataclasses.asdict(one) for one in costs)
    (folder / MANIFEST).write_text(json.dumps(hashes, indent=1) + "\n")


def of_round(folder: Path, number: int) -> list[Cost]:
    """What each fault of a round cost. Raises OSError, ValueError."""
    requests = records.read_requests(folder / "requests.csv")
    clients = {one.client for one in requests}
    executions = [one for one in records.read_executions(folder / "logs" / "nodes") if one.client_id in clients]
    faults = [Fault(**one) for one in json.loads((folder / "faults.json").read_text())]
    found = verdict.troubles(requests, executions, faults, int(PATIENCE_S * 1e9))
    # What starts shortly before the next fault is answered during it.
    ends = [one.began_ns - WINDOW_NS for one in faults[1:]] + [max((one.intended_ns for one in requests), default=0)]
    return [cost(number, fault, until, requests, found) for fault, until in zip(faults, ends, strict=True)]


def read(folder: Path) -> Facts:
    """What a run came to. Raises OSError, ValueError, KeyError."""
    found = scenario.read(folder / RUN, [ROUND])
    with (folder / FAULTS).open(newline="") as file:
        costs = [from_text(row) for row in csv.DictReader(file)]
    return Facts(found["machine"], found["options"][0], [Done(**row) for row in found[ROUND]], costs)
