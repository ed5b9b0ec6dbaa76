"""Jobs as the controller hears of them, on a node whose components are made up: progress, kills, a full disk."""

import asyncio
import base64
import errno
import hashlib
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import pytest

from greengrass_agent import jobs
from greengrass_agent.components.runtime import NodeRuntime
from greengrass_agent.config import ArchiveSettings
from greengrass_agent.deployment.configuration import Configuration
from greengrass_agent.deployment.events import Changed, NothingOffered, Offered
from greengrass_agent.deployment.listeners import Listeners
from greengrass_agent.deployment.plan import Components, Plan
from greengrass_agent.deployment.store import Store
from greengrass_agent.jobs import Jobs
from hitless import files
from hitless.component.states import ComponentState
from hitless.mqtt.messages import (
    ComponentDeployment,
    ConfigurationUpdate,
    DeploymentDocument,
    JobUpdate,
    Message,
    RecipeSource,
)
from tests.agent.test_transfer import DIGEST, Link, served
from tests.patience import until_async


class Made:
    """A node whose components run as soon as they are started."""

    def __init__(self, store: Store, listeners: Listeners | None = None) -> None:
        self.told: list[tuple[str, JobUpdate]] = []
        self.running: dict[str, str] = {}
        self.configurations: dict[str, Configuration] = {}
        """Those that components have changed themselves."""
        self.draining = False
        self.drains_for_ever = False
        self.isolation = self
        runtime = cast(NodeRuntime, self)
        self.jobs = Jobs(
            "n1",
            store,
            runtime,
            self._publish,
            lambda trigger: None,
            allow_privilege=False,
            allow_users=(),
            archives=ArchiveSettings(),
            listeners=listeners,
        )

    async def build(self, components: Components) -> None:
        """These components need no environments."""

    def prune(self, components: Components) -> None:
        """There are none to remove."""

    def _publish(self, topic: str, message: Message) -> None:
        assert isinstance(message, JobUpdate)
        self.told.append((topic.split("/")[-2], message))

    async def start(self, deployed: Components, gone: Sequence[str] = ()) -> None:
        await self.apply(Plan(start=tuple(deployed)), deployed)

    async def apply(self, plan: Plan, target: Components) -> None:
        self.running = {name: one.version for name, one in target.items()}
        for name in plan.changed:
            self.jobs.handle(Changed(name, ComponentState.RUNNING))

    async def configured(self, component: str, configuration: Configuration) -> None:
        self.configurations[component] = configuration

    def states(self) -> dict[str, ComponentState]:
        return dict.fromkeys(self.running, ComponentState.RUNNING)

    async def drain(self, components: Sequence[str], timeout_s: float) -> None:
        self.draining = True
        if self.drains_for_ever:
            await asyncio.Event().wait()

    def undrain(self) -> None:
        self.draining = False

    def end(self, job: str) -> JobUpdate | None:
        return next((one for name, one in self.told if name == job and one.status != "IN_PROGRESS"), None)


def deployment(store: Store, version: str | None, artifact: str | None = None, **merge: object) -> DeploymentDocument:
    """A component whose recipe is on the node already, and whose artefact is to be fetched; or none at all.

    `merge` changes its configuration.
    """
    if version is None:
        return DeploymentDocument(deployment_id="none", components={}, recipes={})
    digest = base64.b64encode(DIGEST).decode()
    recipe = {
        "RecipeFormatVersion": "2020-01-25",
        "ComponentName": "A",
        "ComponentVersion": version,
        "Manifests": [
            {
                "Lifecycle": {"run": "true"},
                "Artifacts": [{"Uri": artifact, "Digest": digest}] if artifact is not None else [],
            }
        ],
    }
    text = json.dumps(recipe).encode()
    sha256 = hashlib.sha256(text).hexdigest()
    file = store.recipe_file("A", version, sha256)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(text)
    return DeploymentDocument(
        deployment_id=version,
        components={
            "A": ComponentDeployment(component_version=version, configuration_update=ConfigurationUpdate(merge=merge))
        },
        recipes={"A": RecipeSource(uri="http://nowhere/", sha256=sha256)},
    )


@asynccontextmanager
async def living(store: Store, listeners: Listeners | None = None) -> AsyncIterator[Made]:
    """A node, until its agent is killed: nothing is put in order."""
    made = Made(store, listeners)
    async with made.jobs.open():
        work = asyncio.create_task(made.jobs.run())
        try:
            yield made
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)


async def ended(made: Made, job: str) -> JobUpdate:
    found: JobUpdate = await until_async(lambda: made.end(job), f"the end of {job}")
    return found


async def progress(store: Store, link: Link) -> list[JobUpdate]:
    async with living(store) as made:
        made.jobs.handle(Offered("j", deployment(store, "1.0.0", link.url)))
        assert (await ended(made, "j")).status == "SUCCEEDED"
        return [update for _, update in made.told]


def test_a_download_tells_how_far_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "PROGRESS_EVERY_S", 0.05)
    with served(Link(rate=4e6)) as link:
        told = asyncio.run(progress(Store(tmp_path), link))
    percents = [one.status_details.percent for one in told if one.status_details.step == "download"]
    known = [percent for percent in percents if percent is not None]
    assert len(known) >= 2
    assert known == sorted(known)
    assert known[0] < 100
    assert told[-1].status == "SUCCEEDED"


def test_an_agent_killed_while_components_are_notified_begins_the_job_again(tmp_path: Path) -> None:
    store = Store(tmp_path)

    async def run() -> None:
        async with living(store) as made:
            made.jobs.handle(Offered("first", deployment(store, "1.0.0")))
            await ended(made, "first")
            made.drains_for_ever = True
            made.jobs.handle(Offered("cancelled", deployment(store, None)))
            await until_async(lambda: made.draining, "components are notified")
            made.jobs.handle(NothingOffered())
            assert (await ended(made, "cancelled")).status_details.reason == "cancelled by the controller"
            assert not made.draining, "they take work again"
            made.jobs.handle(Offered("second", deployment(store, None)))
            await until_async(lambda: made.draining, "components are notified")
        async with living(store) as again:
            assert again.running == {"A": "1.0.0"}
            again.jobs.handle(Offered("second", deployment(store, None)))
            assert (await ended(again, "second")).status == "SUCCEEDED"
            assert again.running == {}

    asyncio.run(run())


def test_a_record_that_cannot_be_saved_ends_nothing_but_its_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path)

    async def run() -> None:
        async with living(store) as made:
            made.jobs.handle(Offered("first", deployment(store, "1.0.0")))
            await ended(made, "first")

            def full(path: Path, content: bytes, *, mode: int) -> None:
                raise OSError(errno.ENOSPC, "No space left on device")

            with monkeypatch.context() as patch:
                patch.setattr(files, "write_atomic", full)
                made.jobs.handle(Offered("full", deployment(store, "2.0.0")))
                result = await ended(made, "full")
            assert result.status_details.detailed_status == "FAILED_NO_STATE_CHANGE"
            assert f"{tmp_path}/deployment.json: No space left on device" in str(result.status_details.reason)
            assert made.running == {"A": "1.0.0"}
            made.jobs.handle(Offered("again", deployment(store, "2.0.0")))
            assert (await ended(made, "again")).status == "SUCCEEDED"
            assert made.running == {"A": "2.0.0"}

    asyncio.run(run())


def test_what_a_component_changes_of_its_configuration_is_there_after_a_kill_and_a_deployment(tmp_path: Path) -> None:
    store = Store(tmp_path)

    async def run() -> None:
        async with living(store) as made:
            made.jobs.handle(Offered("first", deployment(store, "1.0.0", x=1), 10))
            await ended(made, "first")
            made.jobs.reconfigure("A", {"x": 1, "own": 2}, {"/own": 20})
            await until_async(lambda: made.configurations, "what runs hears of it")
            assert made.configurations == {"A": {"x": 1, "own": 2}}
        async with living(store) as again:
            assert again.jobs.components["A"].configuration == {"x": 1, "own": 2}
            again.jobs.handle(Offered("second", deployment(store, "1.0.0", x=3), 30))
            await ended(again, "second")
            component = again.jobs.components["A"]
            assert (component.configuration, component.times) == ({"x": 3, "own": 2}, {"/x": 30, "/own": 20})

    asyncio.run(run())


class Listening(Listeners):
    """Components that refuse the first configuration, and write down what they hear."""

    def __init__(self) -> None:
        self.heard: list[object] = []

    async def validate(
        self, deployment_id: str, configurations: Mapping[str, Configuration], timeout_s: float
    ) -> str | None:
        self.heard.append(("validate", configurations, timeout_s))
        return "x is too large" if configurations["A"]["x"] == 99 else None

    async def agree(self, job: str, deployment_id: str, timeout_s: float) -> None:
        self.heard.append(("agree", job, deployment_id, timeout_s))

    def ended(self, job: str) -> None:
        self.heard.append(("ended", job))

    def configured(self, before: Components, after: Components) -> None:
        self.heard.append(("configured", *(one["A"].configuration for one in (before, after) if "A" in one)))


def test_components_are_asked_before_a_merge_and_told_of_it_and_of_the_end(tmp_path: Path) -> None:
    store, listening = Store(tmp_path), Listening()

    async def run() -> None:
        async with living(store, listening) as made:
            made.jobs.handle(Offered("first", deployment(store, "1.0.0", x=1)))
            await ended(made, "first")
            listening.heard.clear()
            made.jobs.handle(Offered("refused", deployment(store, "1.0.0", x=99)))
            refused = (await ended(made, "refused")).status_details
            assert (refused.detailed_status, refused.reason) == ("FAILED_NO_STATE_CHANGE", "x is too large")
            assert listening.heard == [("validate", {"A": {"x": 99}}, 30), ("ended", "refused")]
            listening.heard.clear()
            made.jobs.handle(Offered("second", deployment(store, "1.0.0", x=2)))
            await ended(made, "second")
            assert listening.heard == [
                ("validate", {"A": {"x": 2}}, 30),
                ("agree", "second", "1.0.0", 60),
                ("configured", {"x": 1}, {"x": 2}),
                ("ended", "second"),
            ]

    asyncio.run(run())
