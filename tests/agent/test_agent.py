"""The agent as a whole, with a real broker, a real repository and real workers."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from hitless.client.blocking import BlockingClient
from hitless.mqtt.client import ANSWER_S
from hitless.wire.calls import Endpoint
from tests.agent.support import (
    ROOT,
    AgentFolder,
    Controller,
    Repository,
    agent_command,
    alive,
    child,
    children_of,
    running_agent,
)
from tests.mosquitto import Mosquitto
from tests.patience import PATIENCE, until
from tests.ports import free_port
from topologies.cgroups import Hierarchy

pytestmark = pytest.mark.root("CPU budgets need root")

BUDGET = f"test-agent-{os.getpid()}"
NAME = "org.example.Echo"
RUN = "exec python3 -m hitless.function --handler echo.lambda_handler --artifacts {artifacts:path}"
HANDLER = """
import json, os

def lambda_handler(event, context):
    return json.dumps({"pid": os.getpid(), "greeting": context.configuration["greeting"], "version": "VERSION"})
"""


@dataclass
class Bench:
    """Everything a test needs."""

    own: AgentFolder
    agent: subprocess.Popen[bytes]
    controller: Controller
    repository: Repository
    port: int
    broker: Mosquitto

    def component(self, version: str = "1.0.0", **options: bool) -> dict[str, str]:
        return self.repository.publish(
            NAME,
            version,
            {"echo.py": HANDLER.replace("VERSION", version)},
            script=RUN,
            configuration={"service": "echo", "greeting": "hello"},
            **options,
        )

    def wanted(self, version: str = "1.0.0", **merge: object) -> dict[str, object]:
        endpoints = {"echo": {"address": "127.0.0.1", "port": self.port, "service_id": 7, "protocol": "udp"}}
        update = {"merge": json.dumps({"endpoints": endpoints, **merge})}
        return {NAME: {"componentVersion": version, "configurationUpdate": update}}

    def call(self) -> dict[str, object]:
        answer: dict[str, object] = json.loads(
            BlockingClient().invoke(Endpoint(7, "127.0.0.1", self.port), b"x", PATIENCE).result()
        )
        return answer


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    reports = {"address": "127.0.0.1", "interval_ms": 10}
    with running_agent(tmp_path, BUDGET, 0.6, reports=reports, metrics=True, evidence=True) as running:
        yield Bench(running.own, running.process, running.controller, running.repository, free_port(), running.broker)


def test_deploy_serve_reconfigure_remove(bench: Bench) -> None:
    """A function is deployed, serves, changes its configuration without a restart, and goes."""
    told = bench.controller
    source = bench.component()
    told.offer("job-1", bench.wanted(), {NAME: source})
    assert told.result("job-1")["statusDetails"]["detailedStatus"] == "SUCCESSFUL"
    assert told.states() == {NAME: "RUNNING"}
    first = bench.call()
    assert first["greeting"] == "hello"
    pid = int(str(first["pid"]))
    budget = Hierarchy.detect().node(BUDGET)
    assert pid in budget.child(NAME).child("launch-1").pids()

    metrics = until(lambda: [m for m in told.of("metrics/echo") if m["received"]], "metrics that know of the call")
    assert metrics[0]["service_id"] == 7
    assert metrics[0]["ready"] is True

    told.offer("job-2", bench.wanted(greeting="bonjour"), {NAME: source})
    assert told.result("job-2")["statusDetails"]["detailedStatus"] == "SUCCESSFUL"
    assert bench.call() == {"pid": pid, "greeting": "bonjour", "version": "1.0.0"}

    told.offer("job-3", bench.wanted("1.1.0"), {NAME: bench.component("1.1.0")})
    assert told.result("job-3")["status"] == "SUCCEEDED"
    third = bench.call()
    assert third["version"] == "1.1.0"
    assert third["pid"] != pid
    assert third["greeting"] == "bonjour"

    told.offer("job-4", {}, {}, componentUpdatePolicy={"action": "SKIP_NOTIFY_COMPONENTS"})
    assert told.result("job-4")["status"] == "SUCCEEDED"
    until(lambda: told.states() == {}, "a health without components")
    assert not alive(int(str(third["pid"])))
    assert not Hierarchy.detect().node(BUDGET).child(NAME).exists()
    rows = (bench.own.logs / "executions-echo.csv").read_text().splitlines()
    assert len(rows) == 1 + 3
    assert {row.split(",")[-1] for row in rows[1:]} == {"200"}


def test_a_wrong_digest_changes_nothing(bench: Bench) -> None:
    told = bench.controller
    told.offer("good", bench.wanted(), {NAME: bench.component()})
    assert told.result("good")["status"] == "SUCCEEDED"
    before = bench.call()
    saved = (bench.own.root / "deployment.json").read_text()

    told.offer("bad", bench.wanted("2.0.0"), {NAME: bench.component("2.0.0", wrong_digest=True)})
    result = told.result("bad")
    assert result["status"] == "FAILED"
    assert result["statusDetails"]["detailedStatus"] == "FAILED_NO_STATE_CHANGE"
    assert "SHA-256" in result["statusDetails"]["reason"]
    assert bench.call() == before
    assert json.loads(saved)["components"] == json.loads((bench.own.root / "deployment.json").read_text())["components"]

    forged = bench.component("3.0.0") | {"sha256": "0" * 64}
    told.offer("forged", bench.wanted("3.0.0"), {NAME: forged})
    assert told.result("forged")["statusDetails"]["detailedStatus"] == "FAILED_NO_STATE_CHANGE"
    assert bench.call() == before


def test_a_component_that_cannot_run_is_rolled_back(bench: Bench) -> None:
    told = bench.controller
    told.offer("good", bench.wanted(), {NAME: bench.component()})
    assert told.result("good")["status"] == "SUCCEEDED"
    broken = bench.repository.publish(
        NAME, "2.0.0", {"echo.py": "1/0"}, script=RUN, configuration={"service": "echo", "greeting": "hello"}
    )
    told.offer("broken", bench.wanted("2.0.0"), {NAME: broken})
    result = told.result("broken")
    assert result["statusDetails"]["detailedStatus"] == "FAILED_ROLLBACK_COMPLETE"
    assert "run" in result["statusDetails"]["reason"]
    assert bench.call()["version"] == "1.0.0"


def test_a_repeated_job_is_answered_and_not_repeated(bench: Bench) -> None:
    told = bench.controller
    source = bench.component()
    told.offer("once", bench.wanted(), {NAME: source})
    assert told.result("once")["status"] == "SUCCEEDED"
    pid = bench.call()["pid"]
    count = len(told.of("jobs/once/update"))
    told.offer("once", bench.wanted(), {NAME: source})
    updates = until(lambda: told.of("jobs/once/update")[count:], "an answer to the repeated job")
    assert [update["status"] for update in updates] == ["SUCCEEDED"]
    assert bench.call()["pid"] == pid


def test_an_unreadable_job_is_rejected(bench: Bench) -> None:
    execution = {"jobId": "junk", "status": "QUEUED", "jobDocument": {"components": 5}}
    bench.controller.client.publish("hitless/things/n1/jobs/notify-next", json.dumps({"execution": execution}), qos=1)
    result = bench.controller.result("junk")
    assert result["status"] == "REJECTED"
    assert "components" in result["statusDetails"]["reason"]


def test_shadow_drains_and_is_reported(bench: Bench) -> None:
    told = bench.controller
    told.offer("job", bench.wanted(), {NAME: bench.component()})
    assert told.result("job")["status"] == "SUCCEEDED"
    told.shadow(NAME, 5, role="standby", draining=True)
    until(lambda: told.metrics("echo")["draining"], "a report that says draining")
    wanted = {"version": 5, "state": {"reported": {"role": "standby", "draining": True}}}
    until(lambda: wanted in told.of(f"shadow/name/{NAME}/update"), "the state reported")
    told.shadow(NAME, 4, draining=False)
    told.shadow(NAME, 6, role="host", draining=False)
    until(lambda: not told.metrics("echo")["draining"], "a report that says no longer draining")


def test_a_key_is_kept_and_only_its_id_is_told(bench: Bench) -> None:
    told = bench.controller
    told.offer("job", bench.wanted(), {NAME: bench.component()})
    assert told.result("job")["status"] == "SUCCEEDED"
    told.shadow(NAME, 5, "ab" * 16, reportKeyId=7)
    wanted = {"version": 5, "state": {"reported": {"draining": False, "reportKeyId": 7}}}
    until(lambda: wanted in told.of(f"shadow/name/{NAME}/update"), "the key's id")
    file = bench.own.root / "keys.json"
    assert file.stat().st_mode & 0o777 == 0o600
    assert json.loads(file.read_text())["keys"] == {NAME: {"id": 7, "secret": "ab" * 16}}
    told.shadow(NAME, 6, reportKeyId=8)
    kept = {"version": 6, "state": {"reported": {"draining": False, "reportKeyId": 7}}}
    until(lambda: kept in told.of(f"shadow/name/{NAME}/update"), "an id without its key changes nothing")
    told.shadow(NAME, 7)
    until(lambda: not json.loads(file.read_text())["keys"], "the key is taken away")


def test_a_shadow_is_served_at_the_broker_and_a_components_is_not(bench: Bench) -> None:
    told = bench.controller
    update = json.dumps({"state": {"desired": {"on": True}}})
    told.client.publish("hitless/things/n1/shadow/name/lamp/update", update, qos=1)
    accepted = until(lambda: told.of("shadow/name/lamp/update/accepted"), "the answer")
    assert accepted[0]["version"] == 1
    kept = json.loads((bench.own.root / "shadows" / "n1" / "named" / "lamp.json").read_text())
    assert kept["state"] == {"desired": {"on": True}}
    told.shadow("Later", 5, "ab" * 16, role="host", reportKeyId=7)
    role = {"version": 5, "state": {"reported": {"role": "host", "draining": False, "reportKeyId": 7}}}
    until(lambda: role in told.of("shadow/name/Later/update"), "the role of a component that comes later")
    for request in ("get", "update", "delete"):
        told.client.publish(f"hitless/things/n1/shadow/name/Later/{request}", update, qos=1)
        refused = until(lambda one=request: told.of(f"shadow/name/Later/{one}/rejected"), "a refusal")
        assert refused[0]["code"] == 403
    assert [topic for topic, message in told.heard if "ab" * 16 in str(message)] == [
        "hitless/things/n1/shadow/name/Later/update/delta"
    ], "only the controller itself says the key"


def test_what_is_deployed_survives_agent_and_broker(bench: Bench) -> None:
    told = bench.controller
    told.offer("job", bench.wanted(greeting="still"), {NAME: bench.component()})
    assert told.result("job")["status"] == "SUCCEEDED"
    epoch = told.metrics("echo")["epoch"]
    inside = children_of(bench.agent.pid)
    bench.agent.send_signal(signal.SIGKILL)
    bench.agent.wait()
    until(lambda: not any(alive(pid) for pid in inside), "everything of a killed agent ends with it")
    until(lambda: told.of("presence")[-1]["online"] is False, "the last will")
    with child(agent_command(bench.own), cwd=ROOT) as again:
        newer = until(
            lambda: [m for m in told.of("metrics/echo") if m["epoch"] > epoch and m["ready"]],
            "reports of a newer epoch",
        )
        assert newer[0]["epoch"] == epoch + 1
        until(lambda: told.of("presence")[-1]["online"], "its presence")
        assert bench.call()["greeting"] == "still"
        until(lambda: told.states() == {NAME: "RUNNING"}, "the component is back")
        inside = children_of(again.pid)
        again.send_signal(signal.SIGTERM)
        assert again.wait(PATIENCE) == 0
    assert not any(alive(pid) for pid in inside)
    until(lambda: told.of("presence")[-1]["online"] is False, "its farewell")


def test_a_killed_gateway_or_emitter_comes_back(bench: Bench) -> None:
    told = bench.controller
    told.offer("job", bench.wanted(), {NAME: bench.component()})
    assert told.result("job")["status"] == "SUCCEEDED"
    epoch = told.metrics("echo")["epoch"]

    def reported(in_epoch: int) -> bool:
        return bool(told.metrics("echo")["epoch"] == in_epoch)

    for part in ("greengrass_agent.emitter", "greengrass_agent.gateway"):
        (pid,) = [pid for pid in children_of(bench.agent.pid) if part in Path(f"/proc/{pid}/cmdline").read_text()]
        os.kill(pid, signal.SIGKILL)
        epoch += 1
        until(partial(reported, epoch), f"reports after {part} was killed")
    until(lambda: told.metrics("echo")["ready"], "the function is back")
    assert bench.call()["greeting"] == "hello"


@pytest.mark.parametrize("trouble", [signal.SIGKILL, signal.SIGSTOP])
def test_the_agent_ends_in_time_without_the_broker(bench: Bench, trouble: signal.Signals) -> None:
    told = bench.controller
    told.offer("job", bench.wanted(), {NAME: bench.component()})
    assert told.result("job")["status"] == "SUCCEEDED"
    inside = children_of(bench.agent.pid)
    bench.broker.send_signal(trouble)
    try:
        bench.agent.send_signal(signal.SIGTERM)
        assert bench.agent.wait(ANSWER_S) == 0, "before the connection to the broker would give up"
    finally:
        bench.broker.send_signal(signal.SIGCONT)
    assert not any(alive(pid) for pid in inside)
