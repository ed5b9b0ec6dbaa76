"""What a run shows while it goes on is read from the logs as the gateways write them."""

import io
from pathlib import Path

from rich.console import Console

from experiments.migration.live import Live
from greengrass_agent.gateway.dispatch import Execution
from greengrass_agent.gateway.executions import ExecutionLog
from greengrass_agent.gateway.gathered import Gathered
from greengrass_agent.gateway.job import Job


def execute(log: ExecutionLog, number: int, received_ns: int) -> None:
    """Log a request that came at this time."""
    job = Job(7, number, 0, b"", None, received_ns, received_ns + 10**9, Gathered(lambda _: None, 0))
    log.add(Execution(job, received_ns + 1, received_ns + 2, 200))
    log.flush()


def test_a_move_is_told_when_another_nodes_log_has_the_newest_request(tmp_path: Path) -> None:
    logs = {
        node: ExecutionLog(tmp_path / node / "executions-detect.csv", "detect", node) for node in ("edge1", "edge2")
    }
    shown = io.StringIO()
    live = Live(Console(file=shown, width=200), tmp_path / "requests.csv", tmp_path, ("detect",), start_ns=1000)
    execute(logs["edge2"], 1, 500)  # before the run
    execute(logs["edge1"], 2, 2000)
    live.tick(10**9, None)
    assert "moved" not in shown.getvalue()
    assert " edge1 " in shown.getvalue()
    execute(logs["edge2"], 3, 3000)
    live.tick(2 * 10**9, None)
    assert "detect moved: edge1 → edge2" in shown.getvalue()
    for log in logs.values():
        log.close()
