"""The operations that concern the node itself, together, and what deployments ask of components by them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from greengrass_agent.deployment.configuration import Configuration
from greengrass_agent.deployment.listeners import Listeners
from greengrass_agent.deployment.plan import Components
from greengrass_agent.ipc.operation import Operation
from greengrass_agent.ipc.operations.broker_status import BrokerStatusOperations
from greengrass_agent.ipc.operations.components import ComponentOperations, Node
from greengrass_agent.ipc.operations.configuration import ConfigurationOperations, Configurations
from greengrass_agent.ipc.operations.deployments import deployment_operations
from greengrass_agent.ipc.operations.metrics import MetricOperations
from greengrass_agent.ipc.operations.refused import refused_operations
from greengrass_agent.ipc.operations.state import Report, state_operations
from greengrass_agent.ipc.operations.updates import UpdateOperations
from greengrass_agent.ipc.operations.validity import ValidityOperations
from hitless.mqtt.messages import Message


class Runtime(Node, Protocol):
    """What is needed of what runs on the node."""

    @property
    def report(self) -> Report:
        """Takes what a launch says of itself."""


class NodeOperations(Listeners):
    """The operations of one node."""

    def __init__(self, node: str, publish: Callable[[str, Message], bool]) -> None:
        """`node` is its name. `publish` sends a message at QoS 0, or tells that it could not."""
        self._configuration = ConfigurationOperations()
        self._validity = ValidityOperations()
        self._updates = UpdateOperations()
        self._metrics = MetricOperations(node, publish)
        self.broker_status = BrokerStatusOperations()
        """Is to be told whether the broker is reached."""

    def operations(self, configurations: Configurations, runtime: Runtime) -> list[Operation]:
        """What components may ask for."""
        return [
            *self._configuration.operations(configurations),
            *self._validity.operations(),
            *self._updates.operations(),
            *self._metrics.operations(),
            *self.broker_status.operations(),
            *state_operations(runtime.report),
            *ComponentOperations(runtime).operations(),
            *deployment_operations(),
            *refused_operations(),
        ]

    async def validate(
        self, deployment_id: str, configurations: Mapping[str, Configuration], timeout_s: float
    ) -> str | None:
        """Ask components whether they take the configuration that they will get: None, or who does not, and why."""
        return await self._validity.validate(deployment_id, configurations, timeout_s)

    async def agree(self, job: str, deployment_id: str, timeout_s: float) -> None:
        """Tell of an update, and return when no component puts it off."""
        await self._updates.agree(job, deployment_id, timeout_s)

    def ended(self, job: str) -> None:
        """The job has come to its end."""
        self._updates.ended(job)

    def configured(self, before: Components, after: Components) -> None:
        """Other configurations are in force than before."""
        self._configuration.changed(before, after)
