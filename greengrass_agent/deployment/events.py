"""What the deployment machine is told, and what it asks for. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from greengrass_agent.deployment.configuration import Configuration
from greengrass_agent.deployment.plan import Components, Plan
from greengrass_agent.deployment.record import Record, Result
from greengrass_agent.deployment.timestamps import Times
from hitless.component.recipe import Recipe
from hitless.component.states import ComponentState
from hitless.mqtt.messages import DeploymentDocument


@dataclass(frozen=True, slots=True)
class Offered:
    """The controller names the node's next job."""

    job: str
    document: DeploymentDocument
    at_ms: int = 0
    """When the node heard of it, in milliseconds since 1970."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """The controller names a job whose document is none."""

    job: str
    reason: str


@dataclass(frozen=True, slots=True)
class NothingOffered:
    """The controller has no job for the node: one that has not merged was cancelled."""


@dataclass(frozen=True, slots=True)
class Connected:
    """There is a new session with the broker: what was told before may have been lost."""


@dataclass(frozen=True, slots=True)
class Confirmed:
    """The controller has taken a job's result."""

    job: str


@dataclass(frozen=True, slots=True)
class RecipesFetched:
    """The recipes are on the node, with their digests checked."""

    job: str
    recipes: Mapping[str, Recipe]


@dataclass(frozen=True, slots=True)
class ArtifactsFetched:
    """The artefacts are on the node, with their digests checked."""

    job: str


@dataclass(frozen=True, slots=True)
class Validated:
    """The components take the configurations that they will get."""

    job: str


@dataclass(frozen=True, slots=True)
class Notified:
    """No component puts the update off, and those that will go have finished what they had, or their time was up."""

    job: str


@dataclass(frozen=True, slots=True)
class Configured:
    """A component has changed its own configuration, and that is on disk."""

    component: str
    configuration: Configuration
    times: Times


@dataclass(frozen=True, slots=True)
class Committed:
    """The record that the merge begins with is on disk."""

    job: str


@dataclass(frozen=True, slots=True)
class Failed:
    """A step that was asked for cannot be done."""

    job: str
    reason: str


@dataclass(frozen=True, slots=True)
class Changed:
    """A component is in another state."""

    component: str
    state: ComponentState
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Applied:
    """The steps of a plan have been taken: what had to go has gone, what may start is starting."""

    serial: int
    """Of the Apply; 0 when the agent has started what was in force."""
    states: Mapping[str, ComponentState]
    """Of the components that are what they should be, by name; what waits for others to run is left out."""


Event = (
    Offered
    | Unreadable
    | NothingOffered
    | Connected
    | Confirmed
    | RecipesFetched
    | ArtifactsFetched
    | Validated
    | Notified
    | Configured
    | Committed
    | Failed
    | Changed
    | Applied
)


@dataclass(frozen=True, slots=True)
class Tell:
    """Tell the controller how a job goes."""

    job: str
    result: Result


@dataclass(frozen=True, slots=True)
class FetchRecipes:
    """Download the recipes of a deployment; answer with RecipesFetched or Failed."""

    job: str
    document: DeploymentDocument


@dataclass(frozen=True, slots=True)
class FetchArtifacts:
    """Download the artefacts of the components; answer with ArtifactsFetched or Failed."""

    job: str
    components: Components


@dataclass(frozen=True, slots=True)
class Validate:
    """Ask components whether they take another configuration; answer with Validated or Failed."""

    job: str
    deployment_id: str
    configurations: Mapping[str, Configuration]
    """By component."""
    timeout_s: float


@dataclass(frozen=True, slots=True)
class Notify:
    """Tell the components of the update, which each may put off, and then let those that will go finish their work.

    Each of the two waits for `timeout_s` at most, unless a component asks for more. Answer with Notified.
    """

    job: str
    deployment_id: str
    leaving: tuple[str, ...]
    timeout_s: float


@dataclass(frozen=True, slots=True)
class Abandon:
    """Undo what the deployment has begun: downloads under way, components notified."""

    job: str


@dataclass(frozen=True, slots=True)
class Commit:
    """Put the record on disk; answer with Committed, or with Failed, and then nothing has changed."""

    job: str
    record: Record


@dataclass(frozen=True, slots=True)
class Keep:
    """Put the record on disk, if that can be done: without it a crash only has the same work done again."""

    record: Record


@dataclass(frozen=True, slots=True)
class Apply:
    """Take the plan's steps.

    Answer with Applied once they have been taken. Tell as Changed the state of every component that the plan names,
    also when it is what it was, and each later one.
    """

    serial: int
    plan: Plan
    target: Components


@dataclass(frozen=True, slots=True)
class Ended:
    """A job has come to its end: tell people, and remove what no component needs any more unless one is under way."""

    job: str
    result: Result


Effect = Tell | FetchRecipes | FetchArtifacts | Validate | Notify | Abandon | Commit | Keep | Apply | Ended
