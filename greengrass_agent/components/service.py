"""The service of a component: its gateway process, its address, its place in the emitter."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from greengrass_agent.components.checking import check
from greengrass_agent.components.epochs import Epochs
from greengrass_agent.components.health import Health
from greengrass_agent.components.triggers import Triggers
from greengrass_agent.config import AgentConfig
from greengrass_agent.deployment.store import Store
from greengrass_agent.emitter.settings import Add, Remove, Tag
from greengrass_agent.gateway.settings import (
    Checked,
    Configure,
    Finish,
    GatewaySettings,
    Role,
    Serve,
    Status,
    Suspend,
)
from greengrass_agent.host.cgroup import Group
from greengrass_agent.host.network import NodeNetwork
from greengrass_agent.host.processes import Subprocess
from greengrass_agent.logs.evidence import EXECUTIONS, REPORTS
from greengrass_agent.measure.queue_page import Page, QueueNumbers
from greengrass_agent.settings import CgroupSettings
from hitless.component.service_configuration import ServiceConfiguration
from hitless.files import write_atomic
from hitless.mqtt.messages import ShadowState
from hitless.saved_key import SavedKey
from hitless.wire.report import Key

log = logging.getLogger(__name__)

QUIET_S = 0.3
"""An instance that has had nothing to do for so long has been left by its clients."""
IDLE_CHECK_S = 5.0
"""How often is looked whether there are health checks to be made by now."""
GIVEN_UP = 200
"""Idle intervals that a gateway may stand still before it is killed, to be started again: 10 s by default."""
OPEN_S = 20.0
POLL_S = 0.02
LONGEST_PATH = 107
"""Bytes of a Unix socket's path (sockaddr_un.sun_path)."""


class Service:
    """One service instance.

    `on_workers` is told the warm workers by launch on each change, none without a gateway; `on_health` is told when
    `trouble` has changed.
    """

    def __init__(
        self,
        component: str,
        configuration: ServiceConfiguration,
        on_workers: Callable[[Mapping[int, int]], None],
        *,
        on_health: Callable[[], None],
        config: AgentConfig,
        store: Store,
        leaf: Group,
        network: NodeNetwork | None,
        emit: Callable[[Add | Remove | Tag], None],
        key: Key | None,
        epochs: Epochs,
        triggers: Triggers,
    ) -> None:
        """`network` is None where service addresses are not the node's. Raises OSError for a path that is too long."""
        self._component = component
        self._configuration = configuration
        self._address = configuration.own.address
        """The service's, where a switch steers."""
        self._on_workers = on_workers
        self._on_health = on_health
        self._config = config
        self._store = store
        self._leaf = leaf
        self._network = network
        self._emit = emit
        self._key = key
        self._epochs = epochs
        self._triggers = triggers
        self._configured = Configure.of(configuration, {})
        self._prepared: dict[int, tuple[ServiceConfiguration, Configure]] = {}
        """Of launches that are to serve later."""
        self._health = Health()
        self._trouble: str | None = None
        self._checking: asyncio.Task[None] | None = None
        self._giving_up: asyncio.TimerHandle | None = None
        self._serving: int | None = None
        self._suspended = Suspend(reason=None)
        self._role = Role()
        self._opened = asyncio.Event()
        self._finished = asyncio.Event()
        # In a folder of its own: that is what workers see of the agent's folder, also when the gateway makes it anew.
        self.worker_socket = store.run(f"{configuration.service}.workers") / "socket"
        self.worker_socket.parent.mkdir(parents=True, exist_ok=True)
        if len(str(self.worker_socket)) > LONGEST_PATH:
            raise OSError(f"{self.worker_socket}: longer than {LONGEST_PATH} bytes: choose a shorter root")
        settings_file = store.run(f"{configuration.service}.json")
        write_atomic(settings_file, self._settings(configuration).model_dump_json().encode())
        self._gateway = Subprocess(
            f"gateway of {configuration.service}",
            [sys.executable, "-m", "greengrass_agent.gateway", str(settings_file)],
            first_commands=self._first_commands,
            on_line=self._status_received,
            on_exit=self._gateway_ended,
        )

    def start(self, component_configuration: dict[str, Any]) -> None:
        """Serve. The workers get the component's configuration. Raises NetworkError."""
        self._configured = Configure.of(self._configuration, component_configuration)
        if self._network is not None:
            self._network.add(self._address)
        self._gateway.start()
        self._checking = asyncio.create_task(self._check(), name=f"health checks of {self._configuration.service}")

    def fits(self, configuration: ServiceConfiguration) -> bool:
        """Whether the gateway can go on with this configuration.

        A controller that steers by endpoints names the node's own address, at which the gateway listens in any case.
        """
        address = configuration.own.address
        same_place = address in (self._address, self._config.node_address)
        return same_place and self._settings(configuration) == self._settings(self._configuration)

    def configure(
        self, launch: int, configuration: ServiceConfiguration, component_configuration: dict[str, Any]
    ) -> None:
        """Let a launch's workers have this configuration; while it serves, the gateway's own limits follow."""
        configure = Configure.of(configuration, component_configuration)
        if launch == self._serving:
            self._configuration, self._configured = configuration, configure
            self._gateway.send(configure)
            self._triggers.take(configuration)
            return
        prepared = configuration, configure.model_copy(update={"launch": launch})
        if self._prepared.get(launch) != prepared:
            self._prepared[launch] = prepared
            self._gateway.send(prepared[1])

    def serve(self, launch: int) -> None:
        """Have new work go to a launch; its configuration holds for the gateway from now on."""
        self._serving = launch
        if launch in self._prepared:
            self._configuration, configured = self._prepared[launch]
            self._configured = configured.model_copy(update={"launch": None})
        self._prepared = {number: one for number, one in self._prepared.items() if number > launch}
        self._gateway.send(Serve(launch=launch))
        self._triggers.take(self._configuration)

    def suspend(self, reason: str | None) -> None:
        """Refuse requests at once, with this reason; None: no longer."""
        self._suspended = Suspend(reason=reason)
        self._gateway.send(self._suspended)

    def take_role(self, role: ShadowState) -> None:
        """Take what the controller wants of the instance."""
        self._role = Role(role=role.role, draining=role.draining)
        self._gateway.send(self._role)

    def take_key(self, key: Key | None) -> None:
        """Tag reports with this key from now on."""
        self._key = key
        if self._opened.is_set():
            self._emit(Tag(service=self._configuration.service, key=SavedKey.of(key) if key else None))

    async def drain(self, timeout_s: float) -> None:
        """Report that new work should go elsewhere; wait until nothing has come for a while, at most `timeout_s`."""
        self._gateway.send(self._role.model_copy(update={"draining": True}))
        loop = asyncio.get_running_loop()
        end, last, since = loop.time() + timeout_s, self._numbers(), loop.time()
        while loop.time() < end:
            await asyncio.sleep(POLL_S)
            numbers = self._numbers()
            if numbers is None:
                return
            if last is None or numbers.received != last.received or numbers.queue_depth or numbers.in_flight:
                last, since = numbers, loop.time()
            elif loop.time() - since >= QUIET_S:
                return

    async def finish(self) -> None:
        """Take nothing new, and wait until what is here has been answered."""
        if not self._opened.is_set():
            return
        self._finished.clear()
        self._gateway.send(Finish())
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._finished.wait(), self._configuration.timeout_ms / 1000 + 1)

    async def stop(self) -> None:
        """End the gateway and give the address back. Raises NetworkError."""
        if self._checking is not None:
            self._checking.cancel()
        self._triggers.leave(self._configuration.service)
        self._closed()
        await self._gateway.stop()
        if self._network is not None:
            self._network.remove(self._address)
        for name in ("json", "page"):
            self._store.run(f"{self._configuration.service}.{name}").unlink(missing_ok=True)
        shutil.rmtree(self.worker_socket.parent, ignore_errors=True)

    def _settings(self, configuration: ServiceConfiguration) -> GatewaySettings:
        own, service = configuration.own, configuration.service
        addresses = (self._config.node_address, self._address) if self._network else (self._config.node_address,)
        return GatewaySettings(
            node=self._config.thing,
            component=self._component,
            service=service,
            service_id=own.service_id,
            addresses=addresses,
            port=own.port,
            protocols=(own.protocol,),
            worker_socket=str(self.worker_socket),
            page=str(self._store.run(f"{service}.page")),
            notify_socket=str(notify_socket(self._store)),
            execution_log=EXECUTIONS.path(self._config.log_dir, service) if self._config.evidence else None,
            invoke_key=self._config.invoke_key,
            idle_interval_ms=self._config.reports.idle_interval_ms,
        )

    def _first_commands(self) -> Iterator[BaseModel]:
        yield self._configured
        yield self._role
        if self._suspended.reason is not None:
            yield self._suspended
        if self._serving is not None:
            yield Serve(launch=self._serving)
        if self._health.failing is not None:
            yield Checked(failing=True)
        yield from (configure for _, configure in self._prepared.values())

    def _status_received(self, line: bytes) -> None:
        status = Status.model_validate_json(line)
        if not self._opened.is_set():
            # In a new epoch, since the gateway's counts begin anew.
            self._opened.set()
            self._emit(self.reported())
        if status.finished:
            self._finished.set()
        self._on_workers(status.workers)
        self._health.stalled = status.stalled
        self._tell_trouble()

    @property
    def trouble(self) -> str | None:
        """Why the instance is not ready although its component runs, for people."""
        return self._trouble

    def silent(self, silent: bool) -> None:
        """The gateway stands still, or goes on. One that does not go on in time is killed: that starts it again."""
        self._health.silent = silent
        self._forgive()
        if silent:
            loop = asyncio.get_running_loop()
            patience_s = GIVEN_UP * self._config.reports.idle_interval_ms / 1000
            self._giving_up = loop.call_later(patience_s, self._give_up, patience_s)
        self._tell_trouble()

    def _give_up(self, patience_s: float) -> None:
        log.error("gateway of %s has stood still for %g s: it is killed", self._configuration.service, patience_s)
        self._gateway.kill()

    def _forgive(self) -> None:
        if self._giving_up is not None:
            self._giving_up.cancel()
            self._giving_up = None

    async def _check(self) -> None:
        """Ask the instance now and then whether it works, as its configuration says."""
        while True:
            health_check = self._configuration.health_check
            await asyncio.sleep(IDLE_CHECK_S if health_check is None else health_check.interval_ms / 1000)
            if health_check is None or self._serving is None or self._suspended.reason is not None:
                self._take_check(None, 1)
                continue
            try:
                numbers = self._numbers()
            except OSError:  # a gateway that is just being replaced
                continue
            # Where work waits, the gateway sees by itself whether workers take it, and a check would only wait with it.
            if numbers is not None and not (numbers.queue_depth and not self._health.silent):
                failure = await check(health_check, self._config.node_address, self._configuration.own)
                self._take_check(failure, health_check.failures)

    def _take_check(self, failure: str | None, failures: int) -> None:
        before = self._health.failing is not None
        self._health.checked(failure, failures)
        if (failing := self._health.failing is not None) is not before:
            self._gateway.send(Checked(failing=failing))
        self._tell_trouble()

    def _tell_trouble(self) -> None:
        before, self._trouble = self._trouble, self._health.reason
        if self._trouble == before:
            return
        if self._trouble is not None:
            log.warning("%s is %s", self._configuration.service, self._trouble)
        else:
            log.info("%s is ready again", self._configuration.service)
        self._on_health()

    def reported(self) -> Add:
        """The instance as the emitter must know it, in an epoch of its own: a beginning of its reports."""
        service = self._configuration.service
        return Add(
            service=service,
            service_id=self._configuration.own.service_id,
            cgroup=CgroupSettings.of(self._leaf),
            page=self._store.run(f"{service}.page"),
            epoch=self._epochs.next(service),
            log=REPORTS.path(self._config.log_dir, service) if self._config.evidence else None,
            key=SavedKey.of(self._key) if self._key else None,
        )

    @property
    def name(self) -> str:
        """Of the service."""
        return self._configuration.service

    @property
    def open(self) -> bool:
        """Whether the gateway listens."""
        return self._opened.is_set()

    async def wait_open(self) -> None:
        """Wait until the gateway listens. Raises OSError when it is clear that it will not soon."""
        try:
            await asyncio.wait_for(self._opened.wait(), OPEN_S)
        except TimeoutError:
            service = self._configuration.service
            raise OSError(f"the gateway of {service} does not listen: the agent's log tells why") from None

    def _gateway_ended(self) -> None:
        self._closed()
        self._finished.set()

    def _closed(self) -> None:
        if self._opened.is_set():
            self._opened.clear()
            self._emit(Remove(service=self._configuration.service))
        self._on_workers({})
        self._forgive()
        self._health.silent = self._health.stalled = False
        self._tell_trouble()

    def _numbers(self) -> QueueNumbers | None:
        if not self._opened.is_set():
            return None
        with Page(self._store.run(f"{self._configuration.service}.page")) as page:
            return page.read()


def notify_socket(store: Store) -> Path:
    """Unix socket at which gateways notify the emitter."""
    return store.run("emitter.sock")
