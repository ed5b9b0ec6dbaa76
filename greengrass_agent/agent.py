"""The agent: deployments carried out, components kept running, all of it told to the controller."""

from __future__ import annotations

import asyncio
import json
import logging
import platform
import secrets
import sys
import time
from collections.abc import Coroutine
from typing import Any

from greengrass_agent.components.isolation import EnvironmentBuildError
from greengrass_agent.components.runtime import NodeRuntime
from greengrass_agent.config import AgentConfig
from greengrass_agent.deployment import machine as deployment
from greengrass_agent.deployment.download import Downloader, DownloadError
from greengrass_agent.deployment.machine import (
    Abandon,
    Applied,
    Apply,
    ArtifactsFetched,
    Changed,
    Deployer,
    Failed,
    FetchArtifacts,
    FetchRecipes,
    NothingOffered,
    Notified,
    Notify,
    Offered,
    RecipesFetched,
    Remember,
    Result,
    Tell,
    Unreadable,
)
from greengrass_agent.deployment.plan import Components
from greengrass_agent.deployment.store import Record, Store
from greengrass_agent.mqtt import Connection
from hitless.component.states import ComponentState
from hitless.files import StateError, next_epoch
from hitless.mqtt import topics
from hitless.mqtt.messages import (
    ComponentHealth,
    DeploymentInformation,
    Health,
    JobStatusDetails,
    JobUpdate,
    MessageError,
    NextJob,
    ReportedState,
    ShadowDelta,
    ShadowUpdate,
    StartNext,
)
from hitless.wire.report import Key, ReportError

log = logging.getLogger(__name__)

VERSION = "2.6.0"
"""The Greengrass whose conventions the agent follows."""
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


class Agent:
    """One node's agent. Create it in a running event loop."""

    def __init__(self, config: AgentConfig) -> None:
        """Raises StateError, CgroupError."""
        self._config = config
        self._store = Store(config.root)
        record = self._store.load()
        self._information = record.information
        self._deployer = Deployer(
            current=record.components,
            deployment_id=record.deployment_id,
            results=record.results,
            allow_privilege=config.allow_privilege,
        )
        self._runtime = NodeRuntime(config, self._store, self._changed)
        self._mqtt = Connection(
            config.thing,
            config.broker,
            next_epoch(self._store.epoch("agent")),
            on_connected=self._connected,
            on_message=self._message,
        )
        self._documents: dict[str, Offered] = {}
        self._steps: set[asyncio.Task[None]] = set()
        self._applying: asyncio.Queue[Apply] = asyncio.Queue()
        self._shadow_versions: dict[str, int] = {}
        self._health_sequence = 0
        self._downloader: Downloader | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop` is set; then end everything in order. Raises NetworkError, CgroupError, OSError."""
        try:
            await self._runtime.open()
            async with Downloader.open(self._store) as self._downloader:
                await self._runtime.start(self._deployer.current)
                tasks: list[asyncio.Task[None]] = [
                    asyncio.create_task(self._mqtt.run()),
                    asyncio.create_task(self._apply()),
                ]
                waiting = asyncio.create_task(stop.wait())
                await asyncio.wait([waiting, *tasks], return_when=asyncio.FIRST_COMPLETED)
                for task in tasks:
                    if task.done():
                        task.result()
                log.info("ending")
                waiting.cancel()
                ending = [*tasks, *self._steps]
                for task in ending:
                    task.cancel()
                await asyncio.gather(*ending, return_exceptions=True)
        finally:
            await self._runtime.close()

    def _connected(self) -> None:
        for name in self._runtime.components:
            self._publish_shadow(name)
        self._publish_health("RECONNECT")
        token = secrets.token_hex(8)
        self._mqtt.publish(topics.JOBS_START_NEXT.of(node=self._config.thing), StartNext(client_token=token))

    def _message(self, topic: str, payload: bytes) -> None:
        if found := topics.SHADOW_UPDATE_DELTA.match(topic):
            self._delta(found["component"], payload)
            return
        try:
            execution = NextJob.decode(payload).execution
        except MessageError as error:
            log.error("job refused: %s", error)
            if (job := _job_id(payload)) is not None:
                self._handle(Unreadable(job, str(error)))
            return
        if execution is None:
            self._handle(NothingOffered())
        else:
            self._handle(Offered(execution.job_id, execution.job_document))

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
        self._handle(Changed(component, state, reason))
        self._publish_health("COMPONENT_STATUS_CHANGE")

    def _handle(self, event: deployment.Event) -> None:
        if isinstance(event, Offered):
            self._documents = {event.job: event, **dict(list(self._documents.items())[-1:])}
        for effect in self._deployer.handle(event):
            self._perform(effect)

    def _perform(self, effect: deployment.Effect) -> None:
        match effect:
            case Tell(job, result):
                self._publish_job(job, result)
            case FetchRecipes(job):
                self._step(job, self._fetch_recipes(job))
            case FetchArtifacts(job, components):
                self._step(job, self._then(self._fetch_artifacts(components), ArtifactsFetched(job)))
            case Notify(job, components, timeout_s):
                self._step(job, self._then(self._runtime.drain(components, timeout_s), Notified(job)))
            case Abandon():
                for task in self._steps:
                    task.cancel()
                self._runtime.undrain()
            case Apply():
                self._save()
                self._applying.put_nowait(effect)
            case Remember(job, result):
                self._remember(job, result)

    def _step(self, job: str, work: Coroutine[Any, Any, None]) -> None:
        async def guarded() -> None:
            try:
                await work
            except (DownloadError, EnvironmentBuildError) as error:
                self._handle(Failed(job, str(error)))
            except Exception as error:  # whatever it is, the deployment must not hang on it
                log.exception("deployment %s", job)
                self._handle(Failed(job, f"{type(error).__name__}: {error}"))

        task = asyncio.create_task(guarded())
        self._steps.add(task)
        task.add_done_callback(self._steps.discard)

    async def _then(self, work: Coroutine[Any, Any, None], event: deployment.Event) -> None:
        await work
        self._handle(event)

    async def _fetch_recipes(self, job: str) -> None:
        assert self._downloader is not None
        recipes = await self._downloader.recipes(self._documents[job].document)
        self._handle(RecipesFetched(job, recipes))

    async def _fetch_artifacts(self, components: Components) -> None:
        assert self._downloader is not None
        await self._downloader.artifacts(components)
        await self._runtime.isolation.build(components)

    async def _apply(self) -> None:
        """Carry out merges, one after the other: a rollback begins when the merge that it undoes is done."""
        while True:
            apply = await self._applying.get()
            await self._runtime.apply(apply.plan, apply.target)
            self._handle(Applied(apply.serial))
            self._publish_health("COMPONENT_STATUS_CHANGE")

    def _remember(self, job: str, result: Result) -> None:
        log.log(
            logging.INFO if result.status == "SUCCEEDED" else logging.ERROR, "job %s: %s %s", job, *_result_text(result)
        )
        offer = self._documents.get(job)
        self._information = DeploymentInformation(
            deployment_id=offer.document.deployment_id if offer else job,
            status=result.status,
            status_details=JobStatusDetails(detailed_status=result.detail, reason=result.reason),
        )
        self._save()
        self._store.prune(self._deployer.current)
        self._runtime.isolation.prune(self._deployer.current)
        self._publish_health("DEPLOYMENT")

    def _save(self) -> None:
        deployer = self._deployer
        self._store.save(Record(deployer.deployment_id, deployer.current, deployer.results, self._information))

    def _publish_job(self, job: str, result: Result) -> None:
        if result.status == "QUEUED":
            return
        update = JobUpdate(
            status=result.status,
            status_details=JobStatusDetails(detailed_status=result.detail, reason=result.reason),
            client_token=secrets.token_hex(8),
        )
        self._mqtt.publish(topics.JOB_UPDATE.of(node=self._config.thing, job=job), update)

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
            trigger=trigger,
            components=tuple(
                ComponentHealth(
                    component_name=name, version=one.installed.version, status=one.state, status_details=one.error
                )
                for name, one in components.items()
            ),
            deployment_information=self._information,
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


def _result_text(result: Result) -> tuple[str, str]:
    return result.detail or result.status, f"({result.reason})" if result.reason else ""
