"""A component on the node: its lifecycle carried out, its service served. The thin shell around lifecycle.py."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from greengrass_agent.components import lifecycle
from greengrass_agent.components.isolation import Isolation
from greengrass_agent.components.lifecycle import (
    Action,
    CannotStart,
    Exited,
    Kill,
    Lifecycle,
    Ready,
    RunStep,
    Start,
    Stop,
    Terminate,
)
from greengrass_agent.components.service import Service
from greengrass_agent.config import AgentConfig
from greengrass_agent.deployment.interpolation import Context, interpolate
from greengrass_agent.deployment.plan import Installed, environment_of, steps_of, with_configuration
from greengrass_agent.deployment.store import Store
from greengrass_agent.host.cgroup import CgroupError, Group
from greengrass_agent.host.processes import Script
from greengrass_agent.logs.output import Output
from hitless.component.service_configuration import ServiceConfiguration
from hitless.component.states import ComponentState
from hitless.files import StateError
from hitless.mqtt.messages import ShadowState

log = logging.getLogger(__name__)

ENDED = frozenset(
    {
        ComponentState.NEW,
        ComponentState.INSTALLED,
        ComponentState.FINISHED,
        ComponentState.BROKEN,
        ComponentState.UNINSTALLED,
    }
)


@dataclass(frozen=True, slots=True)
class ComponentContext:
    """What the components of a node share."""

    config: AgentConfig
    store: Store
    budget: Group
    isolation: Isolation


class Component:
    """One component. `changed` is told each new state; all methods belong to the event loop."""

    def __init__(
        self,
        name: str,
        installed: Installed,
        context: ComponentContext,
        make_service: Callable[[str, ServiceConfiguration, Callable[[], None]], Service],
        changed: Callable[[str, ComponentState, str | None], None],
    ) -> None:
        self.name = name
        self.installed = installed
        self._context = context
        self._make_service = make_service
        self._changed = changed
        self._leaf = context.budget.child(name)
        self._output = Output(context.config.log_dir / f"{name}.log", context.config.component_logs.limits())
        self._service: Service | None = None
        self._machine = Lifecycle({})
        self._scripts: dict[str, Script] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._ended = asyncio.Event()
        self._role = ShadowState()

    @property
    def state(self) -> ComponentState:
        """The component's state."""
        return self._machine.state

    @property
    def error(self) -> str | None:
        """The last thing that went wrong."""
        return self._machine.error

    @property
    def role(self) -> ShadowState:
        """What the controller wants of the component."""
        return self._role

    async def start(self) -> None:
        """Begin the component's life. Raises CgroupError, NetworkError, OSError."""
        self._leaf.create()
        # What an agent that was killed has left behind.
        await asyncio.to_thread(self._leaf.kill)
        configuration = ServiceConfiguration.read(self.installed.configuration)
        if configuration is not None and self._service is None:
            self._service = self._make_service(self.name, configuration, self._ready)
            self._service.start(self.installed.configuration)
            self._service.take_role(self._role)
        limits = {step: recipe.timeout for step, recipe in steps_of(self.installed.recipe).items()}
        self._machine = Lifecycle(limits, serves=configuration is not None)
        self._tell(Start())

    async def stop(self, *, remove: bool) -> None:
        """End the component: what it has is answered first. `remove` also gives back what it had on the node."""
        if self._service is not None:
            await self._service.finish()
        await self._end(remove)
        if self._service is not None:
            await self._service.stop()
            self._service = None
        if remove:
            await asyncio.to_thread(self._leaf.remove)
        self._output.stop_reading()
        await asyncio.to_thread(self._output.close)

    async def replace(self, installed: Installed) -> None:
        """Run another version or content. Requests wait in the gateway meanwhile, unless the service itself changes."""
        after = ServiceConfiguration.read(installed.configuration)
        if self._service is not None and not (after and self._service.fits(after)):
            await self._service.finish()
            await self._service.stop()
            self._service = None
        await self._end(remove=False)
        self._configure(installed)
        await self.start()

    async def reconfigure(self, installed: Installed) -> None:
        """Take another configuration: by a restart, unless it is a function, which is told, and its process fits."""
        after = ServiceConfiguration.read(installed.configuration)
        recipe, before = installed.recipe, self.installed.configuration
        told = self._service is not None and after is not None and self._service.fits(after)
        if told and with_configuration(recipe, before) == with_configuration(recipe, installed.configuration):
            self._configure(installed)
        else:
            await self.replace(installed)

    def _configure(self, installed: Installed) -> None:
        self.installed = installed
        try:
            self._context.isolation.limit(installed, self._leaf)
        except CgroupError as error:  # v1 takes no memory limit below what is used
            log.error("%s keeps its limits: %s", self.name, error)
        configuration = ServiceConfiguration.read(installed.configuration)
        if self._service is not None and configuration is not None:
            self._service.configure(configuration, installed.configuration)

    def give_up(self, reason: str) -> None:
        """The component cannot be started, whatever is tried."""
        self._tell(CannotStart(reason))

    def take_role(self, role: ShadowState) -> None:
        """Take what the controller wants of the component."""
        self._role = role
        if self._service is not None:
            self._service.take_role(role)

    async def drain(self, timeout_s: float) -> None:
        """Report that new work should go elsewhere, and wait until there is none, at most `timeout_s`."""
        if self._service is not None:
            await self._service.drain(timeout_s)

    async def _end(self, remove: bool) -> None:
        self._ended.clear()
        self._tell(Stop(remove))
        await self._ended.wait()

    def _ready(self) -> None:
        """The gateway has a worker: requests can be executed."""
        self._tell(Ready())

    def _tell(self, event: lifecycle.Event) -> None:
        before = self._machine.state
        now = asyncio.get_running_loop().time()
        for action in self._machine.handle(event, now):
            self._act(action)
        self._arm()
        if self._machine.state is not before:
            level = (
                logging.ERROR
                if self._machine.state in (ComponentState.ERRORED, ComponentState.BROKEN)
                else logging.INFO
            )
            reason = self._machine.error if level == logging.ERROR else None
            if reason is not None and not isinstance(event, CannotStart):
                reason += f" ({line})" if (line := self._output.last_line()) else ""
            log.log(level, "%s is %s%s", self.name, self._machine.state, f": {reason}" if reason else "")
            self._changed(self.name, self._machine.state, reason)
        if isinstance(event, Stop | Exited | lifecycle.Elapsed) and self._machine.state in ENDED:
            self._ended.set()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._machine.deadline is not None:
            loop = asyncio.get_running_loop()
            # Just after the deadline: the machine compares with >=.
            self._timer = loop.call_at(self._machine.deadline + 0.001, self._tell, lifecycle.Elapsed())

    def _act(self, action: Action) -> None:
        match action:
            case RunStep(step):
                self._spawn(step)
            case Terminate():
                for script in self._scripts.values():
                    script.terminate()
            case Kill():
                for script in self._scripts.values():
                    script.forget()
                self._scripts.clear()
                with contextlib.suppress(CgroupError):
                    self._leaf.kill()

    def _spawn(self, step: str) -> None:
        task = asyncio.create_task(self._run(step))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, step: str) -> None:
        def exited(code: int) -> None:
            self._scripts.pop(step, None)
            self._tell(Exited(step, code))

        config, store, recipe = self._context.config, self._context.store, self.installed.recipe
        context = Context(
            artifacts=str(store.artifacts(self.name, self.installed)),
            decompressed=str(store.unarchived(self.name, self.installed)),
            work=str(store.work(self.name)),
            thing_name=config.thing,
            configuration=self.installed.configuration,
        )
        description = steps_of(recipe)[step]
        try:
            if description.skip_if is not None and skips(description.skip_if):
                self._tell(Exited(step, 0))
                return
            variables = {key: interpolate(value, context) for key, value in environment_of(recipe, description).items()}
            variables |= {"HITLESS_COMPONENT": self.name, "HITLESS_NODE": config.thing}
            if self._service is not None:
                await self._service.wait_open()
                variables["HITLESS_GATEWAY"] = str(self._service.worker_socket)
            gateway = self._service.worker_socket.parent if self._service is not None else None
            privileged = description.requires_privilege
            confinement = self._context.isolation.confine(
                self.name, self.installed, privileged=privileged, gateway=gateway
            )
            self._scripts[step] = await Script.start(
                interpolate(description.script, context),
                self._leaf,
                confinement,
                variables=variables,
                output=self._output,
                exited=exited,
            )
        except CgroupError as error:
            self.give_up(str(error))
        except (OSError, ValueError, StateError) as error:
            log.error("%s: %s cannot be started: %s", self.name, step, error)
            self._tell(Exited(step, 127))


def skips(condition: str) -> bool:
    """Whether a step's SkipIf holds: `onpath <program>` or `exists <path>`."""
    kind, _, operand = condition.partition(" ")
    operand = operand.strip()
    return shutil.which(operand) is not None if kind == "onpath" else Path(operand).exists()
