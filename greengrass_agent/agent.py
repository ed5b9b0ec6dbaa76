"""The agent: deployments carried out, components kept running, all of it told to the controller."""

from __future__ import annotations

import asyncio
import json
import logging
import platform
import secrets
import sys
import time
from enum import Enum, auto

from greengrass_agent.components.epochs import Epochs
from greengrass_agent.components.runtime import NodeRuntime
from greengrass_agent.config import AgentConfig
from greengrass_agent.deployment.events import Changed, Connected, NothingOffered, Offered, Unreadable
from greengrass_agent.deployment.store import Store
from greengrass_agent.jobs import Jobs
from greengrass_agent.mqtt import Connection
from greengrass_agent.restarts import Restarts
from hitless.component.states import ComponentState
from hitless.files import StateError
from hitless.mqtt import topics
from hitless.mqtt.messages import (
    ComponentHealth,
    Health,
    MessageError,
    NextJob,
    ReportedState,
    ShadowDelta,
    ShadowUpdate,
    StartNext,
)
from hitless.tls import Identity, TlsError
from hitless.wire.report import Key, ReportError

log = logging.getLogger(__name__)

VERSION = "2.6.0"
"""The Greengrass whose conventions the agent follows."""
CADENCE_S = 3600.0
"""Between two messages of health where nothing happens."""
HEALTHY = frozenset(
    {
        ComponentState.RUNNING,
        ComponentState.FINISHED,
        ComponentState.STARTING,
        ComponentState.INSTALLED,
        ComponentState.NEW,
        ComponentState.STOPPING,
    }
)


class Afterwards(Enum):
    """What is to be done when the agent has ended."""

    END = auto()
    AGAIN = auto()
    """Start it anew."""
    REBOOT = auto()
    """Reboot the machine."""


class Agent:
    """One node's agent. Create it in a running event loop."""

    def __init__(self, config: AgentConfig) -> None:
        """Raises StateError, CgroupError."""
        self._config = config
        self._store = Store(config.root)
        self._again = asyncio.Event()
        self._reboots = False
        self._runtime = NodeRuntime(config, self._store, self._changed, self._told, self._start_anew)
        self._mqtt = Connection(
            config.thing,
            config.broker,
            Epochs(self._store.epoch).next("agent"),
            on_connected=self._connected,
            on_message=self._message,
        )
        self._jobs = Jobs(
            config.thing,
            self._store,
            self._runtime,
            self._mqtt.publish,
            self._publish_health,
            allow_privilege=config.allow_privilege,
            allow_users=config.allow_users,
            archives=config.archives,
            identity=Identity(config.broker.tls) if config.broker.tls is not None else None,
        )
        self._restarts = Restarts(config.thing, self._runtime.restart, self._mqtt.publish)
        self._shadow_versions: dict[str, int] = {}
        self._health_sequence = 0

    async def run(self, stop: asyncio.Event) -> Afterwards:
        """Run until `stop` is set, or a component wants the agent started anew; then end everything in order.

        Raises NetworkError, CgroupError, OSError.
        """
        try:
            await self._runtime.open()
            async with self._jobs.open():
                tasks: list[asyncio.Task[None]] = [
                    asyncio.create_task(self._mqtt.run()),
                    asyncio.create_task(self._jobs.run()),
                    asyncio.create_task(self._tell_regularly()),
                ]
                ends: list[asyncio.Task[object]] = [
                    asyncio.create_task(stop.wait()),
                    asyncio.create_task(self._again.wait()),
                ]
                await asyncio.wait([*ends, *tasks], return_when=asyncio.FIRST_COMPLETED)
                for task in tasks:
                    if task.done():
                        task.result()
                log.info("ending")
                for end in ends:
                    end.cancel()
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            await self._runtime.close()
        if stop.is_set():
            return Afterwards.END
        return Afterwards.REBOOT if self._reboots else Afterwards.AGAIN

    def _start_anew(self, reboot: bool) -> None:
        log.warning("a bootstrap step has %s", "this machine rebooted" if reboot else "the agent started anew")
        self._reboots = reboot or self._reboots
        self._again.set()

    async def _tell_regularly(self) -> None:
        """Tell the node's clock and certificate also where nothing happens."""
        while True:
            await asyncio.sleep(CADENCE_S)
            self._publish_health("CADENCE")

    def _certificate_expires(self) -> int | None:
        """The earliest end of the certificates of agent, emitter and triggers, in milliseconds since 1970."""
        brokers = (self._config.broker, self._config.metrics_broker)
        folders = [broker.tls for broker in brokers if broker is not None and broker.tls is not None]
        folders += self._runtime.triggers.identities()
        try:
            ends = [Identity(folder).certificate().not_after for folder in folders]
        except TlsError as error:
            log.error("%s", error)
            return None
        return int(min(ends) * 1000) if ends else None

    def _connected(self) -> None:
        self._runtime.triggers.listening()
        for name in self._runtime.components:
            self._publish_shadow(name)
        self._publish_health("RECONNECT")
        self._jobs.handle(Connected())
        token = secrets.token_hex(8)
        self._mqtt.publish(topics.JOBS_START_NEXT.of(node=self._config.thing), StartNext(client_token=token))

    def _message(self, topic: str, payload: bytes) -> None:
        if found := topics.SHADOW_UPDATE_DELTA.match(topic):
            self._delta(found["component"], payload)
            return
        if found := topics.RESTART.match(topic):
            self._restarts.ask(found["component"], payload)
            return
        if found := topics.TRIGGER_HOLDER.match(topic):
            self._runtime.triggers.held(found["service"], payload)
            return
        if found := topics.ENDPOINT.match(topic):
            self._runtime.triggers.moved(found["service"], payload)
            return
        if found := topics.JOB_UPDATE_ACCEPTED.match(topic):
            self._jobs.confirmed(payload)
            return
        try:
            execution = NextJob.decode(payload).execution
        except MessageError as error:
            log.error("job refused: %s", error)
            if (job := _job_id(payload)) is not None:
                self._jobs.handle(Unreadable(job, str(error)))
            return
        if execution is None:
            self._jobs.handle(NothingOffered())
        else:
            self._jobs.handle(Offered(execution.job_id, execution.job_document))

    def _delta(self, component: str, payload: bytes) -> None:
        try:
            delta = ShadowDelta.decode(payload)
        except MessageError as error:
            log.error("shadow of %s refused: %s", component, error)
            return
        if delta.version < self._shadow_versions.get(component, 0):
            return
        self._shadow_versions[component] = delta.version
        log.info("%s: role %s%s", component, delta.state.role, ", draining" if delta.state.draining else "")
        self._runtime.take_role(component, delta.state)
        try:
            self._take_key(component, delta)
        except (StateError, ReportError) as error:
            log.error("the key of %s is not taken: %s", component, error)
        self._publish_shadow(component, delta.version)

    def _take_key(self, component: str, delta: ShadowDelta) -> None:
        key_id = delta.state.report_key_id
        if key_id is None:
            self._runtime.take_key(component, None)
        elif delta.report_key is not None:
            self._runtime.take_key(component, Key(key_id, bytes.fromhex(delta.report_key)))

    def _publish_shadow(self, component: str, version: int | None = None) -> None:
        reported = self._runtime.shadow(component)
        update = ShadowUpdate(state=ReportedState(reported=reported), version=version)
        self._mqtt.publish(topics.SHADOW_UPDATE.of(node=self._config.thing, component=component), update)

    def _changed(self, component: str, state: ComponentState, reason: str | None) -> None:
        self._jobs.handle(Changed(component, state, reason))
        self._publish_health("COMPONENT_STATUS_CHANGE")

    def _told(self) -> None:
        self._publish_health("COMPONENT_STATUS_CHANGE")

    def _publish_health(self, trigger: str) -> None:
        self._health_sequence += 1
        components = self._runtime.components
        health = Health(
            ggc_version=VERSION,
            platform=sys.platform,
            architecture=platform.machine(),
            thing=self._config.thing,
            overall_device_status=(
                "HEALTHY" if all(one.state in HEALTHY for one in components.values()) else "UNHEALTHY"
            ),
            sequence_number=self._health_sequence,
            timestamp=time.time_ns() // 1_000_000,
            certificate_expires=self._certificate_expires(),
            trigger=trigger,
            components=tuple(
                ComponentHealth(
                    component_name=name,
                    version=one.installed.version,
                    status=one.state,
                    status_details=self._runtime.details(name),
                )
                for name, one in components.items()
            ),
            deployment_information=self._jobs.information,
        )
        # Retained, so that a controller that starts anew knows what the node has.
        self._mqtt.publish(topics.HEALTH.of(node=self._config.thing), health, retain=True)


def _job_id(payload: bytes) -> str | None:
    """The job's id in a message that is otherwise unreadable."""
    try:
        job = json.loads(payload)["execution"]["jobId"]
        topics.JOB_UPDATE.of(node="-", job=job)
    except (ValueError, KeyError, TypeError):
        return None
    return str(job)
