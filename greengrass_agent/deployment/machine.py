"""A deployment from offer to result: Greengrass's phases as a state machine. Pure: it returns what is to be done.

validate, resolve, download, configure, notify, merge, track; see `Phase`. Up to the merge a deployment leaves no trace
and can be cancelled. The merge begins with a record on disk, from which a new machine goes on after a crash. Every job
gets a result, also one that another takes the place of; a job that was carried out before is answered with its result
and not carried out again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from greengrass_agent.deployment.events import (
    Abandon,
    Applied,
    Apply,
    ArtifactsFetched,
    Changed,
    Commit,
    Committed,
    Configured,
    Confirmed,
    Connected,
    Effect,
    Ended,
    Event,
    Failed,
    FetchArtifacts,
    FetchRecipes,
    Keep,
    NothingOffered,
    Notified,
    Notify,
    Offered,
    RecipesFetched,
    Tell,
    Unreadable,
    Validate,
    Validated,
)
from greengrass_agent.deployment.plan import Components, Plan, ResolveError, configure, plan, resolve
from greengrass_agent.deployment.record import Record, Result, UnderWay
from hitless.component.recipe import Recipe
from hitless.component.states import READY, ComponentState
from hitless.mqtt.messages import DeploymentInformation, JobStatusDetails

REMEMBERED = 16
"""Results kept for jobs that are offered again."""


class Phase(StrEnum):
    """Where a deployment stands."""

    IDLE = "idle"
    RESOLVE = "resolve"
    DOWNLOAD = "download"
    CONFIGURE = "configure"
    NOTIFY = "notify"
    MERGE = "merge"
    TRACK = "track"
    ROLLBACK = "rollback"


_CANCELLABLE = frozenset({Phase.RESOLVE, Phase.DOWNLOAD, Phase.CONFIGURE, Phase.NOTIFY})


@dataclass(slots=True)
class Deployer:
    """The machine. One deployment at a time; one that is offered from the merge on waits for its end."""

    record: Record = field(default_factory=Record)
    """What a new machine must be given to go on where this one stands."""
    allow_privilege: bool = False
    """Whether the node's owner lets scripts run as root."""
    allow_users: tuple[str, ...] = ()
    """Users that the node's owner lets components run as where a deployment says so."""
    states: dict[str, ComponentState] = field(default_factory=dict)
    """The last state of each component."""
    phase: Phase = Phase.IDLE
    _job: Offered | None = None
    """The job under way, until its merge."""
    _waiting: Offered | None = None
    _recipes: Mapping[str, Recipe] = field(default_factory=dict)
    """Of the job under way."""
    _merged: Record | None = None
    """What the record will be once it is on disk."""
    _applies: int = 0
    _said: dict[str, str] = field(default_factory=dict, repr=False)
    """The last word on each component, for people."""
    _applied: int = 0

    def __post_init__(self) -> None:
        if self.record.under_way is not None:
            self.phase = Phase.TRACK if self.record.under_way.reason is None else Phase.ROLLBACK
            self._applied = -1

    @property
    def current(self) -> Components:
        """The components that are in force, by the last merge or rollback."""
        return self.record.components

    @property
    def job(self) -> str | None:
        """The job under way."""
        if self.record.under_way is not None:
            return self.record.under_way.job
        return self._job.job if self._job is not None else None

    def handle(self, event: Event) -> list[Effect]:
        """Take an event and say what is to be done, in order."""
        match event:
            case Offered():
                return self._offered(event)
            case Unreadable(job, reason):
                return self._unreadable(job, reason)
            case NothingOffered():
                return self._drop("cancelled by the controller")
            case Connected():
                return self._told_anew()
            case Confirmed(job):
                self.record = replace(self.record, untold=tuple(one for one in self.record.untold if one != job))
                return []
            case Configured(component, configuration, times):
                self.record = self.record.configured(component, configuration, times)
                if self._merged is not None:
                    self._merged = self._merged.configured(component, configuration, times)
                return []
            case Changed(component, state, reason):
                self.states[component] = state
                self._said[component] = f"{component}: {reason}" if reason else f"{component} is {state}"
                return self._judge()
            case Applied(serial, states):
                self._applied = max(self._applied, serial)
                if self._applied == self._applies:
                    # What was told before may be of what the plan has replaced.
                    self.states = dict(states)
                return self._judge()
        if self._job is None or event.job != self._job.job:
            return []
        match event:
            case Failed(_, reason):
                return self._not_merged(self._job, reason)
            case RecipesFetched(_, recipes) if self.phase is Phase.RESOLVE:
                return self._resolved(self._job, recipes)
            case ArtifactsFetched() if self.phase is Phase.DOWNLOAD:
                return self._fetched(self._job)
            case Validated() if self.phase is Phase.CONFIGURE:
                return self._validated(self._job)
            case Notified() if self.phase is Phase.NOTIFY:
                return self._merge(self._job)
            case Committed() if self.phase is Phase.MERGE:
                return self._committed()
        return []

    def _offered(self, offer: Offered) -> list[Effect]:
        if offer.job in self.record.results:
            return [Tell(offer.job, self.record.results[offer.job])]
        if offer.job == self.job or (self._waiting is not None and offer.job == self._waiting.job):
            return []
        effects = self._drop(f"job {offer.job} came before its merge and takes its place")
        if self.phase is not Phase.IDLE:
            self._waiting = offer
            return effects
        return [*effects, *self._begin(offer)]

    def _unreadable(self, job: str, reason: str) -> list[Effect]:
        if job in self.record.results:
            return [Tell(job, self.record.results[job])]
        return self._conclude(job, Result("REJECTED", "REJECTED", reason), deployment_id=job)

    def _drop(self, reason: str) -> list[Effect]:
        """End with this reason what has not merged: the job that waits, and the one under way."""
        result = Result("REJECTED", "REJECTED", reason)
        effects: list[Effect] = []
        if self._waiting is not None:
            waiting, self._waiting = self._waiting, None
            effects += self._conclude(waiting.job, result)
        if self._job is not None and self.phase in _CANCELLABLE:
            job = self._job.job
            self._reset()
            effects += [Abandon(job), *self._conclude(job, result)]
        return effects

    def _told_anew(self) -> list[Effect]:
        results: list[Effect] = [Tell(job, self.record.results[job]) for job in self.record.untold]
        return results + ([Tell(self.job, Result("IN_PROGRESS"))] if self.job is not None else [])

    def _begin(self, offer: Offered) -> list[Effect]:
        self._job, self.phase = offer, Phase.RESOLVE
        return [Tell(offer.job, Result("IN_PROGRESS")), FetchRecipes(offer.job, offer.document)]

    def _resolved(self, offer: Offered, recipes: Mapping[str, Recipe]) -> list[Effect]:
        try:
            resolve(offer.document, recipes, self.allow_privilege, self.allow_users)
            target = configure(offer.document, recipes, self.current)
        except ResolveError as error:
            return self._not_merged(offer, str(error))
        self.phase, self._recipes = Phase.DOWNLOAD, recipes
        return [FetchArtifacts(offer.job, target)]

    def _fetched(self, offer: Offered) -> list[Effect]:
        try:
            target = self._target(offer)
        except ResolveError as error:
            return self._not_merged(offer, str(error))
        # A component that is replaced takes its configuration anew, and the one that runs cannot speak for it.
        reconfigured = {
            name: one.configuration
            for name, one in target.items()
            if (own := self.current.get(name)) is not None
            and (own.digest, own.user) == (one.digest, one.user)
            and own.configuration != one.configuration
        }
        if not reconfigured:
            return self._validated(offer)
        self.phase = Phase.CONFIGURE
        policies, deployment_id = offer.document.deployment_policies, offer.document.deployment_id
        timeout_s = policies.configuration_validation_policy.timeout_in_seconds
        return [Validate(offer.job, deployment_id, reconfigured, timeout_s)]

    def _validated(self, offer: Offered) -> list[Effect]:
        try:
            steps = plan(self.current, self._target(offer))
        except ResolveError as error:
            return self._not_merged(offer, str(error))
        policy = offer.document.deployment_policies.component_update_policy
        if steps == Plan() or policy.action == "SKIP_NOTIFY_COMPONENTS":
            return self._merge(offer)
        self.phase = Phase.NOTIFY
        return [Notify(offer.job, offer.document.deployment_id, steps.remove, policy.timeout_in_seconds)]

    def _target(self, offer: Offered) -> Components:
        """What the job makes of the configurations that are in force now. Raises ResolveError."""
        return configure(offer.document, self._recipes, self.current, offer.at_ms)

    def _merge(self, offer: Offered) -> list[Effect]:
        document = offer.document
        try:
            target = self._target(offer)
        except ResolveError as error:
            return self._not_merged(offer, str(error))
        way = UnderWay(
            job=offer.job,
            deployment_id=document.deployment_id,
            before_id=self.record.deployment_id,
            before=self.current,
            names=tuple(sorted({*self.current, *target})),
            roll_back=document.deployment_policies.failure_handling_policy == "ROLLBACK",
        )
        self.phase = Phase.MERGE
        self._merged = replace(self.record, deployment_id=document.deployment_id, components=target, under_way=way)
        return [Commit(offer.job, self._merged)]

    def _committed(self) -> list[Effect]:
        assert self._merged is not None
        before, self.record, self.phase = self.current, self._merged, Phase.TRACK
        self._job, self._merged = None, None
        return [self._apply(before)]

    def _not_merged(self, offer: Offered, reason: str) -> list[Effect]:
        result = Result("FAILED", "FAILED_NO_STATE_CHANGE", reason)
        waiting = self._reset()
        ended = self._conclude(offer.job, result, deployment_id=offer.document.deployment_id)
        return [Abandon(offer.job), *ended, *self._next(waiting)]

    def _apply(self, before: Components) -> Apply:
        broken = [name for name, state in self.states.items() if state is ComponentState.BROKEN]
        steps = plan(before, self.current, broken)
        # States from before the merge say nothing about what becomes of them now.
        for name in steps.remove + steps.changed:
            self.states.pop(name, None)
        self._applies += 1
        return Apply(self._applies, steps, self.current)

    def _judge(self) -> list[Effect]:
        """See whether the components' states decide a deployment that has merged, once its steps have been taken."""
        way = self.record.under_way
        if way is None or self._applied != self._applies:
            return []
        states = {name: self.states.get(name) for name in self.current}
        broken = sorted(name for name, state in states.items() if state is ComponentState.BROKEN)
        if broken:
            return self._failed(way, self._said.get(broken[0], f"{broken[0]} is BROKEN"))
        if not all(state in READY for state in states.values()):
            return []
        if way.reason is None:
            return self._finish(way, Result("SUCCEEDED", "SUCCESSFUL"))
        return self._finish(way, Result("FAILED", "FAILED_ROLLBACK_COMPLETE", way.reason))

    def _failed(self, way: UnderWay, reason: str) -> list[Effect]:
        if way.reason is not None:
            reason = f"{way.reason}; back again: {reason}"
            return self._finish(way, Result("FAILED", "FAILED_UNABLE_TO_ROLLBACK", reason))
        if not way.roll_back:
            return self._finish(way, Result("FAILED", "FAILED_ROLLBACK_NOT_REQUESTED", reason))
        target, self.phase = self.current, Phase.ROLLBACK
        self.record = replace(
            self.record,
            deployment_id=way.before_id,
            components=way.before,
            under_way=replace(way, reason=reason),
        )
        return [Keep(self.record), self._apply(target)]

    def _finish(self, way: UnderWay, result: Result) -> list[Effect]:
        self.record = replace(self.record, under_way=None)
        waiting = self._reset()
        return [*self._conclude(way.job, result, deployment_id=way.deployment_id), *self._next(waiting)]

    def _next(self, waiting: Offered | None) -> list[Effect]:
        return self._offered(waiting) if waiting is not None else []

    def _conclude(self, job: str, result: Result, *, deployment_id: str | None = None) -> list[Effect]:
        """`deployment_id` None: the node's health goes on telling of the deployment before."""
        results = dict([*self.record.results.items(), (job, result)][-REMEMBERED:])
        untold = tuple(one for one in (*self.record.untold, job) if one in results)
        self.record = replace(self.record, results=results, untold=untold)
        if deployment_id is not None:
            information = DeploymentInformation(
                deployment_id=deployment_id,
                status=result.status,
                status_details=JobStatusDetails(detailed_status=result.detail, reason=result.reason),
            )
            self.record = replace(self.record, information=information)
        return [Keep(self.record), Ended(job, result), Tell(job, result)]

    def _reset(self) -> Offered | None:
        """Have nothing under way; returns the job that waited."""
        waiting, self._waiting = self._waiting, None
        self._job, self._merged, self._recipes = None, None, {}
        self.phase = Phase.IDLE
        return waiting
