"""What a run shows while it goes on: a line for each time the disturbance came and went."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.text import Text

from experiments.migration.figures import quantile
from experiments.migration.measure import Move, moves, new_work, serving_nodes
from experiments.migration.records import LOST, OK, Execution, Request, parse_request
from experiments.migration.samples import Cycle
from greengrass_agent.gateway.executions import COLUMNS
from greengrass_agent.logs.evidence import EXECUTIONS

HEADING = ",".join(COLUMNS)
"""The first line of an execution log."""
LINE = "{:>5} {:>7}  {:<15} {:<26} {:>7} {:>7} {:>5}"
HEADER = LINE.format("s", "cycle", "way", "new work goes", "p50 ms", "max ms", "lost")


class Tail:
    """The lines that a growing file got since the last look; only whole lines."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.position = 0
        self.rest = ""

    def lines(self) -> list[str]:
        """New whole lines, without their ends."""
        try:
            with self.path.open() as file:
                file.seek(self.position)
                text = self.rest + file.read()
                self.position = file.tell()
        except FileNotFoundError:
            return []
        *whole, self.rest = text.split("\n")
        return whole


@dataclass
class Live:
    """Follows the load's rows and the gateways' logs of a run, and prints what they say of each cycle."""

    console: Console
    requests: Path
    nodes: Path
    application: str
    first: str
    """Where the services are put at the start of a cycle."""
    cycles: int
    start_ns: int
    lost: int = 0
    _tail: Tail | None = None
    _logs: dict[Path, Tail] = field(default_factory=dict)

    def announce(self) -> None:
        """Print the header."""
        self.console.print(Text(HEADER, style="bold"))

    def cycle(self, cycle: Cycle) -> None:
        """Print the line of a cycle that is over."""
        executions = list(self._new_executions())
        requests = serving_nodes(self._new_requests(), executions)
        self.lost += sum(one.outcome == LOST for one in requests)
        mine = [one for one in requests if one.service == self.application and one.intended_ns >= cycle.placed_ns]
        latencies = sorted((one.latency_ns or 0) / 1e6 for one in mine if one.outcome == OK)
        median = quantile(latencies, 0.5)
        work = new_work(requests, executions).get(self.application, [])
        where = said(
            [one for one in moves(self.application, work) if one.first_ns >= cycle.placed_ns], cycle, self.first
        )
        at = (cycle.end_ns - self.start_ns) / 1e9
        self.console.print(
            LINE.format(
                f"{at:.0f}",
                f"{cycle.number}/{self.cycles}",
                cycle.way,
                where,
                "-" if median is None else f"{median:.1f}",
                f"{latencies[-1]:.0f}" if latencies else "-",
                self.lost,
            ),
            highlight=False,
            soft_wrap=True,
        )

    def mark(self, now_ns: int, what: str) -> None:
        """Print a marked line."""
        at = (now_ns - self.start_ns) / 1e9
        self.console.print(Text(f"{at:5.0f}  >>> {what}", style="bold yellow"))

    def _new_requests(self) -> Iterator[Request]:
        if self._tail is None:
            self._tail = Tail(self.requests)
        for row in csv.reader(self._tail.lines()):
            if row[0] != "id":
                yield parse_request(row)

    def _new_executions(self) -> Iterator[Execution]:
        for _, _, path in EXECUTIONS.found(self.nodes):
            lines = self._logs.setdefault(path, Tail(path)).lines()
            for row in csv.DictReader((line for line in lines if line != HEADING), COLUMNS):
                yield Execution(
                    int(row["client_id"]), int(row["request_id"]), row["service"], row["node"], int(row["received_ns"])
                )


def said(found: list[Move], cycle: Cycle, first: str) -> str:
    """Where new work went in a cycle, and how long after the start of the disturbance."""
    for move in found:
        if cycle.trigger_ns is not None and move.first_ns >= cycle.trigger_ns:
            return f"{move.origin} → {move.to} after {(move.first_ns - cycle.trigger_ns) / 1e6:.0f} ms"
        if move.to != first:
            return f"{move.origin} → {move.to}, undisturbed"
    return f"to {cycle.node} as before"
