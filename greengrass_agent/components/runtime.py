"""What runs on the node: its network, its emitter and its components, changed by plans."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence

from pydantic import BaseModel, ValidationError

from greengrass_agent.components.bootstraps import Bootstraps
from greengrass_agent.components.component import Component, ComponentContext
from greengrass_agent.components.epochs import Epochs
from greengrass_agent.components.isolation import Isolation
from greengrass_agent.components.keys import Keys
from greengrass_agent.components.service import Service, notify_socket
from greengrass_agent.components.triggers import Triggers
from greengrass_agent.config import AgentConfig
from greengrass_agent.deployment.order import StartOrder
from greengrass_agent.deployment.plan import Components, Plan, ResolveError, hard_needs, in_order
from greengrass_agent.deployment.store import Store
from greengrass_agent.emitter.settings import EmitterSettings, Silent
from greengrass_agent.host import network_watch
from greengrass_agent.host.cgroup import CgroupError
from greengrass_agent.host.network import NetworkError, NodeNetwork
from greengrass_agent.host.processes import Subprocess
from hitless.component.service_configuration import ServiceConfiguration
from hitless.component.states import ComponentState
from hitless.files import StateError
from hitless.mqtt.messages import ShadowState
from hitless.wire.report import Key

log = logging.getLogger(__name__)

LEAVE_S = 2.0
"""How long a node that ends waits for its clients to be steered elsewhere."""


class NodeRuntime:
    """The node's components and what serves them.

    `changed` is told each component's new state, `told` when something else has changed that `details` tells.
    `start_anew` has the agent started anew, or the machine with True.
    """

    def __init__(
        self,
        config: AgentConfig,
        store: Store,
        changed: Callable[[str, ComponentState, str | None], None],
        told: Callable[[], None],
        start_anew: Callable[[bool], None],
    ) -> None:
        self.components: dict[str, Component] = {}
        """The components by name."""
        self._config = config
        self._store = store
        self._changed = changed
        self._told = told
        self._order = StartOrder()
        self._wanted: Components = {}
        self._unstarted: set[str] = set()
        self._changing = asyncio.Lock()
        """Steps are taken one after the other: by a plan, or because a dependency runs now."""
        self._starts: set[asyncio.Task[None]] = set()
        budget = config.cgroup.group()
        self.isolation = Isolation(config, store, budget)
        """What keeps the components from harming the node."""
        self._shared = ComponentContext(
            config, store, budget, self.isolation, Bootstraps(store.bootstraps), lambda: self._wanted, start_anew
        )
        self._roles: dict[str, ShadowState] = {}
        self._keys = Keys(store.root / "keys.json")
        self._epochs = Epochs(store.epoch)
        self._services: dict[str, Service] = {}
        self.triggers = Triggers(config)
        """What calls the services beside their clients."""
        self._network: NodeNetwork | None = None
        self._watch: asyncio.Task[None] | None = None
        if config.in_network:
            self._network = NodeNetwork(config.node_address, config.gateway_address, store.root / "network.json")
        self._emitter = Subprocess(
            "emitter",
            [sys.executable, "-m", "greengrass_agent.emitter"],
            first_commands=self._emitter_commands,
            on_line=self._emitter_told,
            on_exit=self._emitter_ended,
        )

    async def open(self) -> None:
        """Prepare the node and start its emitter. Raises NetworkError, CgroupError, OSError."""
        if not self._shared.budget.exists():
            raise CgroupError(f"{self._shared.budget}: no such control group: make the node's CPU budget first")
        for folder in (self._store.root, self._store.run(".")):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._store.root.chmod(0o700)
        try:
            self._config.log_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            log.error("%s: %s: what components print is lost until it can be made", error.filename, error.strerror)
        if self._network is not None:
            self._network.undo()
            self._network.set_up()
            self._watch = asyncio.create_task(network_watch.keep(self._network), name="the node's network")
        self._emitter.start()

    async def start(self, deployed: Components, gone: Collection[str] = ()) -> None:
        """Run the components of the deployment that is in force; end what an agent that was killed left of `gone`."""
        async with self._changing:
            for name in gone:
                try:
                    await asyncio.to_thread(self._shared.budget.child(name).remove)
                except CgroupError as error:
                    log.error("%s: %s", name, error)
            order = self._want(deployed, deployed)
            for name in order:
                self._add(name)
            await self._start_what_may()

    async def apply(self, plan: Plan, target: Components) -> None:
        """Take a plan's steps; what needs a component that does not run yet starts later, when it does.

        A component that cannot be started is BROKEN; the others go on.
        """
        async with self._changing:
            self._want(target, plan.replace + plan.start)
            for name in plan.remove:
                if (leaving := self.components.get(name)) is not None:
                    await self._attempt(name, leaving.stop(remove=True))
                    del self.components[name]
                    self._services.pop(name, None)
                    self._unstarted.discard(name)
            for name in plan.reconfigure:
                component = self.components[name]
                await self._attempt(name, component.reconfigure(target[name]))
                self._component_changed(name, component.state, component.error)
            for name in plan.start:
                self._add(name)
            await self._start_what_may()

    async def restart(self, name: str) -> str | None:
        """Launch a component anew, at once; returns None when the new launch is up, or why it is not."""
        component = self.components.get(name)
        if component is None:
            return f"the node has no component {name}; it has: {', '.join(sorted(self.components)) or 'none'}"
        if name in self._unstarted:
            return self._order.waits(name) or "it is being started"
        return await component.restart()

    def states(self) -> dict[str, ComponentState]:
        """The states of the components, but of those that wait for others to run."""
        return {name: one.state for name, one in self.components.items() if not self._order.pending(name)}

    def details(self, component: str) -> str | None:
        """What a component waits for, what went wrong with it last, or why it is not ready; for people."""
        service = self._services.get(component)
        trouble = service.trouble if service is not None else None
        return self._order.waits(component) or self.components[component].error or trouble

    def _want(self, wanted: Components, pending: Collection[str]) -> list[str]:
        """Have the components of `pending` started as `wanted` says, in their order, which is returned."""
        recipes = {name: one.recipe for name, one in wanted.items()}
        order = [name for name in in_order(recipes) if name in pending]
        self._wanted = wanted
        self._order.begin(hard_needs(recipes), order)
        return order

    def _add(self, name: str) -> None:
        component = Component(name, self._wanted[name], self._shared, self._make_service, self._component_changed)
        component.take_role(self._roles.get(name, ShadowState()))
        self.components[name] = component
        self._unstarted.add(name)

    async def _start_what_may(self) -> None:
        while (name := self._order.next()) is not None:
            component = self.components[name]
            if name in self._unstarted:
                self._unstarted.discard(name)
                await self._attempt(name, component.start())
            else:
                await self._attempt(name, component.replace(self._wanted[name]))

    def _component_changed(self, name: str, state: ComponentState, reason: str | None) -> None:
        self._order.changed(name, state, reason)
        task = asyncio.create_task(self._started_later())
        self._starts.add(task)
        task.add_done_callback(self._starts.discard)
        if not self._order.pending(name):
            self._changed(name, state, reason)

    async def _started_later(self) -> None:
        async with self._changing:
            await self._start_what_may()

    async def drain(self, components: Sequence[str], timeout_s: float) -> None:
        """Have new work go elsewhere, and wait until it does, at most `timeout_s`."""
        leaving = [self.components[name] for name in components if name in self.components]
        await asyncio.gather(*(component.drain(timeout_s) for component in leaving))

    def undrain(self) -> None:
        """Take work again, as the controller wants it."""
        for component in self.components.values():
            component.take_role(component.role)

    def take_role(self, component: str, role: ShadowState) -> None:
        """Take what the controller wants of a component; kept for one that comes later."""
        self._roles[component] = role
        if component in self.components:
            self.components[component].take_role(role)

    def take_key(self, component: str, key: Key | None) -> None:
        """Tag a component's reports with this key from now on. Raises StateError."""
        if self._keys.set(component, key) and component in self._services:
            self._services[component].take_key(key)

    def shadow(self, component: str) -> ShadowState:
        """What a component's shadow is on this node."""
        key = self._keys.get(component)
        role = self._roles.get(component, ShadowState())
        return role.model_copy(update={"report_key_id": key.id if key is not None else None})

    async def close(self) -> None:
        """End everything: clients are steered elsewhere first, what is here is answered."""
        for task in list(self._starts):
            task.cancel()
        self._order.begin({}, ())
        await self.triggers.stop()
        await self.drain(list(self.components), LEAVE_S)
        await asyncio.gather(*(component.stop(remove=False) for component in self.components.values()))
        await self._emitter.stop()
        if self._watch is not None:
            self._watch.cancel()
        if self._network is not None:
            try:
                self._network.undo()
            except NetworkError as error:
                log.error("the node's network is not put back: %s", error)

    async def _attempt(self, name: str, work: Awaitable[None]) -> None:
        try:
            await work
        except (CgroupError, NetworkError, ResolveError, StateError, OSError, ValueError) as error:
            self.components[name].give_up(str(error))
        except Exception as error:  # whatever it is, one component must not end the others
            log.exception("%s", name)
            self.components[name].give_up(f"{type(error).__name__}: {error}")

    def _make_service(
        self, component: str, configuration: ServiceConfiguration, on_workers: Callable[[Mapping[int, int]], None]
    ) -> Service:
        service = Service(
            component,
            configuration,
            on_workers,
            on_health=self._told,
            config=self._config,
            store=self._store,
            leaf=self._shared.budget.child(component),
            network=self._network,
            emit=self._emitter.send,
            key=self._keys.get(component),
            epochs=self._epochs,
            triggers=self.triggers,
        )
        self._services[component] = service
        return service

    def _emitter_told(self, line: bytes) -> None:
        try:
            told = Silent.model_validate_json(line)
        except ValidationError:
            log.info("emitter: %s", line.decode(errors="replace").strip())
            return
        for service in self._services.values():
            if service.name == told.service:
                service.silent(told.silent)

    def _emitter_ended(self) -> None:
        # The next one looks anew.
        for service in self._services.values():
            service.silent(False)

    def _emitter_commands(self) -> Iterable[BaseModel]:
        config = self._config
        yield EmitterSettings(
            node=config.thing,
            node_id=config.node_id,
            node_address=config.node_address,
            cgroup=config.cgroup,
            memory_bytes=config.memory_bytes,
            interval_ms=config.reports.interval_ms,
            idle_interval_ms=config.reports.idle_interval_ms,
            reports=config.reports if config.in_network else None,
            broker=config.metrics_broker,
            notify_socket=notify_socket(self._store),
        )
        yield from (service.reported() for service in self._services.values() if service.open)
