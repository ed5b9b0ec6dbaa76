"""The node's jobs carried out: the thin shell around deployment/machine.py."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import secrets
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from functools import partial
from typing import Any

from greengrass_agent.components.isolation import EnvironmentBuildError
from greengrass_agent.components.runtime import NodeRuntime
from greengrass_agent.config import ArchiveSettings
from greengrass_agent.deployment import events
from greengrass_agent.deployment.configuration import Configuration
from greengrass_agent.deployment.download import Downloader
from greengrass_agent.deployment.events import (
    Abandon,
    Applied,
    Apply,
    ArtifactsFetched,
    Commit,
    Committed,
    Configured,
    Confirmed,
    Connected,
    Ended,
    Failed,
    FetchArtifacts,
    FetchRecipes,
    Keep,
    Notified,
    Notify,
    RecipesFetched,
    Tell,
    Validate,
    Validated,
)
from greengrass_agent.deployment.listeners import Listeners
from greengrass_agent.deployment.machine import Deployer, Phase
from greengrass_agent.deployment.plan import Components
from greengrass_agent.deployment.record import Record, Result
from greengrass_agent.deployment.store import Store
from greengrass_agent.deployment.timestamps import Times
from greengrass_agent.deployment.transfer import DownloadError
from hitless.cancellation import until_one_ends
from hitless.files import StateError
from hitless.mqtt import topics
from hitless.mqtt.messages import (
    DeploymentDocument,
    DeploymentInformation,
    JobProgress,
    JobStatusDetails,
    JobUpdate,
    JobUpdateAccepted,
    Message,
    MessageError,
)
from hitless.tls import Identity

log = logging.getLogger(__name__)

PROGRESS_EVERY_S = 2.0
"""How often the controller hears how far a job is, and the log five times less."""


class Jobs:
    """Has the machine hear of everything, and does what it asks for. Create it in a running event loop."""

    def __init__(
        self,
        node: str,
        store: Store,
        runtime: NodeRuntime,
        publish: Callable[[str, Message], None],
        tell_health: Callable[[str], None],
        *,
        allow_privilege: bool,
        allow_users: tuple[str, ...],
        archives: ArchiveSettings,
        identity: Identity | None = None,
        listeners: Listeners | None = None,
    ) -> None:
        """`publish` sends a message, or drops it while there is no broker; `tell_health` takes Greengrass's trigger.

        `allow_privilege`: whether the node's owner lets scripts run as root; `allow_users`: as whom else. `archives`:
        what may be unpacked. `identity`: who the node is to the repository. `listeners`: the components that are asked
        and told; None: none.
        """
        self._node = node
        self._store = store
        self._identity = identity
        self._runtime = runtime
        self._publish = publish
        self._tell_health = tell_health
        self._archives = archives
        self._listeners = listeners or Listeners()
        self._deployer = Deployer(store.load(), allow_privilege=allow_privilege, allow_users=allow_users)
        self._events: deque[events.Event] = deque()
        self._handling = False
        self._steps: set[asyncio.Task[None]] = set()
        self._applying: asyncio.Queue[Apply | Configured] = asyncio.Queue()
        self._tokens: dict[str, str] = {}
        """Client tokens of results that the controller has not confirmed, with their jobs."""
        self._downloader: Downloader | None = None

    @property
    def information(self) -> DeploymentInformation | None:
        """The last deployment that came to an end."""
        return self._deployer.record.information

    @property
    def components(self) -> Components:
        """The components that are in force."""
        return self._deployer.current

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Run the components of the deployment in force; go on with one that an earlier agent was killed in."""
        async with Downloader.open(self._store, self._archives, self._identity) as self._downloader:
            way = self._deployer.record.under_way
            gone = set(way.names) - set(self._deployer.current) if way is not None else ()
            if way is not None:
                log.info("job %s: going on with it in phase %s", way.job, self._deployer.phase)
            await self._runtime.start(self._deployer.current, gone)
            self.handle(Applied(0, self._runtime.states()))
            try:
                yield
            finally:
                for task in self._steps:
                    task.cancel()
                await asyncio.gather(*self._steps, return_exceptions=True)

    async def run(self) -> None:
        """Carry out merges, and tell how far jobs are, until cancelled."""
        await until_one_ends(self._apply(), self._tell_progress())

    def confirmed(self, payload: bytes) -> None:
        """The controller has answered an update of a job."""
        try:
            job = self._tokens.pop(JobUpdateAccepted.decode(payload).client_token, None)
        except MessageError as error:
            log.error("answer to the result of a job: %s", error)
            return
        if job is not None:
            self.handle(Confirmed(job))

    def handle(self, event: events.Event) -> None:
        """Take an event and do what comes of it. What that leads to at once comes after it, not in the middle."""
        if isinstance(event, Connected):
            self._tokens.clear()
        self._events.append(event)
        if self._handling:
            return
        self._handling = True
        try:
            while self._events:
                before = self._deployer.current
                effects = self._deployer.handle(self._events.popleft())
                if self._deployer.current is not before:
                    self._listeners.configured(before, self._deployer.current)
                for effect in effects:
                    self._perform(effect)
        finally:
            self._handling = False

    def reconfigure(self, component: str, configuration: Configuration, times: Times) -> None:
        """A component changes its own configuration. Raises StateError, and then nothing has changed."""
        self._store.save(self._deployer.record.configured(component, configuration, times))
        event = Configured(component, configuration, times)
        self.handle(event)
        # After the merges before it, which would undo it.
        self._applying.put_nowait(event)

    def _perform(self, effect: events.Effect) -> None:
        match effect:
            case Tell(job, result):
                self._publish_job(job, result)
            case FetchRecipes(job, document):
                self._step(job, partial(self._fetch_recipes, job, document))
            case FetchArtifacts(job, components):
                self._step(job, partial(self._fetch_artifacts, components), ArtifactsFetched(job))
            case Validate():
                self._step(effect.job, partial(self._validate, effect))
            case Notify():
                self._step(effect.job, partial(self._notify, effect), Notified(effect.job))
            case Abandon():
                for task in self._steps:
                    task.cancel()
                self._runtime.undrain()
            case Commit(job, record):
                problem = self._save(record)
                self.handle(Committed(job) if problem is None else Failed(job, problem))
            case Keep(record):
                self._save(record)
            case Apply():
                self._applying.put_nowait(effect)
            case Ended(job, result):
                self._ended(job, result)

    def _step(self, job: str, work: Callable[[], Coroutine[Any, Any, None]], then: events.Event | None = None) -> None:
        """Have work of a job done beside all else, and the machine told of an event when it is."""

        async def guarded() -> None:
            try:
                await work()
                if then is not None:
                    self.handle(then)
            except (DownloadError, EnvironmentBuildError) as error:
                self.handle(Failed(job, str(error)))
            except Exception as error:  # whatever it is, the deployment must not hang on it
                log.exception("deployment %s", job)
                self.handle(Failed(job, f"{type(error).__name__}: {error}"))

        task = asyncio.create_task(guarded())
        self._steps.add(task)
        task.add_done_callback(self._steps.discard)

    async def _fetch_recipes(self, job: str, document: DeploymentDocument) -> None:
        assert self._downloader is not None
        recipes = await self._downloader.recipes(document)
        self.handle(RecipesFetched(job, recipes))

    async def _fetch_artifacts(self, components: Components) -> None:
        assert self._downloader is not None
        await self._downloader.artifacts(components)
        await self._runtime.isolation.build(components)

    async def _validate(self, asked: Validate) -> None:
        problem = await self._listeners.validate(asked.deployment_id, asked.configurations, asked.timeout_s)
        self.handle(Validated(asked.job) if problem is None else Failed(asked.job, problem))

    async def _notify(self, asked: Notify) -> None:
        await self._listeners.agree(asked.job, asked.deployment_id, asked.timeout_s)
        await self._runtime.drain(asked.leaving, asked.timeout_s)

    async def _apply(self) -> None:
        """Carry out merges, one after the other: a rollback begins when the merge that it undoes is done."""
        while True:
            apply = await self._applying.get()
            if isinstance(apply, Configured):
                await self._runtime.configured(apply.component, apply.configuration)
                continue
            await self._runtime.apply(apply.plan, apply.target)
            self.handle(Applied(apply.serial, self._runtime.states()))
            self._tell_health("COMPONENT_STATUS_CHANGE")

    async def _tell_progress(self) -> None:
        """Tell how far the job is that is under way, whenever that has changed."""
        told, logged = "", ""
        for turn in itertools.count():
            await asyncio.sleep(PROGRESS_EVERY_S)
            job, phase = self._deployer.job, self._deployer.phase
            if job is None or self._downloader is None:
                continue
            progress = self._downloader.progress if phase is Phase.DOWNLOAD else None
            now = f"{job}: {phase}" + (f", {progress}" if progress is not None and progress.what else "")
            if now != told:
                told = now
                details = JobStatusDetails(step=phase, percent=progress.percent if progress is not None else None)
                self._publish_update(job, "IN_PROGRESS", details)
            if now != logged and turn % 5 == 0:
                logged = now
                log.info("job %s", now)

    def _ended(self, job: str, result: Result) -> None:
        level = logging.INFO if result.status == "SUCCEEDED" else logging.ERROR
        log.log(level, "job %s: %s %s", job, *_result_text(result))
        self._listeners.ended(job)
        if self._deployer.job is None:
            try:
                self._store.prune(self._deployer.current)
                self._runtime.isolation.prune(self._deployer.current)
            except OSError as error:
                log.error("%s: packages that nothing needs are kept: %s", self._store.root, error.strerror)
        self._tell_health("DEPLOYMENT")

    def _save(self, record: Record) -> str | None:
        """Put the record on disk; why it is not there."""
        try:
            self._store.save(record)
        except StateError as error:
            log.error("%s", error)
            return str(error)
        return None

    def _publish_job(self, job: str, result: Result) -> None:
        if result.status == "QUEUED":
            return
        details = JobStatusDetails(detailed_status=result.detail, reason=result.reason)
        token = self._publish_update(job, result.status, details)
        if result.status != "IN_PROGRESS":
            self._tokens[token] = job

    def _publish_update(self, job: str, status: JobProgress, details: JobStatusDetails) -> str:
        """Returns the token by which the controller's answer is known."""
        token = secrets.token_hex(8)
        update = JobUpdate(status=status, status_details=details, client_token=token)
        self._publish(topics.JOB_UPDATE.of(node=self._node, job=job), update)
        return token


def _result_text(result: Result) -> tuple[str, str]:
    return result.detail or result.status, f"({result.reason})" if result.reason else ""
