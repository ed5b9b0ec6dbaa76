"""A component on the node: its lifecycle carried out, its service served. The thin shell around lifecycle.py."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from greengrass_agent.components import lifecycle
from greengrass_agent.components.bootstraps import Bootstraps
from greengrass_agent.components.edition import edition_of
from greengrass_agent.components.greengrass_environment import SOCKET, TOKEN, with_greengrass
from greengrass_agent.components.isolation import Isolation
from greengrass_agent.components.launch import (
    REBOOT,
    RESTART,
    Action,
    Kill,
    Launch,
    RunStep,
    Serve,
    StartAnew,
    Suspend,
    Terminate,
)
from greengrass_agent.components.lifecycle import (
    CannotChange,
    Elapsed,
    Exited,
    Lifecycle,
    Reported,
    Restart,
    Stop,
    Unstartable,
    Want,
    Warm,
)
from greengrass_agent.components.service import Service
from greengrass_agent.components.step import context_of, scripted, skips
from greengrass_agent.config import AgentConfig
from greengrass_agent.deployment.plan import Components, Installed, steps_of, variables_of
from greengrass_agent.deployment.store import Store
from greengrass_agent.host.cgroup import CgroupError, Group
from greengrass_agent.host.network import NetworkError
from greengrass_agent.host.processes import Script
from greengrass_agent.ipc.operation import Caller
from greengrass_agent.ipc.server import IpcServer
from greengrass_agent.logs.output import Output
from hitless.component.recipe import Bootstrap
from hitless.component.service_configuration import ServiceConfiguration
from hitless.component.states import READY, ComponentState
from hitless.files import StateError
from hitless.mqtt.messages import ShadowState

log = logging.getLogger(__name__)

BESIDE = 0.1
"""How much CPU time a launch gets of what the one that serves gets, until it takes its place: requests come first."""
_WRONG = frozenset({ComponentState.ERRORED, ComponentState.BROKEN})
_ENDED = frozenset({ComponentState.INSTALLED, ComponentState.UNINSTALLED})


@dataclass(frozen=True, slots=True)
class ComponentContext:
    """What the components of a node share."""

    config: AgentConfig
    store: Store
    budget: Group
    isolation: Isolation
    ipc: IpcServer
    bootstraps: Bootstraps
    components: Callable[[], Components]
    """All that is wanted on the node, by name."""
    start_anew: Callable[[bool], None]
    """Has the agent started anew; with True, the machine."""


class Component:
    """One component. `changed` is told each new state; all methods belong to the event loop."""

    def __init__(
        self,
        name: str,
        installed: Installed,
        context: ComponentContext,
        make_service: Callable[[str, ServiceConfiguration, Callable[[Mapping[int, int]], None]], Service],
        changed: Callable[[str, ComponentState, str | None], None],
    ) -> None:
        self.name = name
        self.installed = installed
        """What is wanted."""
        self._context = context
        self._make_service = make_service
        self._changed = changed
        self._leaf = context.budget.child(name)
        self._output = Output(context.config.log_dir / f"{name}.log", context.config.component_logs.limits())
        self._swept = False
        self._preparing = asyncio.Lock()
        self._halting = asyncio.Lock()
        self._paused = False
        self._service: Service | None = None
        self._machine = Lifecycle()
        self._contents: dict[str, Installed] = {}
        """What is behind each edition's key."""
        self._scripts: dict[tuple[int, str], Script] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._clearing: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._news = asyncio.Event()
        self._role = ShadowState()

    @property
    def state(self) -> ComponentState:
        """The state of what is wanted."""
        return self._machine.state

    @property
    def error(self) -> str | None:
        """What has gone wrong with what is wanted, and what works in its place."""
        error, serving = self._machine.error, self._machine.serving
        if error is None or serving is None or self._machine.state not in _WRONG:
            return error
        content = self._contents.get(serving.edition.key)
        return f"{error}; {content.version} goes on" if content is not None else error

    @property
    def role(self) -> ShadowState:
        """What the controller wants of the component."""
        return self._role

    async def start(self) -> None:
        """Begin the component's life. Raises ResolveError, ValueError for a content that cannot be run."""
        self._want(again=True)

    async def stop(self, *, remove: bool) -> None:
        """End the component: what it has is answered first. `remove` also gives back what it had on the node."""
        await self._stop_service_and_launches(Stop(remove))
        if remove:
            self._context.bootstraps.forget(self.name)
            await asyncio.to_thread(self._leaf.remove)
        self._output.stop_reading()
        await asyncio.to_thread(self._output.close)

    async def replace(self, installed: Installed) -> None:
        """Run this, by a new launch that comes up beside the old one; unless that works and only another did not.

        Requests wait in the gateway meanwhile only where its own address, port, protocol or id changes. Raises
        NetworkError, ResolveError, ValueError.
        """
        await self._take(installed, again=True)

    async def reconfigure(self, installed: Installed) -> None:
        """Take another configuration: live if a running process can have it, or else as `replace` does."""
        await self._take(installed, again=False)

    def configured(self, installed: Installed) -> None:
        """It has changed its own configuration: what runs has it live as far as it can, later launches whole."""
        self.installed = installed
        for key, own in self._contents.items():
            if own.digest == installed.digest:
                self._contents[key] = replace(own, configuration=installed.configuration)
        for launch in self._machine.all():
            self._configure(launch)

    def report(self, launch: int, state: Literal["RUNNING", "ERRORED"]) -> None:
        """A launch says of itself that it runs, or cannot go on."""
        self._tell(Reported(launch, errored=state == "ERRORED"))

    def pause(self) -> None:
        """Have its processes stand still until `resume`, or until its life asks something of them.

        Raises CgroupError where that cannot be done.
        """
        if self._service is not None:
            raise CgroupError(f"{self.name} serves, and its callers would wait: drain it (hitless drain)")
        if self._machine.serving is None:
            raise CgroupError(f"{self.name} is {self.state}, so there is nothing to pause")
        self._leaf.freeze(True)
        self._paused = True

    def resume(self) -> None:
        """Have its processes go on, if they are paused. Raises CgroupError."""
        if self._paused:
            self._leaf.freeze(False)
            self._paused = False

    async def halt(self) -> None:
        """End what there is, in order: it is FINISHED until it is restarted, or something else is wanted."""
        async with self._halting:
            await self._stop_service_and_launches(Stop(halt=True))

    async def restart(self) -> str | None:
        """Launch it anew, at once; returns None when the new launch is up, or why it is not."""
        async with self._halting:
            if self._machine.halted:
                self._want(again=True)
            else:
                self._tell(Restart())
        while self.state not in (*READY, *_ENDED, ComponentState.BROKEN):
            self._news.clear()
            await self._news.wait()
        if self.state in READY:
            return None
        return self.error or f"it is {self.state}"

    def configuration(self, launch: int) -> Mapping[str, Any]:
        """What a launch is configured with now; nothing once it has ended."""
        found = self._machine.find(launch)
        return self._contents[found.edition.key].configuration if found is not None else {}

    def give_up(self, reason: str) -> None:
        """What is wanted cannot be had; what works goes on."""
        self._tell(CannotChange(reason))

    def take_role(self, role: ShadowState) -> None:
        """Take what the controller wants of the component."""
        self._role = role
        if self._service is not None:
            self._service.take_role(role)

    async def drain(self, timeout_s: float) -> None:
        """Report that new work should go elsewhere, and wait until there is none, at most `timeout_s`."""
        if self._service is not None:
            await self._service.drain(timeout_s)

    async def _take(self, installed: Installed, *, again: bool) -> None:
        after = ServiceConfiguration.read(installed.configuration)
        before = self._service
        if not ((before is None and after is None) or (before and after and before.fits(after))):
            await self._stop_service_and_launches(Stop())
        self.installed = installed
        self._want(again=again)

    async def _stop_service_and_launches(self, stop: Stop) -> None:
        if self._service is not None:
            await self._service.finish()
        self._tell(stop)
        while self._machine.ending:
            self._news.clear()
            await self._news.wait()
        await asyncio.gather(*self._clearing)
        if self._service is not None:
            service, self._service = self._service, None
            await service.stop()

    def _want(self, *, again: bool) -> None:
        # What is wanted of the others may already be without this one.
        variables = variables_of(self.name, {**self._context.components(), self.name: self.installed})
        edition = edition_of(self.installed, variables, may_reboot=self._context.config.allow_reboot)
        running = {launch.edition.key for launch in self._machine.all()}
        if self._machine.undo is not None:
            running.add(self._machine.undo.key)
        self._contents = {key: one for key, one in self._contents.items() if key in running}
        self._contents[edition.key] = self.installed
        self._tell(Want(edition, again))
        for launch in self._machine.all():
            if launch.edition.key == edition.key:
                self._configure(launch)

    def _configure(self, launch: Launch) -> None:
        """Have a launch's workers know their configuration, and its group its limits."""
        installed, group = self._contents[launch.edition.key], self._group(launch.number)
        try:
            if group.exists():
                self._context.isolation.limits(installed).apply(group)
        except CgroupError as error:  # v1 takes no memory limit below what is used
            log.error("%s keeps its limits: %s", self.name, error)
        configuration = ServiceConfiguration.read(installed.configuration)
        if self._service is not None and configuration is not None:
            self._service.configure(launch.number, configuration, installed.configuration)

    def _tell(self, event: lifecycle.Event) -> None:
        before = self._machine.state
        now = asyncio.get_running_loop().time()
        for action in self._machine.handle(event, now):
            self._act(action)
        self._arm()
        self._news.set()
        # A component that is told what to be is in its state anew, also if that has the same name.
        if self._machine.state is before and not isinstance(event, Want | Restart):
            return
        wrong = self._machine.state in _WRONG
        reason = self.error if wrong else None
        if reason is not None and not isinstance(event, CannotChange):
            reason += f" ({line})" if (line := self._output.last_line()) else ""
        level = logging.ERROR if wrong else logging.INFO
        log.log(level, "%s is %s%s", self.name, self._machine.state, f": {reason}" if reason else "")
        self._changed(self.name, self._machine.state, reason)

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if (deadline := self._machine.deadline) is not None:
            loop = asyncio.get_running_loop()
            # Just after the deadline: the machine compares with >=.
            self._timer = loop.call_at(deadline + 0.001, self._tell, Elapsed())

    def _act(self, action: Action) -> None:
        if isinstance(action, RunStep | Terminate | Kill):
            self._wake()
        match action:
            case RunStep(number, step):
                _keep(self._tasks, self._run(number, step))
            case StartAnew(_, reboot):
                self._context.start_anew(reboot)
            case Terminate(number):
                for (launch, _), script in self._scripts.items():
                    if launch == number:
                        script.terminate()
            case Kill(number):
                self._clear(number)
            case Serve(number):
                self._weigh(number, 1)
                if self._service is not None:
                    self._service.serve(number)
            case Suspend(reason):
                if self._service is not None:
                    self._service.suspend(reason)

    def _wake(self) -> None:
        try:
            self.resume()
        except CgroupError as error:
            log.error("%s: %s", self.name, error)

    def _clear(self, number: int) -> None:
        for key in [key for key in self._scripts if key[0] == number]:
            self._scripts.pop(key).forget()
        self._context.ipc.revoke(Caller(self.name, number))
        _keep(self._clearing, self._remove(self._group(number)))

    async def _remove(self, group: Group) -> None:
        try:
            await asyncio.to_thread(group.remove)
        except CgroupError as error:
            log.error("%s: %s", self.name, error)

    def _weigh(self, number: int, times: float) -> None:
        """Have a launch's group get CPU time `times` as much as another's."""
        try:
            self._group(number).weigh(times)
        except CgroupError as error:
            log.error("%s: %s", self.name, error)

    def _group(self, number: int) -> Group:
        return self._leaf.child(f"launch-{number}")

    async def _prepare(self) -> None:
        """Have the node ready for a launch. Raises CgroupError, NetworkError, OSError."""
        async with self._preparing:
            self._leaf.create()
            if not self._swept:
                # What an agent that was killed has left behind, maybe paused as a whole.
                await asyncio.to_thread(self._leaf.kill)
                for left in self._leaf.children():
                    await asyncio.to_thread(left.remove)
                self._swept = True
            configuration = ServiceConfiguration.read(self.installed.configuration)
            if configuration is not None and self._service is None:
                service = self._make_service(self.name, configuration, lambda workers: self._tell(Warm(workers)))
                service.start(self.installed.configuration)
                service.take_role(self._role)
                service.suspend(self._machine.suspended)
                self._service = service

    async def _run(self, number: int, step: str) -> None:
        try:
            # A process that is being killed may hold what the next one needs.
            await asyncio.gather(*self._clearing)
            await self._prepare()
            await self._run_script(number, step)
        except (CgroupError, NetworkError, StateError, OSError, ValueError) as error:
            log.error("%s: %s cannot be started: %s", self.name, step, error)
            self._tell(Unstartable(number, step, str(error)))

    async def _run_script(self, number: int, step: str) -> None:
        def exited(code: int) -> None:
            self._scripts.pop((number, step), None)
            if step == "bootstrap" and code in (0, RESTART, REBOOT):
                self._bootstrapped(number, installed, code)
            else:
                self._tell(Exited(number, step, code))

        if (launch := self._machine.find(number)) is None:
            return
        installed = self._contents[launch.edition.key]
        config, recipe = self._context.config, installed.recipe
        wanted = self._context.components()
        needed = {name: wanted[name] for name in recipe.dependencies if name in wanted}
        context = context_of(self.name, installed, needed, config, self._context.store)
        description = steps_of(recipe)[step]
        if isinstance(description, Bootstrap) and self._context.bootstraps.done(
            self.name, installed.digest, again_on_rollback=description.on_rollback
        ):
            self._tell(Exited(number, step, 0))
            return
        if skips(description, context):
            self._tell(Exited(number, step, 0))
            return
        script_of = scripted(installed, description, context)
        for variable in script_of.unset:
            log.warning(
                "%s: %s: the configuration has no value for %s, which stays as it is", self.name, step, variable
            )
        memory = self._context.isolation.limits(installed).memory_bytes or config.memory_bytes
        variables = with_greengrass(script_of.variables, config.thing) | {
            "HITLESS_COMPONENT": self.name,
            "HITLESS_COMPONENT_VERSION": installed.version,
            "HITLESS_NODE": config.thing,
            "HITLESS_LAUNCH": str(number),
            "HITLESS_MEMORY_MB": str(memory >> 20),
        }
        if self._service is not None:
            variables["HITLESS_GATEWAY"] = str(self._service.worker_socket)
            if step in ("startup", "run"):
                await self._service.wait_open()
                self._configure(launch)
        gateway = self._service.worker_socket.parent if self._service is not None else None
        confinement = self._context.isolation.confine(
            self.name, installed, privileged=description.requires_privilege, gateway=gateway, needed=needed
        )
        if self._machine.find(number) is None:
            return
        user = confinement.user.uid if confinement.user is not None else None
        variables |= {
            SOCKET: str(self._context.ipc.path),
            TOKEN: self._context.ipc.grant(Caller(self.name, number), user),
        }
        self._group(number).create()
        if self._machine.serving is not None and self._machine.serving.number < number:
            self._weigh(number, BESIDE)
        script = await Script.start(
            script_of.command,
            self._group(number),
            confinement,
            variables=variables,
            output=self._output,
            exited=exited,
        )
        if self._machine.find(number) is None:
            # Killed while it was being started.
            script.forget()
            self._clear(number)
        else:
            self._scripts[number, step] = script

    def _bootstrapped(self, number: int, installed: Installed, code: int) -> None:
        """Remember that the step is done, before it has the agent started anew: or it would be done for ever."""
        try:
            if code != REBOOT or self._context.config.allow_reboot:
                self._context.bootstraps.set(self.name, installed.digest)
        except StateError as error:
            self._tell(Unstartable(number, "bootstrap", str(error)))
            return
        self._tell(Exited(number, "bootstrap", code))


def _keep(tasks: set[asyncio.Task[None]], work: Coroutine[Any, Any, None]) -> None:
    task = asyncio.create_task(work)
    tasks.add(task)
    task.add_done_callback(tasks.discard)
