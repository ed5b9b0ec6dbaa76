"""A node that runs and does not serve is not ready: gateway or workers stand still, or answers are wrong."""

import http.client
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from experiments.chaos import processes
from tests.agent.emitter import BUDGET, running_emitter
from tests.agent.gateway import running_gateway
from tests.agent.support import cgroup_setting
from tests.faults.deployed import node
from tests.patience import PATIENCE, until
from tests.ports import free_port
from topologies.cgroups import Hierarchy

pytestmark = pytest.mark.root("control groups need root")

FUNCTION = """
import os

ILL = os.path.join(os.path.dirname(__file__), "ill")

def lambda_handler(event, context):
    return {"statusCode": 500 if os.path.exists(ILL) else 200, "body": str(os.getpid())}
"""


@contextmanager
def stopped(*pids: int) -> Iterator[None]:
    """Stop processes for the time of the block."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def test_a_gateway_that_stands_still_is_reported_as_not_ready() -> None:
    with running_emitter() as bench, running_gateway(FUNCTION) as gateway, ThreadPoolExecutor() as pool:
        gateway.serve()
        leaf = Hierarchy.detect().node(BUDGET).child("leaf")
        leaf.create()
        page = str(gateway.folder / "page")
        bench.send(
            command="add", service="echo", service_id=3, cgroup=cgroup_setting(leaf), page=page, epoch=1, log=None
        )
        bench.until(lambda report: report.ready, "ready")
        with stopped(gateway.process.pid):
            call = pool.submit(gateway.call, b"x")
            bench.until(lambda report: not report.ready, "not ready")
            assert not any(report.ready for report in bench.reports(10)), "and it stays so"
        bench.until(lambda report: report.ready, "ready again")
        assert call.result(PATIENCE).status == 200


def test_workers_that_all_stand_still_while_work_waits_make_it_not_ready() -> None:
    with running_gateway(FUNCTION) as gateway, ThreadPoolExecutor() as pool:
        gateway.configure(concurrency=2)
        function = gateway.serve(workers=2)
        workers = processes.workers(processes.below(os.getpid()), "c")
        own = [one.pid for one in workers if one.parent == function.pid]
        assert len(own) == 2
        with stopped(function.pid, *own):
            calls = [pool.submit(gateway.call, b"x") for _ in range(3)]
            until(lambda: not gateway.numbers().ready, "not ready")
            assert gateway.numbers().queue_depth == 1
        assert [call.result(PATIENCE).status for call in calls] == [200] * 3
        until(lambda: gateway.numbers().ready, "ready again")
        heard = gateway.hear()
        assert (heard["stalled"], gateway.hear()["stalled"]) == (True, False)


def test_the_agent_says_what_keeps_an_instance_from_being_ready(tmp_path: Path) -> None:
    code = tmp_path / "code"
    code.mkdir()
    (code / "echo.py").write_text(FUNCTION)
    script = f"exec python3 -m hitless.function --handler echo.lambda_handler --artifacts {code}"
    endpoint = {"address": "127.0.0.1", "port": free_port(), "service_id": 7, "protocol": "tcp"}
    configuration = {
        "service": "echo",
        "endpoints": {"echo": endpoint},
        "health_check": {"path": "/health", "interval_ms": 20, "failures": 2},
    }
    with node(tmp_path) as bench:
        recipe = bench.shelf.recipe("Echo", "1.0.0", {"run": script}, configuration=configuration)
        bench.start()
        bench.offer("job", {"Echo": "1.0.0"}, {"Echo": recipe})
        assert bench.result("job")[0] == "SUCCESSFUL"

        def trouble() -> str:
            return str(bench.component("Echo").get("statusDetails"))

        assert bench.agent is not None
        (gateway,) = processes.gateways(processes.below(bench.agent.pid), "echo")
        with stopped(gateway.pid):
            until(lambda: "not ready: its gateway stands still" in trouble(), "it stands still")
        until(lambda: trouble() == "None", "it goes on")
        (code / "ill").touch()
        until(lambda: "not ready: health check: answered with 500" in trouble(), "wrong answers")
        assert bench.component("Echo")["status"] == "RUNNING"
        (code / "ill").unlink()
        until(lambda: trouble() == "None", "right answers")
        said = bench.log.read_text()
        assert "echo is not ready: health check: answered with 500" in said
        assert "echo is ready again" in said


def test_a_gateway_that_does_not_go_on_is_started_again(tmp_path: Path) -> None:
    (tmp_path / "echo.py").write_text(FUNCTION)
    script = f"exec python3 -m hitless.function --handler echo.lambda_handler --artifacts {tmp_path}"
    port = free_port()
    endpoint = {"address": "127.0.0.1", "port": port, "service_id": 7, "protocol": "tcp"}
    with node(tmp_path, idle_interval_ms=5) as bench:
        recipe = bench.shelf.recipe(
            "Echo", "1.0.0", {"run": script}, configuration={"service": "echo", "endpoints": {"echo": endpoint}}
        )
        bench.start()
        bench.offer("job", {"Echo": "1.0.0"}, {"Echo": recipe})
        assert bench.result("job")[0] == "SUCCESSFUL"
        assert bench.agent is not None
        (gateway,) = processes.gateways(processes.below(bench.agent.pid), "echo")
        os.kill(gateway.pid, signal.SIGSTOP)
        until(lambda: "gateway of echo was ended by SIGKILL" in bench.log.read_text(), "it is given up")
        assert "gateway of echo has stood still for 1 s: it is killed" in bench.log.read_text()

        def answered() -> bool:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
            try:
                connection.request("GET", "/")
                return connection.getresponse().status == 200
            except OSError:
                return False

        until(answered, "the new one serves")
