"""What runs on the node: its network, its emitter and its components, changed by plans."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable, Iterable, Sequence

from pydantic import BaseModel

from greengrass_agent.components.component import Component, ComponentContext
from greengrass_agent.components.epochs import Epochs
from greengrass_agent.components.keys import Keys
from greengrass_agent.components.service import Service, notify_socket
from greengrass_agent.config import AgentConfig
from greengrass_agent.deployment.plan import Components, Plan, in_order
from greengrass_agent.deployment.store import Store
from greengrass_agent.emitter.settings import EmitterSettings
from greengrass_agent.host.cgroup import CgroupError
from greengrass_agent.host.network import NetworkError, NodeNetwork
from greengrass_agent.host.processes import Subprocess
from hitless.component.service_configuration import ServiceConfiguration
from hitless.component.states import ComponentState
from hitless.mqtt.messages import ShadowState
from hitless.wire.report import Key

log = logging.getLogger(__name__)

LEAVE_S = 2.0
"""How long a node that ends waits for its clients to be steered elsewhere."""


class NodeRuntime:
    """The node's components and what serves them. `changed` is told each component's new state."""

    def __init__(
        self, config: AgentConfig, store: Store, changed: Callable[[str, ComponentState, str | None], None]
    ) -> None:
        self.components: dict[str, Component] = {}
        """The components by name."""
        self._config = config
        self._store = store
        self._changed = changed
        self._shared = ComponentContext(config, store, config.cgroup.group())
        self._roles: dict[str, ShadowState] = {}
        self._keys = Keys(store.root / "keys.json")
        self._epochs = Epochs(store.epoch)
        self._services: dict[str, Service] = {}
        self._network: NodeNetwork | None = None
        if config.in_network:
            self._network = NodeNetwork(config.node_address, config.gateway_address, store.root / "network.json")
        self._emitter = Subprocess(
            "emitter",
            [sys.executable, "-m", "greengrass_agent.emitter"],
            first_commands=self._emitter_commands,
            on_line=lambda line: log.info("emitter: %s", line.decode(errors="replace").strip()),
            on_exit=lambda: None,
        )

    async def open(self) -> None:
        """Prepare the node and start its emitter. Raises NetworkError, CgroupError, OSError."""
        if not self._shared.budget.exists():
            raise CgroupError(f"{self._shared.budget}: no such control group: make the node's CPU budget first")
        self._store.run(".").mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            self._config.log_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            log.error("%s: %s: what components print is lost until it can be made", error.filename, error.strerror)
        if self._network is not None:
            self._network.undo()
            self._network.set_up()
        self._emitter.start()

    async def start(self, deployed: Components) -> None:
        """Run the components of the deployment that is in force."""
        for name in in_order({name: one.recipe for name, one in deployed.items()}):
            await self._start(name, deployed)

    async def apply(self, plan: Plan, target: Components) -> None:
        """Take a plan's steps. A component that cannot be started is BROKEN; the others go on."""
        for name in plan.remove:
            if (leaving := self.components.get(name)) is not None:
                await leaving.stop(remove=True)
                del self.components[name]
                self._services.pop(name, None)
        for name in plan.reconfigure:
            await self.components[name].reconfigure(target[name])
        for name in plan.replace:
            await self._attempt(name, self.components[name].replace(target[name]))
        for name in plan.start:
            await self._start(name, target)

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
        await self.drain(list(self.components), LEAVE_S)
        await asyncio.gather(*(component.stop(remove=False) for component in self.components.values()))
        await self._emitter.stop()
        if self._network is not None:
            try:
                self._network.undo()
            except NetworkError as error:
                log.error("the node's network is not put back: %s", error)

    async def _start(self, name: str, deployed: Components) -> None:
        component = Component(name, deployed[name], self._shared, self._make_service, self._changed)
        component.take_role(self._roles.get(name, ShadowState()))
        self.components[name] = component
        await self._attempt(name, component.start())

    async def _attempt(self, name: str, work: Awaitable[None]) -> None:
        try:
            await work
        except (CgroupError, NetworkError, OSError) as error:
            self.components[name].give_up(str(error))

    def _make_service(
        self, component: str, configuration: ServiceConfiguration, on_ready: Callable[[], None]
    ) -> Service:
        service = Service(
            component,
            configuration,
            on_ready,
            config=self._config,
            store=self._store,
            leaf=self._shared.budget.child(component),
            network=self._network,
            emit=self._emitter.send,
            key=self._keys.get(component),
            epochs=self._epochs,
        )
        self._services[component] = service
        return service

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
            broker=config.broker if config.metrics_over_mqtt else None,
            notify_socket=notify_socket(self._store),
        )
        yield from (service.reported() for service in self._services.values() if service.open)
