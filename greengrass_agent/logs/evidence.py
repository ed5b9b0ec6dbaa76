"""Rows of evidence: what an experiment asks a node to note, and where it finds it afterwards."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from greengrass_agent.logs.rotation import Limits, RotatedFile
from greengrass_agent.logs.writer import CLOSE_S, BoundedWriter

log = logging.getLogger(__name__)

LIMITS = Limits(size=1 << 30, files=2)
"""Of each file: hours of one instance's rows, so that a run finds them in one file."""
PAUSE_S = 0.5
"""How long rows wait for more: who makes them is disturbed twice a second at most."""


class Rows:
    """Appends rows to a CSV file; without a path to none. The file goes on where an earlier process ended."""

    def __init__(self, path: Path | None, columns: Sequence[str], *, limits: Limits = LIMITS) -> None:
        self._writer: BoundedWriter | None = None
        if path is not None:
            file = RotatedFile(path, limits, heading=f"{','.join(columns)}\n".encode())
            self._writer = BoundedWriter(str(path), file, tell=log.warning, pause_s=PAUSE_S)

    @property
    def wanted(self) -> bool:
        """Whether there is a file: without one, a row need not be made."""
        return self._writer is not None

    @property
    def dropped(self) -> int:
        """Bytes of rows that are missing in the file."""
        return self._writer.dropped if self._writer is not None else 0

    def add(self, row: str) -> None:
        """Have a row written; whether it can be is of no concern to the caller."""
        if self._writer is not None:
            self._writer.add(f"{row}\n".encode())

    def close(self, within_s: float = CLOSE_S) -> None:
        """Write what is there. Waits so long at most; the process must live on for what takes longer."""
        if self._writer is not None:
            self._writer.close(within_s)


@dataclass(frozen=True, slots=True)
class ServiceLog:
    """One kind of log, a CSV file for each service in the folder of a node's logs."""

    kind: str

    def path(self, folder: Path, service: str) -> Path:
        """The log of a service among a node's."""
        return folder / f"{self.kind}-{service}.csv"

    def found(self, nodes: Path) -> Iterator[tuple[str, str, Path]]:
        """The logs of this kind in the folders of all nodes below `nodes`: (node, service, file), sorted by file."""
        for path in sorted(nodes.glob(f"*/{self.kind}-*.csv")):
            yield path.parent.name, path.stem.removeprefix(f"{self.kind}-"), path


EXECUTIONS = ServiceLog("executions")
"""Rows as `greengrass_agent.gateway.executions` has them."""
REPORTS = ServiceLog("reports")
"""Rows as `greengrass_agent.emitter.instance` has them."""
