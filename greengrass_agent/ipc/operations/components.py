"""The components of the node, for a component that looks after others.

AWS IoT Greengrass, "Manage local deployments and components", and the component `aws.greengrass.Cli`, whose section of
`accessControl` allows it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Mapping
from typing import Any, Final, Protocol

from greengrass_agent.deployment.plan import Installed
from greengrass_agent.ipc.operation import Caller, IpcError, Json, Operation, Stream
from greengrass_agent.ipc.operations.fields import text
from hitless.component.states import ComponentState

log = logging.getLogger(__name__)

SERVICE: Final = "aws.greengrass.Cli"
_STATES: Final = {
    ComponentState.UNINSTALLING: ComponentState.STOPPING,
    ComponentState.UNINSTALLED: ComponentState.FINISHED,
}
"""States that the SDK has no name for, and what comes nearest."""


class Shown(Protocol):
    """A component as others see it."""

    installed: Installed

    @property
    def state(self) -> ComponentState:
        """Its state."""


class Node(Protocol):
    """What is needed of the node's components."""

    @property
    def components(self) -> Mapping[str, Shown]:
        """The components by name."""

    def waits(self, name: str) -> str | None:
        """What a component waits for before it may start, for people; None: it has been started."""

    async def restart(self, name: str) -> str | None:
        """Launch a component anew, at once; None when it is up, or why it is not."""

    async def halt(self, name: str) -> None:
        """Have a component end what it has, until it is restarted or changed."""


class ComponentOperations:
    """The components of a node."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._tasks: set[asyncio.Task[Any]] = set()

    def operations(self) -> list[Operation]:
        """What components may ask for."""

        return [
            Operation("aws.greengrass#GetComponentDetails", self._details, resource=_component, service=SERVICE),
            Operation("aws.greengrass#ListComponents", self._list, resource=lambda request: "*", service=SERVICE),
            Operation("aws.greengrass#RestartComponent", self._restart, resource=_component, service=SERVICE),
            Operation("aws.greengrass#StopComponent", self._stop, resource=_component, service=SERVICE),
        ]

    async def _details(self, caller: Caller, request: Json, stream: Stream) -> Json:
        name = _component(request)
        if (shown := self._node.components.get(name)) is None:
            message = f"the node has no component {name}"
            raise IpcError("ResourceNotFoundError", message, resourceType="Component", resourceName=name)
        return {"componentDetails": _details(name, shown)}

    async def _list(self, caller: Caller, request: Json, stream: Stream) -> Json:
        return {"components": [_details(name, shown) for name, shown in sorted(self._node.components.items())]}

    async def _restart(self, caller: Caller, request: Json, stream: Stream) -> Json:
        name = self._there(request)
        if (reason := self._node.waits(name)) is not None:
            return {"restartStatus": "FAILED", "message": f"{name} is not started yet: {reason}"}
        log.info("%s: restarted by %s", name, caller.component)
        self._begin(self._node.restart(name))
        return {"restartStatus": "SUCCEEDED"}

    async def _stop(self, caller: Caller, request: Json, stream: Stream) -> Json:
        name = self._there(request)
        if (reason := self._node.waits(name)) is not None:
            return {"stopStatus": "FAILED", "message": f"{name} is not started yet: {reason}"}
        log.info("%s: stopped by %s", name, caller.component)
        self._begin(self._node.halt(name))
        return {"stopStatus": "SUCCEEDED"}

    def _there(self, request: Json) -> str:
        """The name of the component that is meant. Raises IpcError."""
        name = _component(request)
        if name not in self._node.components:
            raise IpcError("ComponentNotFoundError", f"the node has no component {name}")
        return name

    def _begin(self, work: Coroutine[Any, Any, object]) -> None:
        """Do it while the client is answered: it may be the one that ends."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _component(request: Json) -> str:
    return text(request, "componentName")


def _details(name: str, shown: Shown) -> Json:
    state = _STATES.get(shown.state, shown.state)
    return {
        "componentName": name,
        "version": shown.installed.version,
        "state": str(state),
        "configuration": shown.installed.configuration,
    }
