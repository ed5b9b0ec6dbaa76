"""The operations that concern the node, as AWS's own client has them."""

import asyncio
import queue
import re
from collections.abc import Coroutine, Iterator
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from awsiot.greengrasscoreipc import model
from awsiot.greengrasscoreipc.model import (
    ComponentNotFoundError,
    ConfigurationValidityReport,
    FailedUpdateConditionCheckError,
    InvalidArgumentsError,
    Metric,
    ResourceNotFoundError,
    ServiceError,
    UnauthorizedError,
)

from greengrass_agent.ipc.operations import metrics
from greengrass_agent.ipc.operations.node import NodeOperations
from greengrass_agent.ipc.server import IpcServer
from hitless.component.fabric_has import SERVED_OPERATIONS
from hitless.mqtt.messages import Message
from tests.agent.ipc_support import Deployments, Node
from tests.agent.test_ipc_client import PUMP, TANK, Served, clients, opened
from tests.patience import PATIENCE, until

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CONFIGURATION: dict[str, Any] = {
    "speed": {"max": 10},
    "accessControl": {
        "aws.greengrass.Cli": {"1": {"operations": ["*"], "resources": ["*"]}},
        "aws.greengrass.ipc.lifecycle": {"1": {"operations": ["*"], "resources": [TANK.component]}},
        "aws.greengrass.ipc.componentmetric": {"1": {"operations": ["*"], "resources": ["*"]}},
    },
}


class ServedNode(Served):
    """The server with the operations of a made-up node."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.published: list[Message] = []
        self.node_operations = NodeOperations("n1", self._publish)
        configurations = {PUMP.component: CONFIGURATION, TANK.component: {"x": 1}}
        self.deployments = Deployments(self.node_operations.configured, **configurations)
        self.node = Node(**configurations)
        self.server = IpcServer(
            folder / "ipc" / "socket", "n1", lambda caller: self.deployments.components[caller.component].configuration
        )
        self.server.serve(self.node_operations.operations(self.deployments, self.node))

    def begin(self, work: Coroutine[Any, Any, Any]) -> Future[Any]:
        """Have the node do something in its own loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def _publish(self, topic: str, message: Message) -> bool:
        self.published.append(message)
        return True


@pytest.fixture
def served() -> Iterator[ServedNode]:
    with opened(ServedNode) as own:
        yield own


def test_configurations_are_read_changed_and_heard_of(served: ServedNode) -> None:
    heard: queue.Queue[Any] = queue.Queue()
    with clients(served, PUMP, TANK) as (pump, tank):
        assert pump.get_configuration(key_path=["speed", "max"]).value == {"max": 10}
        other = tank.get_configuration(component_name=PUMP.component, key_path=[])
        assert (other.component_name, other.value) == (PUMP.component, CONFIGURATION)
        tank.subscribe_to_configuration_update(
            component_name=PUMP.component, key_path=["speed"], on_stream_event=heard.put
        )
        pump.update_configuration(key_path=["speed"], timestamp=NOW, value_to_merge={"max": 20})
        event = heard.get(timeout=PATIENCE).configuration_update_event
        assert (event.component_name, event.key_path) == (PUMP.component, ["speed", "max"])
        assert pump.get_configuration(key_path=["speed"]).value == {"max": 20}
        older = NOW - timedelta(milliseconds=1)
        with pytest.raises(FailedUpdateConditionCheckError) as late:
            pump.update_configuration(key_path=["speed"], timestamp=older, value_to_merge={"max": 30})
        assert "later than" in late.value.message
        with pytest.raises(InvalidArgumentsError):
            pump.update_configuration(timestamp=NOW, value_to_merge={"accessControl": {"x": 1}})
        with pytest.raises(ResourceNotFoundError) as missing:
            pump.get_configuration(key_path=["none"])
        assert "/none" in missing.value.message


def test_an_update_is_heard_of_put_off_and_told_to_be_over(served: ServedNode) -> None:
    heard: queue.Queue[Any] = queue.Queue()
    with clients(served, PUMP) as (pump,):
        pump.subscribe_to_component_updates(on_stream_event=heard.put)
        agreed = served.begin(served.node_operations.agree("j", "d1", 600))
        before = heard.get(timeout=PATIENCE).pre_update_event
        assert (before.deployment_id, before.is_ggc_restarting) == ("d1", False)
        pump.defer_component_update(deployment_id="d1", recheck_after_ms=1, message="pumping")
        assert heard.get(timeout=PATIENCE).pre_update_event.deployment_id == "d1"
        assert not agreed.done()
        pump.defer_component_update(deployment_id="d1", recheck_after_ms=0)
        agreed.result(PATIENCE)
        with pytest.raises(InvalidArgumentsError):
            pump.defer_component_update(deployment_id="d1", recheck_after_ms=9)
        served.do(served.node_operations.ended, "j")
        assert heard.get(timeout=PATIENCE).post_update_event.deployment_id == "d1"


def test_a_configuration_is_refused_by_the_component_that_is_to_have_it(served: ServedNode) -> None:
    heard: queue.Queue[Any] = queue.Queue()
    with clients(served, PUMP) as (pump,):
        pump.subscribe_to_validate_configuration_updates(on_stream_event=heard.put)
        answered = served.begin(served.node_operations.validate("d1", {PUMP.component: {"speed": -1}}, 600))
        event = heard.get(timeout=PATIENCE).validate_configuration_update_event
        assert (event.configuration, event.deployment_id) == ({"speed": -1}, "d1")
        report = ConfigurationValidityReport(status="REJECTED", deployment_id="d1", message="backwards")
        pump.send_configuration_validity_report(configuration_validity_report=report)
        assert answered.result(PATIENCE) == "the new configuration is refused by org.example.Pump: backwards"


def test_whether_the_broker_is_reached_is_told_at_once_and_when_it_changes(served: ServedNode) -> None:
    heard: queue.Queue[Any] = queue.Queue()
    with clients(served, PUMP) as (pump,):
        pump.subscribe_to_iot_core_connection_status(on_stream_event=heard.put)
        for connected in (True, False):
            served.do(served.node_operations.broker_status.tell, connected)
        told = [heard.get(timeout=PATIENCE).connection_status_event.status for _ in range(3)]
        assert told == ["DISCONNECTED", "CONNECTED", "DISCONNECTED"]


def test_state_metrics_and_components(served: ServedNode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "EVERY_S", 0.01)
    with clients(served, PUMP, TANK) as (pump, tank):
        tank.update_state(state="RUNNING")
        pump.put_component_metric(metrics=[Metric(name="litres", unit="COUNT", value=3.0)])
        until(lambda: served.published, "metrics are published")
        listed = pump.list_components().components
        assert [(one.component_name, one.version, one.state) for one in listed] == [
            (PUMP.component, "1.2.3", "RUNNING"),
            (TANK.component, "1.2.3", "RUNNING"),
        ]
        details = pump.get_component_details(component_name=TANK.component).component_details
        assert details.configuration == {"x": 1}
        assert pump.restart_component(component_name=TANK.component).restart_status == "SUCCEEDED"
        assert pump.stop_component(component_name=TANK.component).stop_status == "SUCCEEDED"
        until(lambda: ("halt", TANK.component) in served.node.done, "it is stopped")
        pump.pause_component(component_name=TANK.component)
        pump.resume_component(component_name=TANK.component)
        assert served.node.done[-2:] == [("pause", TANK.component), ("resume", TANK.component)]
        assert served.node.done[0] == ("report", TANK.component, "4", "RUNNING")
        with pytest.raises(ComponentNotFoundError):
            pump.restart_component(component_name="none")
        for call in (lambda: tank.stop_component(component_name=PUMP.component), tank.list_components):
            with pytest.raises(UnauthorizedError):
                call()
        with pytest.raises(UnauthorizedError):
            tank.put_component_metric(metrics=[Metric(name="litres", unit="COUNT", value=3.0)])


def test_what_the_node_does_not_do_is_refused_with_the_reason(served: ServedNode) -> None:
    with clients(served, PUMP) as (pump,):
        assert pump.list_local_deployments().local_deployments == []
        with pytest.raises(ResourceNotFoundError):
            pump.get_local_deployment_status(deployment_id="d")
        with pytest.raises(ServiceError) as local:
            pump.create_local_deployment(root_component_versions_to_add={"x": "1.0.0"})
        assert "fabric file" in local.value.message
        with pytest.raises(ServiceError) as debugged:
            pump.create_debug_password()
        assert "console" in debugged.value.message


def test_each_operation_of_the_sdk_has_its_row_in_the_documentation_and_says_whether_it_is_served() -> None:
    text = (Path(__file__).parents[2] / "docs" / "compatibility.md").read_text()
    section = text.partition("## Greengrass: IPC operations\n")[2].partition("\n## ")[0]
    rows = [line.split("|")[1:4] for line in section.splitlines() if line.startswith("| `")]
    served = {
        name: not here.strip().startswith("refused")
        for names, _, here in rows
        for name in re.findall(r"`(\w+)`", names)
    }
    known = {name[1:].removesuffix("Operation") for name in vars(model) if re.fullmatch(r"_\w+Operation", name)}
    assert served.keys() == known
    names = {name.removeprefix("aws.greengrass#") for name in SERVED_OPERATIONS}
    assert {name for name, works in served.items() if works} == names
