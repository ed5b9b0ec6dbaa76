"""The execution log: one row for each request, evidence of what was executed where and when."""

from __future__ import annotations

from pathlib import Path

from greengrass_agent.gateway.dispatch import Execution

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
FLUSH_S = 0.1


class ExecutionLog:
    """Collects rows; `flush` writes them. The file goes on where an earlier gateway ended."""

    def __init__(self, path: Path, service: str, node: str) -> None:
        """Raises OSError."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a", buffering=1 << 16)
        self._names = f"{service},{node}"
        if self._file.tell() == 0:
            self._file.write(",".join(COLUMNS) + "\n")
        self._file.flush()

    def add(self, execution: Execution) -> None:
        """Note the end of a request."""
        job = execution.job
        self._file.write(
            f"{job.client_id},{job.request_id},{job.parent_id},{self._names},"
            f"{job.received_ns},{execution.started_ns},{execution.finished_ns},{execution.status}\n"
        )

    def flush(self) -> None:
        """Hand the rows to the operating system."""
        self._file.flush()

    def close(self) -> None:
        """Write all and close."""
        self._file.close()
