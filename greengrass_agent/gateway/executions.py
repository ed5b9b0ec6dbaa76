"""The execution log: one row for each request, evidence of what was executed where and when."""

from __future__ import annotations

from pathlib import Path

from greengrass_agent.gateway.dispatch import Execution
from greengrass_agent.logs.evidence import Rows

COLUMNS = (
    "client_id",
    "request_id",
    "parent_id",
    "service",
    "node",
    "received_ns",
    "started_ns",
    "finished_ns",
    "status",
)
"""Of a row, in order. Times are of this machine's monotonic clock."""


class ExecutionLog:
    """One instance's rows, where a run wants them."""

    def __init__(self, path: Path, service: str, node: str) -> None:
        self._rows = Rows(path, COLUMNS)
        self._names = f"{service},{node}"

    def add(self, execution: Execution) -> None:
        """Note the end of a request. It is in the file half a second later."""
        job = execution.job
        self._rows.add(
            f"{job.client_id},{job.request_id},{job.parent_id},{self._names},"
            f"{job.received_ns},{execution.started_ns},{execution.finished_ns},{execution.status}"
        )

    def close(self) -> None:
        """Write what is there."""
        self._rows.close()
