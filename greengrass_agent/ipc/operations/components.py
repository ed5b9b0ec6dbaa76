"""The components of the node, for a component that looks after others.

AWS IoT Greengrass, "Manage local deployments and components", and the component `aws.greengrass.Cli`, whose section of
`accessControl` allows it; "Interact with component lifecycle" for PauseComponent and ResumeComponent.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, Final, Protocol

from greengrass_agent.deployment.plan import Installed
from greengrass_agent.host.cgroup import CgroupError
from greengrass_agent.ipc.operation import Caller, IpcError, Json, Operation, Stream
from greengrass_agent.ipc.operations.fields import text
from hitless.component.states import ComponentState

log = logging.getLogger(__name__)

SERVICE: Final = "aws.greengrass.Cli"
LIFECYCLE: Final = "aws.greengrass.ipc.lifecycle"
_STATES: Final = {
    ComponentState.UNINSTALLING: ComponentState.STOPPING,
    ComponentState.UNINSTALLED: ComponentState.FINISHED,
}
"""States that the SDK has no name for, and what comes nearest."""

Call = Callable[[Caller, Json, Stream], Awaitable[Json]]


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

    def pause(self, name: str, paused: bool) -> None:
        """Have a component's processes stand still, or go on. Raises CgroupError where that cannot be done."""

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
            Operation("aws.greengrass#PauseComponent", self._pausing(True), resource=_component, service=LIFECYCLE),
            Operation("aws.greengrass#ResumeComponent", self._pausing(False), resource=_component, service=LIFECYCLE),
        ]

    async def _details(self, caller: Caller, request: Json, stream: Stream) -> Json:
        name = self._named(request, _no_resource)
        return {"componentDetails": _details(name, self._node.components[name])}

    async def _list(self, caller: Caller, request: Json, stream: Stream) -> Json:
        return {"components": [_details(name, shown) for name, shown in sorted(self._node.components.items())]}

    async def _restart(self, caller: Caller, request: Json, stream: Stream) -> Json:
        name = self._named(request, _no_component)
        if (reason := self._node.waits(name)) is not None:
            return {"restartStatus": "FAILED", "message": f"{name} is not started yet: {reason}"}
        log.info("%s: restarted by %s", name, caller.component)
        self._begin(self._node.restart(name))
        return {"restartStatus": "SUCCEEDED"}

    async def _stop(self, caller: Caller, request: Json, stream: Stream) -> Json:
        name = self._named(request, _no_component)
        if (reason := self._node.waits(name)) is not None:
            return {"stopStatus": "FAILED", "message": f"{name} is not started yet: {reason}"}
        log.info("%s: stopped by %s", name, caller.component)
        self._begin(self._node.halt(name))
        return {"stopStatus": "SUCCEEDED"}

    def _pausing(self, paused: bool) -> Call:
        async def call(caller: Caller, request: Json, stream: Stream) -> Json:
            name = self._named(request, _no_resource)
            log.info("%s: %s by %s", name, "paused" if paused else "resumed", caller.component)
            try:
                self._node.pause(name, paused)
            except CgroupError as error:
                raise IpcError("ServiceError", str(error)) from error
            return {}

        return call

    def _named(self, request: Json, error: Callable[[str], IpcError]) -> str:
        """The component that is meant, which must be there. Raises IpcError."""
        name = _component(request)
        if name not in self._node.components:
            raise error(name)
        return name

    def _begin(self, work: Coroutine[Any, Any, object]) -> None:
        """Do it while the client is answered: it may be the one that ends."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _component(request: Json) -> str:
    return text(request, "componentName")


def _no_component(name: str) -> IpcError:
    return IpcError("ComponentNotFoundError", f"the node has no component {name}")


def _no_resource(name: str) -> IpcError:
    message = f"the node has no component {name}"
    return IpcError("ResourceNotFoundError", message, resourceType="Component", resourceName=name)


def _details(name: str, shown: Shown) -> Json:
    state = _STATES.get(shown.state, shown.state)
    return {
        "componentName": name,
        "version": shown.installed.version,
        "state": str(state),
        "configuration": shown.installed.configuration,
    }
