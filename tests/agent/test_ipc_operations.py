"""What components ask of the node by interprocess communication: configurations, updates, metrics, one another."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from greengrass_agent.host.cgroup import CgroupError
from greengrass_agent.ipc.operation import IpcError, Json
from greengrass_agent.ipc.operations.metrics import MAX_METRICS, gathered
from greengrass_agent.ipc.operations.node import NodeOperations
from hitless.files import StateError
from hitless.mqtt.messages import Message
from tests.agent.ipc_support import Clients, Deployments, Node

OWN: dict[str, Any] = {"mqtt": {"port": 8883}, "list": [1], "accessControl": {"x": 1}}
FUNCTION: dict[str, Any] = {
    "service": "echo",
    "endpoints": {"echo": {"address": "10.96.0.1", "port": 80, "protocol": "tcp", "service_id": 1}},
}


class Bench:
    """Operations on a made-up node."""

    def __init__(self) -> None:
        self.published: list[tuple[str, Message]] = []
        self.connected = True
        self.operations = NodeOperations("n1", self._publish)
        self.deployments = Deployments(self.operations.configured, A=OWN, B={"x": 1}, F=FUNCTION)
        self.node = Node(A=OWN, B={"x": 1})
        self.clients = Clients(self.operations.operations(self.deployments, self.node))
        self.ask, self.listen = self.clients.ask, self.clients.listen

    def _publish(self, topic: str, message: Message) -> bool:
        if self.connected:
            self.published.append((topic, message))
        return self.connected


async def error(call: Coroutine[Any, Any, Json]) -> IpcError:
    """What a request is refused with."""
    with pytest.raises(IpcError) as caught:
        await call
    return caught.value


async def turn() -> None:
    """Let tasks go on."""
    for _ in range(3):
        await asyncio.sleep(0)


def test_a_component_reads_its_own_configuration_and_others() -> None:
    async def scenario() -> None:
        ask = Bench().ask
        assert await ask("A", "GetConfiguration") == {"componentName": "A", "value": OWN}
        assert (await ask("A", "GetConfiguration", keyPath=["MQTT"]))["value"] == {"port": 8883}
        assert (await ask("A", "GetConfiguration", keyPath=["mqtt", "Port"]))["value"] == {"port": 8883}, "with its key"
        assert (await ask("A", "GetConfiguration", keyPath=["list"]))["value"] == {"list": [1]}
        other = await ask("A", "GetConfiguration", componentName="B", keyPath=[])
        assert other == {"componentName": "B", "value": {"x": 1}}
        for request in ({"componentName": "C"}, {"keyPath": ["x"]}, {"keyPath": ["list", "0"]}):
            assert (await error(ask("A", "GetConfiguration", **request))).code == "ResourceNotFoundError"

    asyncio.run(scenario())


def test_a_component_changes_its_own_configuration_and_whoever_listens_hears_of_each_value() -> None:
    async def scenario() -> None:
        bench = Bench()
        everything = await bench.listen("B", "SubscribeToConfigurationUpdate", componentName="A")
        port = await bench.listen("A", "SubscribeToConfigurationUpdate", keyPath=["MQTT", "port"])
        other = await bench.listen("A", "SubscribeToConfigurationUpdate", keyPath=["list"])
        gone = await bench.listen("A", "SubscribeToConfigurationUpdate", keyPath=[])
        gone.close()
        change = {"port": 1, "new": {"deep": True}}
        assert await bench.ask("A", "UpdateConfiguration", keyPath=["mqtt"], timestamp=5.5, valueToMerge=change) == {}
        assert bench.deployments.components["A"].configuration["mqtt"] == change
        assert bench.deployments.components["A"].times == {"/mqtt/port": 5500, "/mqtt/new/deep": 5500}
        told = {"configurationUpdateEvent": {"componentName": "A", "keyPath": ["mqtt", "port"]}}
        assert port.events == [told]
        paths = [event["configurationUpdateEvent"]["keyPath"] for event in everything.events]
        assert sorted(paths) == [["mqtt", "new", "deep"], ["mqtt", "port"]]
        assert other.events == gone.events == []
        bench.deployments.deploy("A", {**OWN, "list": []}, {})
        assert [event["configurationUpdateEvent"]["keyPath"] for event in other.events] == [["list"]]
        refused = await error(bench.listen("A", "SubscribeToConfigurationUpdate", keyPath=["x"]))  # type: ignore[arg-type]
        assert refused.code == "ResourceNotFoundError"

    asyncio.run(scenario())


def test_of_two_changes_the_newer_wins_and_the_older_is_told_so() -> None:
    async def scenario() -> None:
        ask = Bench().ask
        await ask("A", "UpdateConfiguration", timestamp=20, valueToMerge={"on": 1})
        refused = await error(ask("A", "UpdateConfiguration", timestamp=19.9, valueToMerge={"on": 2}))
        assert refused.code == "FailedUpdateConditionCheckError"
        assert (await ask("A", "GetConfiguration", keyPath=["on"]))["value"] == {"on": 1}

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("component", "request_", "code", "reason"),
    [
        ("A", {"valueToMerge": {"x": 1}}, "InvalidArgumentsError", "timestamp: expected a number"),
        ("A", {"timestamp": 1}, "InvalidArgumentsError", "valueToMerge: expected an object"),
        (
            "A",
            {"timestamp": 1, "valueToMerge": {"AccessControl": {}, "accesscontrol": {"x": 2}}},
            *(("InvalidArgumentsError", "accessControl: what a component may do")),
        ),
        ("A", {"timestamp": 1, "valueToMerge": {"x": "x" * 70_000}}, "InvalidArgumentsError", "65536 are allowed"),
        ("A", {"timestamp": 1, "keyPath": ["list", "x"], "valueToMerge": {}}, "InvalidArgumentsError", "/list is no"),
        ("A", {"timestamp": 1, "keyPath": "mqtt", "valueToMerge": {}}, "InvalidArgumentsError", "a list of keys"),
        (
            "F",
            {"timestamp": 1, "valueToMerge": {"concurrency": 9}},
            "InvalidArgumentsError",
            "how a component is served",
        ),
        ("C", {"timestamp": 1, "valueToMerge": {}}, "InvalidArgumentsError", "not deployed"),
    ],
)
def test_what_a_component_may_not_change_of_its_configuration_is_refused(
    component: str, request_: Json, code: str, reason: str
) -> None:
    async def scenario() -> None:
        bench = Bench()
        before = bench.deployments.components
        refused = await error(bench.ask(component, "UpdateConfiguration", **request_))
        assert refused.code == code
        assert reason in refused.message
        assert bench.deployments.components is before

    asyncio.run(scenario())


def test_a_change_that_cannot_be_kept_on_disk_is_refused() -> None:
    async def scenario() -> None:
        bench = Bench()
        bench.deployments.problem = StateError("deployment.json: No space left on device")
        refused = await error(bench.ask("A", "UpdateConfiguration", timestamp=1, valueToMerge={"on": 1}))
        assert (refused.code, "No space left" in refused.message) == ("ServiceError", True)

    asyncio.run(scenario())


def test_an_update_waits_for_components_that_put_it_off_and_its_end_is_told() -> None:
    async def scenario() -> None:
        bench = Bench()
        a = await bench.listen("A", "SubscribeToComponentUpdates")
        b = await bench.listen("B", "SubscribeToComponentUpdates")
        agreed = asyncio.create_task(bench.operations.agree("j", "d1", 600))
        await turn()
        told = {"preUpdateEvent": {"deploymentId": "d1", "isGgcRestarting": False}}
        assert (a.events, b.events) == ([told], [told])
        refused = await error(bench.ask("F", "DeferComponentUpdate", deploymentId="d1"))
        assert (refused.code, "not subscribed" in refused.message) == ("InvalidArgumentsError", True)
        assert (await error(bench.ask("A", "DeferComponentUpdate", deploymentId="d0"))).code == "InvalidArgumentsError"
        await bench.ask("A", "DeferComponentUpdate", deploymentId="d1", recheckAfterMs=20, message="busy")
        assert (await error(bench.ask("A", "DeferComponentUpdate", deploymentId="d1"))).code == "ServiceError"
        await bench.ask("B", "DeferComponentUpdate", deploymentId="d1", recheckAfterMs=0)
        while len(a.events) < 2:
            assert not agreed.done()
            await asyncio.sleep(0.005)
        assert a.events == b.events == [told, told], "asked again when the time was over"
        await bench.ask("A", "DeferComponentUpdate", deploymentId="d1")
        b.close()
        await agreed
        bench.operations.ended("another")
        bench.operations.ended("j")
        bench.operations.ended("j")
        assert a.events[2:] == [{"postUpdateEvent": {"deploymentId": "d1"}}]
        await bench.operations.agree("j", "d2", 0)
        assert (await error(bench.ask("A", "DeferComponentUpdate", deploymentId="d2"))).code == "InvalidArgumentsError"

    asyncio.run(scenario())


def test_components_that_listen_are_asked_about_their_own_configuration_and_may_refuse_it() -> None:
    async def scenario() -> None:
        bench = Bench()
        a = await bench.listen("A", "SubscribeToValidateConfigurationUpdates")
        await bench.listen("B", "SubscribeToValidateConfigurationUpdates")
        assert await bench.operations.validate("d0", {"F": {}}, 30) is None, "nobody who listens is asked"

        async def answered(status: str, **more: str) -> str | None:
            asked = asyncio.create_task(bench.operations.validate("d1", {"A": {"x": 2}, "F": {}}, 600))
            await turn()
            report = {"status": status, "deploymentId": "d1", **more}
            await bench.ask("A", "SendConfigurationValidityReport", configurationValidityReport=report)
            return await asked

        assert await answered("ACCEPTED") is None
        assert a.events == [{"validateConfigurationUpdateEvent": {"configuration": {"x": 2}, "deploymentId": "d1"}}]
        problem = await answered("REJECTED", message="x is too small")
        assert problem == "the new configuration is refused by A: x is too small"
        silent = await bench.operations.validate("d1", {"A": {"x": 2}}, 0)
        assert silent is not None and silent.startswith("A did not say in time")
        late = {"status": "ACCEPTED", "deploymentId": "d1"}
        refused = await error(bench.ask("A", "SendConfigurationValidityReport", configurationValidityReport=late))
        assert (refused.code, "or no more" in refused.message) == ("InvalidArgumentsError", True)
        a.close()
        assert await bench.operations.validate("d1", {"A": {"x": 2}}, 600) is None

    asyncio.run(scenario())


def test_a_component_says_how_it_is() -> None:
    async def scenario() -> None:
        bench = Bench()
        await bench.ask("A", "UpdateState", state="ERRORED")
        assert bench.node.done == [("report", "A", "1", "ERRORED")]
        assert (await error(bench.ask("A", "UpdateState", state="FINE"))).code == "InvalidArgumentsError"
        assert (await error(bench.ask("C", "UpdateState", state="RUNNING"))).code == "ResourceNotFoundError"

    asyncio.run(scenario())


def metric(name: str = "frames", value: float = 1, unit: str = "COUNT") -> Json:
    return {"name": name, "unit": unit, "value": value}


def test_metrics_are_gathered_by_name_and_published_together() -> None:
    async def scenario() -> None:
        bench = Bench()
        bench.connected = False
        await bench.ask("A", "PutComponentMetric", metrics=[metric(value=1), metric("size", 0.5, "MEGABYTES")])
        bench.operations._metrics.publish()
        bench.connected = True
        await bench.ask("A", "PutComponentMetric", metrics=[metric(value=3)])
        bench.operations._metrics.publish()
        bench.operations._metrics.publish()
        ((topic, message),) = bench.published
        assert topic == "hitless/things/n1/components/A/metrics"
        frames, size = message.model_dump()["metrics"]
        assert frames == {"name": "frames", "unit": "COUNT", "value": 3, "sum": 4, "samples": 2}, (
            "kept without a broker"
        )
        assert size == {"name": "size", "unit": "MEGABYTES", "value": 0.5, "sum": 0.5, "samples": 1}

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("metrics", "code"),
    [
        ([], "InvalidArgumentsError"),
        ([metric("x" * 33)], "InvalidArgumentsError"),
        ([metric(value=-1)], "InvalidArgumentsError"),
        ([metric(value=float("nan"))], "InvalidArgumentsError"),
        ([metric(unit="PERCENT")], "InvalidArgumentsError"),
        ([metric(), {"name": "x"}], "InvalidArgumentsError"),
        ([metric(str(number)) for number in range(MAX_METRICS + 1)], "ServiceError"),
    ],
)
def test_metrics_that_cannot_be_taken_are_refused_as_a_whole(metrics: list[Json], code: str) -> None:
    with pytest.raises(IpcError) as caught:
        gathered({}, {"metrics": metrics})
    assert caught.value.code == code


def test_components_look_after_one_another() -> None:
    async def scenario() -> None:
        bench = Bench()
        details = (await bench.ask("B", "GetComponentDetails", componentName="A"))["componentDetails"]
        assert details == {"componentName": "A", "version": "1.2.3", "state": "RUNNING", "configuration": OWN}
        listed = (await bench.ask("B", "ListComponents"))["components"]
        assert [one["componentName"] for one in listed] == ["A", "B"]
        assert await bench.ask("B", "RestartComponent", componentName="A") == {"restartStatus": "SUCCEEDED"}
        assert await bench.ask("B", "StopComponent", componentName="B") == {"stopStatus": "SUCCEEDED"}
        await turn()
        assert bench.node.done == [("restart", "A"), ("halt", "B")]
        bench.node.waiting["A"] = "waits for X"
        assert (await bench.ask("B", "RestartComponent", componentName="A"))["restartStatus"] == "FAILED"
        assert "waits for X" in (await bench.ask("B", "StopComponent", componentName="A"))["message"]
        for operation in ("RestartComponent", "StopComponent"):
            assert (await error(bench.ask("B", operation, componentName="C"))).code == "ComponentNotFoundError"
        assert (await error(bench.ask("B", "GetComponentDetails", componentName="C"))).code == "ResourceNotFoundError"
        await bench.ask("B", "PauseComponent", componentName="A")
        await bench.ask("B", "ResumeComponent", componentName="A")
        assert bench.node.done[2:] == [("pause", "A"), ("resume", "A")]
        assert (await error(bench.ask("B", "PauseComponent", componentName="C"))).code == "ResourceNotFoundError"
        bench.node.problem = CgroupError("A serves")
        refused = await error(bench.ask("B", "PauseComponent", componentName="A"))
        assert (refused.code, refused.message) == ("ServiceError", "A serves")
        restart = bench.clients.operations["aws.greengrass#RestartComponent"]
        assert restart.resource is not None and restart.resource({"componentName": "A"}) == "A"
        assert restart.service == "aws.greengrass.Cli"

    asyncio.run(scenario())


def test_what_is_not_served_is_refused_with_the_reason() -> None:
    async def scenario() -> None:
        ask = Bench().ask
        assert await ask("A", "ListLocalDeployments") == {"localDeployments": []}
        for operation in ("GetLocalDeploymentStatus", "CancelLocalDeployment"):
            assert (await error(ask("A", operation, deploymentId="d"))).code == "ResourceNotFoundError"
        refused = await error(ask("A", "CreateLocalDeployment"))
        assert (refused.code, "fabric file" in refused.message) == ("ServiceError", True)
        refused = await error(ask("A", "CreateDebugPassword"))
        assert (refused.code, "console" in refused.message) == ("ServiceError", True)

    asyncio.run(scenario())
