"""What a run shows while it goes on: a line a second, and a marked line when new work moves."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.text import Text

from controller.operator.documents import Status
from experiments.migration.records import OK, Request, parse_request
from greengrass_agent.gateway.executions import COLUMNS
from greengrass_agent.logs.evidence import EXECUTIONS

HEADING = ",".join(COLUMNS)
"""The first line of an execution log."""
HEADER = "    s  served by              requests   lost failed   p50 ms   p99 ms  ranks (larger is better)"


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
    """Follows the load's rows and the gateways' logs of a run, and prints what they say."""

    console: Console
    requests: Path
    nodes: Path
    services: tuple[str, ...]
    start_ns: int
    total: int = 0
    lost: int = 0
    failed: int = 0
    host: dict[str, str] = field(default_factory=dict)
    _tail: Tail | None = None
    _logs: dict[Path, Tail] = field(default_factory=dict)

    def announce(self) -> None:
        """Print the header."""
        self.console.print(Text(HEADER, style="bold"))

    def tick(self, now_ns: int, status: Status | None) -> None:
        """Print the line of this second; ``status`` is the controller's, None when it does not answer."""
        recent = list(self._new_requests())
        self.total += len(recent)
        self.lost += sum(one.outcome == "lost" for one in recent)
        self.failed += sum(one.outcome == "failed" for one in recent)
        for move in self._new_hosts():
            self.mark(now_ns, move)
        latencies = sorted(
            (one.latency_ns or 0) / 1e6 for one in recent if one.outcome == OK and one.service == self.services[0]
        )
        p50, p99 = quantile(latencies, 0.5), quantile(latencies, 0.99)
        at = (now_ns - self.start_ns) / 1e9
        hosts = " ".join(self.host.get(service, "-") for service in self.services)
        self.console.print(
            f"{at:5.0f}  {hosts:<22} {self.total:8} {self.lost:6} {self.failed:6} {p50:>8} {p99:>8}  "
            + ranks(status, self.services[0]),
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

    def _new_hosts(self) -> Iterator[str]:
        """Which node serves new work now, from the gateways' logs; yields a sentence for each change."""
        newest: dict[str, tuple[int, str]] = {}
        for node, service, path in EXECUTIONS.found(self.nodes):
            lines = self._logs.setdefault(path, Tail(path)).lines()
            rows = csv.DictReader((line for line in lines if line != HEADING), COLUMNS)
            times = [int(row["received_ns"]) for row in rows]
            times = [time_ns for time_ns in times if time_ns >= self.start_ns]
            if times and max(times) > newest.get(service, (0, ""))[0]:
                newest[service] = (max(times), node)
        for service, (_, node) in sorted(newest.items()):
            before = self.host.get(service)
            self.host[service] = node
            if before is not None and before != node:
                yield f"{service} moved: {before} → {node}"


def quantile(values: list[float], q: float) -> str:
    """A quantile of sorted values for a table cell; - if there are none."""
    return f"{values[min(len(values) - 1, int(q * len(values)))]:.1f}" if values else "-"


def ranks(status: Status | None, service: str) -> str:
    """The ranks of a service's instances as the switch sees them."""
    if status is None:
        return "(the controller does not answer)"
    seen = status.services.get(service)
    return "  ".join(f"{node} {one.rank}" for node, one in sorted(seen.instances.items())) if seen else "-"
