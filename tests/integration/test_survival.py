"""Requests do not notice that the controller and the broker die; the switch still migrates."""

import asyncio
import signal
import time
from pathlib import Path

import pytest

from controller.observe.events import CommandEvent, decode
from experiments.migration import measure, records
from experiments.migration.disturbance import disturb
from experiments.migration.generator import start_load
from experiments.migration.options import APPLICATION, Options
from hitless.modes import IN_NETWORK
from tests.integration.support import each_target, fabric_up, needs_root
from tests.patience import until_async
from topologies.testbed import Testbed

FRAMES_PER_SECOND = 5.0


def released(bed: Testbed) -> bool:
    """Whether the controller has told of letting go of every function, which it does when the switch has."""
    events = [decode(line) for line in (bed.logs / "events.ndjson").read_text().splitlines()]
    commands = [one for one in events if isinstance(one, CommandEvent)]
    return {one.service for one in commands if one.command == "release"} == set(bed.fabric.services)


@needs_root
@pytest.mark.parametrize("target", each_target())
def test_killing_controller_and_broker_changes_nothing_for_requests(target: str, tmp_path: Path) -> None:
    options = Options(target, (IN_NETWORK,), True, 15, 1, frames_per_second=FRAMES_PER_SECOND)
    rows = tmp_path / "load.csv"
    trigger_ns = 0

    async def story() -> None:
        nonlocal trigger_ns
        async with fabric_up(target, tmp_path / "logs") as bed:
            # So few that the functions alone give each other no reason to move, however slow the machine is.
            load = start_load("load", options, bed, rows)
            await until_async(lambda: rows.exists() and rows.stat().st_size > 2000, "the load sent nothing")
            # What the CLI moved is let go after its dwell, which takes the controller.
            await until_async(lambda: released(bed), "the functions stayed pinned")
            for name in ("controller", "broker"):
                process = bed.process(name)
                process.signal(signal.SIGKILL)
                process.handle.wait()
            trigger_ns = disturb(bed, "edge1")
            await until_async(lambda: load.handle.poll() is not None, "the load did not end")
            assert load.handle.returncode == 0, load.log.read_text()
            assert time.monotonic_ns() > trigger_ns

    asyncio.run(story())
    nodes = tmp_path / "logs" / "nodes"
    executions = list(records.read_executions(nodes))
    requests = measure.serving_nodes(records.read_requests(rows), executions)
    assert {one.outcome for one in requests} == {records.OK}
    assert measure.duplicated(requests, executions) == 0
    moved = measure.moves(APPLICATION, measure.new_work(requests, executions)[APPLICATION])
    assert [(move.origin, move.to) for move in moved] == [("edge1", "edge2")]
    assert trigger_ns < moved[0].first_ns
