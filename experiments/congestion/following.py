"""What is heard of the nodes while the experiment goes on, from files as they grow."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from experiments.congestion import rows
from experiments.congestion.rows import Depth, Window
from experiments.congestion.ways import WORK
from experiments.migration.live import Tail
from greengrass_agent.emitter.instance import COLUMNS
from greengrass_agent.logs.evidence import REPORTS

DEPTH, EMITTED = COLUMNS.index("queue_depth"), COLUMNS.index("emitted_ns")


class Queues:
    """The queues that nodes report, from the files of their reports as they grow."""

    def __init__(self, nodes: Path) -> None:
        self._nodes = nodes
        self._tails: dict[Path, Tail] = {}

    def of(self, windows: Sequence[Window]) -> dict[int, dict[str, list[Depth]]]:
        """The changes of each node's queue in the windows, which are those since the last call."""
        found: dict[int, dict[str, list[Depth]]] = {window.number: {} for window in windows}
        for node, service, path in REPORTS.found(self._nodes):
            if service != WORK:
                continue
            lines = self._tails.setdefault(path, Tail(path)).lines()
            reported = [
                (int(row[EMITTED]), int(row[DEPTH]))
                for row in csv.reader(lines)
                if len(row) == len(COLUMNS) and row[EMITTED].isdecimal() and row[DEPTH].isdecimal()
            ]
            for window in windows:
                found[window.number][node] = list(rows.depths(window, reported))
        return found


class Said:
    """What the agent says of nodes, from its log as it grows."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self._tail = Tail(log)
        self._congested: set[str] = set()

    def begun(self) -> bool:
        """Whether it hears reports."""
        return self.log.exists() and self.log.stat().st_size > 0

    def congested(self) -> frozenset[str]:
        """The nodes that are, as it has said last."""
        for _, node, value in csv.reader(self._tail.lines()):
            if value == "1":
                self._congested.add(node)
            else:
                self._congested.discard(node)
        return frozenset(self._congested)
