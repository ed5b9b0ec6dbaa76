"""What a run shows while it goes on is read from the logs as the gateways write them."""

import io
from pathlib import Path

from rich.console import Console

from experiments.migration.live import HEADER, Live
from experiments.migration.records import write_requests
from experiments.migration.samples import Cycle
from greengrass_agent.gateway.dispatch import Execution
from greengrass_agent.gateway.executions import ExecutionLog
from greengrass_agent.gateway.gathered import Gathered
from greengrass_agent.gateway.job import Job
from greengrass_agent.logs.evidence import EXECUTIONS
from tests.experiments.migration_rows import MS, request
from tests.patience import until


def execute(log: ExecutionLog, number: int, received_ns: int) -> None:
    """Log a request that came at this time."""
    job = Job(1, number, 0, b"", None, received_ns, received_ns + 10**9, Gathered(lambda _: None, 0))
    log.add(Execution(job, received_ns + 1, received_ns + 2, 200))


def written(folder: Path) -> int:
    """Rows in the files of all nodes, beside the first one of each."""
    return sum(len(path.read_text().splitlines()) - 1 for _, _, path in EXECUTIONS.found(folder))


def test_each_cycle_has_a_line_that_tells_where_work_went_and_how_soon(tmp_path: Path) -> None:
    nodes = tmp_path / "nodes"
    logs = {
        node: ExecutionLog(nodes / node / "executions-preprocess.csv", "preprocess", node)
        for node in ("edge1", "edge2")
    }
    for number in range(40):
        execute(logs["edge1" if number < 25 else "edge2"], number, number * 10 * MS)
    until(lambda: written(nodes) == 40, "the rows")
    write_requests(tmp_path / "load.csv", [request(number, number * 10, node=None) for number in range(40)])
    shown = io.StringIO()
    live = Live(Console(file=shown, width=80), tmp_path / "load.csv", nodes, "preprocess", "edge1", 21, 0)
    live.announce()
    live.cycle(Cycle(1, 1, "in-network", "edge1", 0, 200 * MS, 390 * MS, 400 * MS))
    live.cycle(Cycle(2, 1, "in-network", "edge1", 400 * MS, 500 * MS, 600 * MS, 700 * MS))
    for number in range(70, 100):
        execute(logs["edge1" if number < 80 else "edge2"], number, number * 10 * MS)
    until(lambda: written(nodes) == 70, "more rows")
    everything = [request(number, number * 10, node=None) for number in (*range(40), *range(70, 100))]
    write_requests(tmp_path / "load.csv", everything)
    live.cycle(Cycle(3, 1, "in-network", "edge2", 700 * MS, 900 * MS, 990 * MS, 1000 * MS))
    head, moved, empty, early = shown.getvalue().splitlines()
    assert head == HEADER and len(head) <= 80
    assert moved.split() == ["0", "1/21", "in-network", "edge1", "→", "edge2", "after", "50", "ms", "5.0", "5", "0"]
    assert "to edge1 as before" in empty and len(empty) <= 80
    assert "edge1 → edge2, undisturbed" in early
    for log in logs.values():
        log.close()
