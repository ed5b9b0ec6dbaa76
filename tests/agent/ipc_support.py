"""Operations of the interprocess communication, called as the server calls them."""

from collections.abc import Callable, Iterable
from typing import Any

from greengrass_agent.deployment.configuration import Configuration
from greengrass_agent.deployment.plan import Components, Installed
from greengrass_agent.deployment.timestamps import Times
from greengrass_agent.host.cgroup import CgroupError
from greengrass_agent.ipc.operation import Caller, Json, Operation
from hitless.component.recipe import Recipe
from hitless.component.states import ComponentState


class Heard:
    """The stream of an operation. Implements operation.Stream."""

    def __init__(self) -> None:
        self.events: list[Json] = []
        self._calls: list[Callable[[], None]] = []

    def send(self, event: Json) -> None:
        self.events.append(event)

    def closed(self, call: Callable[[], None]) -> None:
        self._calls.append(call)

    def close(self) -> None:
        """The client goes."""
        for call in self._calls:
            call()


class Clients:
    """Whoever asks for operations."""

    def __init__(self, operations: Iterable[Operation]) -> None:
        self.operations = {operation.name: operation for operation in operations}

    async def ask(self, component: str, name: str, **request: Any) -> Json:
        """The response. Raises IpcError."""
        return await self.operations[f"aws.greengrass#{name}"].call(Caller(component, 1), request, Heard())

    async def listen(self, component: str, name: str, **request: Any) -> Heard:
        """The stream of an operation that has one."""
        operation, heard = self.operations[f"aws.greengrass#{name}"], Heard()
        assert operation.event is not None
        assert await operation.call(Caller(component, 1), request, heard) == {}
        return heard


class Node:
    """A node of made-up components: what its deployments and its runtime are to the operations."""

    def __init__(self, **configurations: Configuration) -> None:
        self.components: dict[str, One] = {
            name: One(installed(name, configuration)) for name, configuration in configurations.items()
        }
        self.saved: list[str] = []
        self.done: list[tuple[str, ...]] = []
        self.waiting: dict[str, str] = {}
        self.problem: CgroupError | None = None

    def report(self, name: str, launch: int, state: str) -> None:
        self.components[name]
        self.done.append(("report", name, str(launch), state))

    def waits(self, name: str) -> str | None:
        return self.waiting.get(name)

    async def restart(self, name: str) -> str | None:
        self.done.append(("restart", name))
        return None

    def pause(self, name: str, paused: bool) -> None:
        if self.problem is not None:
            raise self.problem
        self.done.append(("pause" if paused else "resume", name))

    async def halt(self, name: str) -> None:
        self.done.append(("halt", name))


class One:
    """A component that runs."""

    def __init__(self, own: Installed) -> None:
        self.installed = own
        self.state = ComponentState.RUNNING


class Deployments:
    """What a node's deployments are to the operations."""

    def __init__(self, changed: Callable[[Components, Components], None], **configurations: Configuration) -> None:
        self.components: Components = {name: installed(name, own) for name, own in configurations.items()}
        self.problem: Exception | None = None
        self._changed = changed

    def reconfigure(self, component: str, configuration: Configuration, times: Times) -> None:
        if self.problem is not None:
            raise self.problem
        self.deploy(component, configuration, times)

    def deploy(self, component: str, configuration: Configuration, times: Times) -> None:
        """Have another configuration in force."""
        before = self.components
        own = before[component]
        changed = Installed(own.recipe, own.digest, configuration, own.limits, own.user, times)
        self.components = {**before, component: changed}
        self._changed(before, self.components)


def installed(name: str, configuration: Configuration) -> Installed:
    """A component as deployed."""
    recipe = Recipe.model_validate(
        {
            "RecipeFormatVersion": "2020-01-25",
            "ComponentName": name,
            "ComponentVersion": "1.2.3",
            "Manifests": [{"Lifecycle": {"run": "true"}}],
        }
    )
    return Installed(recipe, "a" * 64, configuration)
