"""Where a node's logs of evidence lie, for those who write them and those who read them afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


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
