"""A deployment from offer to result: Greengrass's phases as a state machine. Pure: it returns what is to be done.

validate, resolve, download, configure, notify, merge, track; see `Phase`. Up to the merge a deployment leaves no trace
and can be cancelled. A job that was carried out before is answered with its result and not carried out again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from greengrass_agent.deployment.plan import Components, Installed, Plan, ResolveError, configure, plan, resolve
from hitless.component.recipe import Recipe
from hitless.component.states import ComponentState
from hitless.mqtt.messages import DeploymentDocument, DetailedStatus, JobStatus, RecipeSource

SETTLED = frozenset({ComponentState.RUNNING, ComponentState.FINISHED})
"""The states in which a deployment counts as carried out."""
REMEMBERED = 16
"""Results kept for jobs that are offered again."""


class Phase(StrEnum):
    """Where a deployment stands."""

    IDLE = "idle"
    RESOLVE = "resolve"
    DOWNLOAD = "download"
    NOTIFY = "notify"
    TRACK = "track"
    ROLLBACK = "rollback"


@dataclass(frozen=True, slots=True)
class Result:
    """How a job went."""

    status: JobStatus
    detail: DetailedStatus | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Offered:
    """The controller names the node's next job."""

    job: str
    document: DeploymentDocument


@dataclass(frozen=True, slots=True)
class Unreadable:
    """The controller names a job whose document is none."""

    job: str
    reason: str


@dataclass(frozen=True, slots=True)
class NothingOffered:
    """The controller has no job for the node: one that is under way was cancelled."""


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
class Failed:
    """A step that was asked for cannot be done."""

    job: str
    reason: str


@dataclass(frozen=True, slots=True)
class Notified:
    """The components that will go have finished what they had, or their time was up."""

    job: str


@dataclass(frozen=True, slots=True)
class Changed:
    """A component is in another state."""

    component: str
    state: ComponentState
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Applied:
    """The steps of a plan have been taken: what had to go has gone, what had to start is starting."""

    serial: int


Event = (
    Offered | Unreadable | NothingOffered | RecipesFetched | ArtifactsFetched | Failed | Notified | Changed | Applied
)


@dataclass(frozen=True, slots=True)
class Tell:
    """Tell the controller how a job goes."""

    job: str
    result: Result


@dataclass(frozen=True, slots=True)
class FetchRecipes:
    """Download recipes; answer with RecipesFetched or Failed."""

    job: str
    sources: Mapping[str, RecipeSource]


@dataclass(frozen=True, slots=True)
class FetchArtifacts:
    """Download the artefacts of the components; answer with ArtifactsFetched or Failed."""

    job: str
    components: Components


@dataclass(frozen=True, slots=True)
class Notify:
    """Let components that will go finish their work; answer with Notified within `timeout_s`."""

    job: str
    components: tuple[str, ...]
    timeout_s: float


@dataclass(frozen=True, slots=True)
class Abandon:
    """Undo what the deployment has begun: downloads under way, components notified."""

    job: str


@dataclass(frozen=True, slots=True)
class Apply:
    """Record `target` as what runs on the node, then take the plan's steps.

    Answer with Applied once they have been taken, and tell each state of a component as Changed.
    """

    serial: int
    deployment_id: str
    plan: Plan
    target: Components


@dataclass(frozen=True, slots=True)
class Remember:
    """Keep the result, so that the job is not carried out again."""

    job: str
    result: Result


Effect = Tell | FetchRecipes | FetchArtifacts | Notify | Abandon | Apply | Remember


@dataclass(slots=True)
class Deployer:
    """The machine. One deployment at a time; one that is offered during the merge waits for its end."""

    current: Components = field(default_factory=dict)
    """The components that run on the node, by the last merge."""
    deployment_id: str = ""
    """The deployment that brought `current` about."""
    results: dict[str, Result] = field(default_factory=dict)
    """Results of jobs by job id, oldest first."""
    allow_privilege: bool = False
    """Whether the node's owner lets scripts run as root."""
    states: dict[str, ComponentState] = field(default_factory=dict)
    """The last state of each component."""
    phase: Phase = Phase.IDLE
    _job: Offered | None = None
    _waiting: Offered | None = None
    _recipes: Mapping[str, Recipe] = field(default_factory=dict)
    _target: Mapping[str, Installed] = field(default_factory=dict)
    _before: tuple[str, Components] = ("", {})
    _reason: str = ""
    _applies: int = 0
    _applied: int = 0

    def handle(self, event: Event) -> list[Effect]:
        """Take an event and say what is to be done, in order."""
        match event:
            case Offered():
                return self._offered(event)
            case Unreadable(job, reason):
                return self._unreadable(job, reason)
            case NothingOffered():
                self._waiting = None
                return self._cancel()
            case Changed(component, state, reason):
                self.states[component] = state
                return self._judge(f"{component}: {reason}" if reason else f"{component} is {state}")
            case Applied(serial):
                self._applied = max(self._applied, serial)
                return self._judge("")
        if self._job is None or event.job != self._job.job:
            return []
        match event:
            case Failed(_, reason) if self._before_merge():
                return self._finish(Result("FAILED", "FAILED_NO_STATE_CHANGE", reason), abandon=True)
            case RecipesFetched(_, recipes) if self.phase is Phase.RESOLVE:
                return self._resolved(self._job, recipes)
            case ArtifactsFetched() if self.phase is Phase.DOWNLOAD:
                return self._configured(self._job)
            case Notified() if self.phase is Phase.NOTIFY:
                return self._merge(self._job)
        return []

    def _before_merge(self) -> bool:
        return self.phase in (Phase.RESOLVE, Phase.DOWNLOAD, Phase.NOTIFY)

    def _offered(self, offer: Offered) -> list[Effect]:
        if offer.job in self.results:
            return [Tell(offer.job, self.results[offer.job])]
        if self._job is not None and offer.job == self._job.job:
            return []
        if self.phase in (Phase.TRACK, Phase.ROLLBACK):
            self._waiting = offer
            return []
        return [*self._cancel(), *self._begin(offer)]

    def _unreadable(self, job: str, reason: str) -> list[Effect]:
        if job in self.results:
            return [Tell(job, self.results[job])]
        return self._conclude(job, Result("REJECTED", "REJECTED", reason))

    def _cancel(self) -> list[Effect]:
        """Drop a deployment that has not merged: nobody waits for its result any more."""
        if self._job is None or not self._before_merge():
            return []
        job = self._job.job
        self._reset()
        return [Abandon(job)]

    def _begin(self, offer: Offered) -> list[Effect]:
        self._job, self.phase = offer, Phase.RESOLVE
        sources = {name: offer.document.recipes[name] for name in offer.document.components}
        return [Tell(offer.job, Result("IN_PROGRESS")), FetchRecipes(offer.job, sources)]

    def _resolved(self, offer: Offered, recipes: Mapping[str, Recipe]) -> list[Effect]:
        try:
            resolve(offer.document, recipes, self.allow_privilege)
            self._target = configure(offer.document, recipes, self.current)
        except ResolveError as error:
            return self._finish(Result("FAILED", "FAILED_NO_STATE_CHANGE", str(error)), abandon=True)
        self._recipes, self.phase = recipes, Phase.DOWNLOAD
        return [FetchArtifacts(offer.job, self._target)]

    def _configured(self, offer: Offered) -> list[Effect]:
        going = plan(self.current, self._target).remove
        policy = offer.document.deployment_policies.component_update_policy
        if not going or policy.action == "SKIP_NOTIFY_COMPONENTS":
            return self._merge(offer)
        self.phase = Phase.NOTIFY
        return [Notify(offer.job, going, policy.timeout_in_seconds)]

    def _merge(self, offer: Offered) -> list[Effect]:
        self._before = (self.deployment_id, self.current)
        self.phase = Phase.TRACK
        return self._apply(offer.document.deployment_id, self._target)

    def _apply(self, deployment_id: str, target: Components) -> list[Effect]:
        broken = [name for name, state in self.states.items() if state is ComponentState.BROKEN]
        steps = plan(self.current, target, broken)
        self.deployment_id, self.current = deployment_id, target
        # States from before the merge say nothing about what is started now.
        for name in steps.touched + steps.start:
            self.states.pop(name, None)
        self._applies += 1
        return [Apply(self._applies, deployment_id, steps, target)]

    def _judge(self, reason: str) -> list[Effect]:
        """See whether the components' states decide a deployment that has merged."""
        if self._job is None or self._before_merge():
            return []
        states = {name: self.states.get(name) for name in self.current}
        broken = sorted(name for name, state in states.items() if state is ComponentState.BROKEN)
        settled = self._applied == self._applies and all(state in SETTLED for state in states.values())
        if self.phase is Phase.TRACK and broken:
            return self._failed(self._job, reason or f"{', '.join(broken)} broken")
        if self.phase is Phase.TRACK and settled:
            return self._finish(Result("SUCCEEDED", "SUCCESSFUL"))
        if self.phase is Phase.ROLLBACK and broken:
            return self._finish(Result("FAILED", "FAILED_UNABLE_TO_ROLLBACK", f"{self._reason}; back again: {reason}"))
        if self.phase is Phase.ROLLBACK and settled:
            return self._finish(Result("FAILED", "FAILED_ROLLBACK_COMPLETE", self._reason))
        return []

    def _failed(self, offer: Offered, reason: str) -> list[Effect]:
        if offer.document.deployment_policies.failure_handling_policy == "DO_NOTHING":
            return self._finish(Result("FAILED", "FAILED_ROLLBACK_NOT_REQUESTED", reason))
        self.phase, self._reason = Phase.ROLLBACK, reason
        return self._apply(*self._before)

    def _finish(self, result: Result, *, abandon: bool = False) -> list[Effect]:
        assert self._job is not None
        job, waiting = self._job.job, self._waiting
        self._reset()
        effects: list[Effect] = [Abandon(job)] if abandon else []
        effects += self._conclude(job, result)
        if waiting is not None:
            effects += self._offered(waiting)
        return effects

    def _conclude(self, job: str, result: Result) -> list[Effect]:
        self.results[job] = result
        while len(self.results) > REMEMBERED:
            del self.results[next(iter(self.results))]
        return [Remember(job, result), Tell(job, result)]

    def _reset(self) -> None:
        self._job = self._waiting = None
        self._recipes, self._target = {}, {}
        self.phase = Phase.IDLE
