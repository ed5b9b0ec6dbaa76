"""A component on a real agent that looks after itself by Greengrass's interprocess communication, with AWS's client."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.agent.support import RunningAgent, running_agent
from tests.agent.test_greengrass import publish
from tests.patience import until
from topologies.cgroups import Hierarchy

pytestmark = pytest.mark.root("CPU budgets need root")

BUDGET = f"test-ipcops-{os.getpid()}"
PUMP, TANK = "org.example.Pump", "org.example.Tank"
CODE = """
import os, time
from datetime import datetime, timezone
from awsiot.greengrasscoreipc.clientv2 import GreengrassCoreIPCClientV2
from awsiot.greengrasscoreipc.model import ConfigurationValidityReport, Metric

client = GreengrassCoreIPCClientV2()
puts_off = [20]

def validated(event):
    asked = event.validate_configuration_update_event
    taken = asked.configuration["speed"] < 10
    report = ConfigurationValidityReport(
        status="ACCEPTED" if taken else "REJECTED", deployment_id=asked.deployment_id, message="too fast"
    )
    client.send_configuration_validity_report(configuration_validity_report=report)

def changed(event):
    path = event.configuration_update_event.key_path
    print("changed:", path, client.get_configuration(key_path=path).value)

def updated(event):
    if event.pre_update_event is not None:
        print("before:", event.pre_update_event.deployment_id)
        deployment = event.pre_update_event.deployment_id
        client.defer_component_update(deployment_id=deployment, recheck_after_ms=puts_off.pop() if puts_off else 0)
    else:
        print("after:", event.post_update_event.deployment_id)

client.subscribe_to_validate_configuration_updates(on_stream_event=validated)
client.subscribe_to_configuration_update(key_path=["speed"], on_stream_event=changed)
client.subscribe_to_component_updates(on_stream_event=updated)
starts = client.get_configuration(key_path=["starts"]).value["starts"] + 1
client.update_configuration(timestamp=datetime.now(timezone.utc), value_to_merge={"starts": starts})
client.put_component_metric(metrics=[Metric(name="starts", unit="COUNT", value=float(starts))])
print("start", starts)
client.update_state(state="RUNNING")
while not os.path.exists("stop"):
    time.sleep(0.02)
client.pause_component(component_name="org.example.Tank")
print("paused")
while os.path.exists("stop"):
    time.sleep(0.02)
client.resume_component(component_name="org.example.Tank")
client.stop_component(component_name="org.example.Pump")
time.sleep(3600)
"""
CONTROL = {
    "aws.greengrass.ipc.componentmetric": {"1": {"operations": ["*"], "resources": ["*"]}},
    "aws.greengrass.ipc.lifecycle": {"1": {"operations": ["*"], "resources": [TANK]}},
    "aws.greengrass.Cli": {"1": {"operations": ["aws.greengrass#StopComponent"], "resources": [PUMP]}},
}


def deployed(running: RunningAgent, job: str, recipes: dict[str, dict[str, str]], **merge: Any) -> dict[str, Any]:
    """The result of a deployment of these components that changes the configuration of the pump."""
    update = {"configurationUpdate": {"merge": json.dumps(merge)}}
    wanted = {name: {"componentVersion": "1.0.0"} | (update if name == PUMP else {}) for name in recipes}
    running.controller.offer(job, wanted, recipes)
    details: dict[str, Any] = running.controller.result(job)["statusDetails"]
    return details


def test_a_component_looks_after_its_configuration_state_and_updates(tmp_path: Path) -> None:
    with running_agent(tmp_path, BUDGET, 1.0, reports={"address": "127.0.0.1", "interval_ms": 50}) as running:
        log = running.own.logs / f"{PUMP}.log"

        def printed(text: str) -> None:
            until(lambda: log.exists() and text in log.read_text(), f"{text!r} of the pump")

        pump = publish(
            running.repository,
            PUMP,
            {"SETENV": {"CODE": CODE}, "STARTUP": 'cd {work:path} && exec python3 -u -c "$CODE"'},
            COMPONENTCONFIGURATION={"DEFAULTCONFIGURATION": {"speed": 1, "starts": 0, "accessControl": CONTROL}},
        )
        details = deployed(running, "first", {PUMP: pump})
        assert details["detailedStatus"] == "SUCCESSFUL", "its startup goes on, but it has said that it runs"
        printed("start 1")
        metrics = until(lambda: running.controller.of(f"components/{PUMP}/metrics"), "its metrics")
        assert metrics[0]["metrics"] == [{"name": "starts", "unit": "COUNT", "value": 1, "sum": 1, "samples": 1}]

        refused = deployed(running, "second", {PUMP: pump}, speed=99)
        assert (refused["detailedStatus"], "too fast" in refused["reason"]) == ("FAILED_NO_STATE_CHANGE", True)
        assert deployed(running, "third", {PUMP: pump}, speed=2)["detailedStatus"] == "SUCCESSFUL"
        printed("changed: ['speed'] {'speed': 2}")
        for line in ("before: deployment-of-third", "after: deployment-of-third"):
            printed(line)
        assert log.read_text().count("before: deployment-of-third") == 2, "it has put it off once"

        ticking = "while true; do echo tick >> {work:path}/ticks; sleep 0.01; done"
        tank = publish(running.repository, TANK, {"RUN": ticking})
        assert deployed(running, "fourth", {PUMP: pump, TANK: tank}, speed=2)["detailedStatus"] == "SUCCESSFUL"
        assert "start 2" not in log.read_text(), "it was launched once"

        work = running.own.root / "work"
        stop, ticks = work / PUMP / "stop", work / TANK / "ticks"
        until(ticks.exists, "the tank ticks")
        stop.touch()
        printed("paused")
        group = Hierarchy.detect().node(BUDGET).child(TANK)
        frozen = (
            group.paths["freezer"] / "freezer.state" if group.version == 1 else group.paths["unified"] / "cgroup.freeze"
        )
        until(lambda: frozen.read_text() in ("FROZEN\n", "1\n"), "the tank stands still")
        before = ticks.stat().st_size
        stop.unlink()
        until(lambda: ticks.stat().st_size > before, "the tank ticks again")
        until(lambda: running.controller.states()[PUMP] == "FINISHED", "it is stopped, as it has asked")
        running.controller.client.publish(
            f"hitless/things/n1/components/{PUMP}/restart", json.dumps({"clientToken": "again"}), qos=1
        )
        printed("start 2")
        until(lambda: running.controller.states()[PUMP] == "RUNNING", "it runs again")
