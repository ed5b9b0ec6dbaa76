"""Deployments whose agent is killed, at any step: the job comes to the end that it would have come to anyway."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from hypothesis import given
from hypothesis import strategies as st

from greengrass_agent.deployment.events import (
    Applied,
    Apply,
    ArtifactsFetched,
    Commit,
    Committed,
    Connected,
    Effect,
    Ended,
    Event,
    Failed,
    FetchArtifacts,
    FetchRecipes,
    Keep,
    Notified,
    Notify,
    Offered,
    RecipesFetched,
    Tell,
)
from greengrass_agent.deployment.machine import Deployer
from greengrass_agent.deployment.record import Record, Result
from hitless.component.recipe import Recipe
from hitless.component.states import ComponentState
from hitless.mqtt.messages import DeploymentDocument

JOB = "j"
Versions = dict[str, str]


class Killed(Exception):
    pass


def recipe(name: str, version: str) -> Recipe:
    return Recipe.model_validate(
        {
            "RecipeFormatVersion": "2020-01-25",
            "ComponentName": name,
            "ComponentVersion": version,
            "Manifests": [{"Platform": {"os": "linux"}, "Lifecycle": {"run": "true"}}],
        }
    )


def document(versions: Versions, policy: str) -> DeploymentDocument:
    return DeploymentDocument.model_validate(
        {
            "deploymentId": str(versions),
            "components": {name: {"componentVersion": version} for name, version in versions.items()},
            "recipes": {
                name: {"uri": "http://x/r", "sha256": f"{int(version[0]):064x}"} for name, version in versions.items()
            },
            "deploymentPolicies": {"failureHandlingPolicy": policy},
        }
    )


@dataclass
class Node:
    """A node whose agent is killed after as many effects as `lives` says, life by life."""

    broken: set[tuple[str, str]]
    lives: Iterator[int]
    saves: bool = True
    disk: Record = field(default_factory=Record)
    running: Versions = field(default_factory=dict)
    told: dict[str, Result] = field(default_factory=dict)

    def carry_out(self, wanted: DeploymentDocument, job: str = JOB) -> None:
        while job not in self.told:
            try:
                self._live(Offered(job, wanted))
            except Killed:
                continue
            assert job in self.told, "the agent lives on, and the job has no result"

    def _live(self, offer: Offered) -> None:
        left = next(self.lives, 1 << 30)
        deployer = Deployer(self.disk)
        self.running = {name: one.version for name, one in deployer.current.items()}
        # Once it has merged, the job needs nobody to name it again.
        offers = [offer] if deployer.record.under_way is None else []
        events: deque[Event] = deque([Applied(0, self._states()), Connected(), *offers])
        while events:
            for effect in deployer.handle(events.popleft()):
                if left == 0:
                    raise Killed
                left -= 1
                events.extend(self._done(effect))

    def _states(self) -> dict[str, ComponentState]:
        return {
            name: ComponentState.BROKEN if (name, version) in self.broken else ComponentState.RUNNING
            for name, version in self.running.items()
        }

    def _done(self, effect: Effect) -> list[Event]:
        match effect:
            case FetchRecipes(job, wanted):
                return [
                    RecipesFetched(job, {n: recipe(n, one.component_version) for n, one in wanted.components.items()})
                ]
            case FetchArtifacts(job):
                return [ArtifactsFetched(job)]
            case Notify(job):
                return [Notified(job)]
            case Commit(job, record):
                if not self.saves:
                    return [Failed(job, "no space left")]
                self.disk = record
                return [Committed(job)]
            case Keep(record) if self.saves:
                self.disk = record
            case Apply(serial, _, target):
                self.running = {name: one.version for name, one in target.items()}
                return [Applied(serial, self._states())]
            case Tell(job, result) if result.status != "IN_PROGRESS":
                assert self.told.setdefault(job, result).detail == result.detail, "a job ends once"
            case Ended():
                pass
        return []


versions = st.dictionaries(st.sampled_from("ABC"), st.sampled_from(["1.0.0", "2.0.0"]), max_size=3)
flaws = st.sets(st.tuples(st.sampled_from("ABC"), st.sampled_from(["1.0.0", "2.0.0"])), max_size=2)
policies: st.SearchStrategy[Literal["ROLLBACK", "DO_NOTHING"]] = st.sampled_from(["ROLLBACK", "DO_NOTHING"])


@given(versions, versions, flaws, policies, st.lists(st.integers(0, 12), max_size=4))
def test_a_job_ends_as_it_would_have_without_the_kills(
    first: Versions, second: Versions, broken: set[tuple[str, str]], policy: str, lives: list[int]
) -> None:
    def node(lives: list[int]) -> Node:
        made = Node(set(), iter(()))
        made.carry_out(document(first, policy), "before")
        made.broken, made.lives = broken, iter(lives)
        made.carry_out(document(second, policy))
        return made

    undisturbed, killed = node([]), node(lives)
    assert killed.told[JOB].detail == undisturbed.told[JOB].detail
    assert killed.running == undisturbed.running
    assert killed.disk.components == undisturbed.disk.components
    assert killed.disk.under_way is None
    if undisturbed.told[JOB].detail == "FAILED_ROLLBACK_COMPLETE":
        assert killed.running == first
        assert killed.disk.deployment_id == document(first, policy).deployment_id


@given(versions, versions)
def test_with_a_full_disk_the_job_fails_nothing_changes_and_the_next_one_works(
    first: Versions, second: Versions
) -> None:
    node = Node(set(), iter(()))
    node.carry_out(document(first, "ROLLBACK"), "before")
    node.saves = False
    node.carry_out(document(second, "ROLLBACK"), "full")
    assert node.told["full"] == Result("FAILED", "FAILED_NO_STATE_CHANGE", "no space left")
    assert node.running == first
    node.saves = True
    node.carry_out(document(second, "ROLLBACK"), "again")
    assert node.told["again"].status == "SUCCEEDED"
    assert node.running == second
