"""The raw rows of a run, as they lie in its result folder. Times are ns of the machine's monotonic clock."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from controller.observe.events import DigestEvent, EndpointEvent, decode
from controller.switches.view import reason_name
from greengrass_agent.logs.evidence import EXECUTIONS, REPORTS

OK = "ok"
LOST = "lost"
FAILED = "failed"

REQUEST_COLUMNS = ("id", "client", "service", "intended_ns", "sent_ns", "received_ns", "node", "outcome", "answers")


@dataclass(frozen=True, slots=True)
class Request:
    """One request of the load: sent once, at an intended time.

    ``received_ns`` is None without an answer, ``node`` None where nobody served it; ``outcome`` is ok, lost (no answer
    5 s after sending) or failed (an error answer); ``answers`` counts every answer that came.
    """

    id: int
    client: int
    service: str
    intended_ns: int
    sent_ns: int
    received_ns: int | None
    node: str | None
    outcome: str
    answers: int

    @property
    def latency_ns(self) -> int | None:
        """From the intended start, so that a stall of the generator cannot hide; None without an answer."""
        return None if self.received_ns is None else self.received_ns - self.intended_ns


@dataclass(frozen=True, slots=True)
class Execution:
    """One execution of a request on a node, from its gateway's log."""

    client_id: int
    request_id: int
    service: str
    node: str
    received_ns: int
    status: int = 200
    """What it was answered with: an HTTP status."""
    finished_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Load:
    """What an instance reported of itself."""

    time_ns: int
    cpu: int
    """Use of the node's budget, permille."""
    queue: int
    """Requests that waited."""


@dataclass(frozen=True, slots=True)
class Decision:
    """A change of host that the switch (under reconfiguration the controller) told, and the report that decided it."""

    service: str
    origin: str | None
    to: str | None
    reason: str
    time_ns: int
    node: str | None
    epoch: int
    sequence: int


def request_row(request: Request) -> list[object]:
    """The CSV row of a request, in the order of REQUEST_COLUMNS; empty where there is no value."""
    return [
        request.id,
        request.client,
        request.service,
        request.intended_ns,
        request.sent_ns,
        "" if request.received_ns is None else request.received_ns,
        request.node or "",
        request.outcome,
        request.answers,
    ]


def parse_request(row: list[str]) -> Request:
    """The request of a CSV row. Raises ValueError on a row that is none."""
    identity, client, service, intended, sent, received, node, outcome, answers = row
    return Request(
        int(identity),
        int(client),
        service,
        int(intended),
        int(sent),
        int(received) if received else None,
        node or None,
        outcome,
        int(answers),
    )


def write_requests(path: Path, requests: Iterable[Request]) -> None:
    """Write the raw requests, one row each."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(REQUEST_COLUMNS)
        writer.writerows(request_row(one) for one in requests)


def read_requests(path: Path) -> list[Request]:
    """Read raw requests. Raises ValueError on another header."""
    with path.open(newline="") as file:
        reader = csv.reader(file)
        header = tuple(next(reader, ()))
        if header != REQUEST_COLUMNS:
            raise ValueError(f"{path}: the columns are {', '.join(header)}, expected {', '.join(REQUEST_COLUMNS)}")
        return [parse_request(row) for row in reader]


def read_executions(nodes: Path) -> Iterator[Execution]:
    """Every execution that the gateways logged, in the folders of nodes below ``nodes``.

    A row that a full disk has torn is left out.
    """
    for _, _, path in EXECUTIONS.found(nodes):
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                numbers = (row["client_id"], row["request_id"], row["received_ns"], row["status"])
                if all(text is not None and text.isdecimal() for text in numbers):
                    client, request, received, status = map(int, numbers)
                    finished = int(row["finished_ns"]) if row["finished_ns"].isdecimal() else None
                    yield Execution(client, request, row["service"], row["node"], received, status, finished)


def read_emissions(nodes: Path) -> dict[tuple[str, str], dict[tuple[int, int], int]]:
    """When each report was emitted: by (node, service), then by (epoch, sequence), in ns."""
    emissions: dict[tuple[str, str], dict[tuple[int, int], int]] = {}
    for node, service, path in REPORTS.found(nodes):
        with path.open(newline="") as file:
            emissions[node, service] = {
                (int(row["epoch"]), int(row["sequence"])): int(row["emitted_ns"]) for row in csv.DictReader(file)
            }
    return emissions


def read_loads(nodes: Path) -> dict[tuple[str, str], list[Load]]:
    """What each instance reported, in order of time: by (node, service)."""
    loads: dict[tuple[str, str], list[Load]] = {}
    for node, service, path in REPORTS.found(nodes):
        with path.open(newline="") as file:
            rows = (
                Load(int(row["emitted_ns"]), int(row["cpu"]), int(row["queue_depth"])) for row in csv.DictReader(file)
            )
            loads[node, service] = sorted(rows, key=lambda one: one.time_ns)
    return loads


def read_decisions(path: Path) -> list[Decision]:
    """The changes of host in the controller's event log; empty if there is none. Raises EventError."""
    if not path.exists():
        return []
    return [
        Decision(
            event.service,
            event.from_node,
            event.to_node,
            reason_name(event.reason),
            event.time_ns,
            event.node,
            event.epoch,
            event.sequence,
        )
        for event in map(decode, path.read_text().splitlines())
        if isinstance(event, DigestEvent | EndpointEvent) and event.to_node
    ]
