"""Jobs as the controller hears of them, on a node whose components are made up: progress, kills, a full disk."""

import asyncio
import base64
import errno
import hashlib
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import pytest

from greengrass_agent import jobs
from greengrass_agent.components.runtime import NodeRuntime
from greengrass_agent.config import ArchiveSettings
from greengrass_agent.deployment.events import Changed, NothingOffered, Offered
from greengrass_agent.deployment.plan import Components, Plan
from greengrass_agent.deployment.store import Store
from greengrass_agent.jobs import Jobs
from hitless import files
from hitless.component.states import ComponentState
from hitless.mqtt.messages import ComponentDeployment, DeploymentDocument, JobUpdate, Message, RecipeSource
from tests.agent.test_transfer import DIGEST, Link, served
from tests.patience import until_async


class Made:
    """A node whose components run as soon as they are started."""

    def __init__(self, store: Store) -> None:
        self.told: list[tuple[str, JobUpdate]] = []
        self.running: dict[str, str] = {}
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


def deployment(store: Store, version: str | None, artifact: str | None = None) -> DeploymentDocument:
    """A component whose recipe is on the node already, and whose artefact is to be fetched; or none at all."""
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
        components={"A": ComponentDeployment(component_version=version)},
        recipes={"A": RecipeSource(uri="http://nowhere/", sha256=sha256)},
    )


@asynccontextmanager
async def living(store: Store) -> AsyncIterator[Made]:
    """A node, until its agent is killed: nothing is put in order."""
    made = Made(store)
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
