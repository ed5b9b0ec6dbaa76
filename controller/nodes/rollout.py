"""Which jobs bring the nodes from the deployments they have to those they should have. Pure: returns what to send.

A node says in its health which deployment it has. Equal deployments have equal ids, so a controller that starts again,
or reads an unchanged fabric file, has nothing to send.
"""

from dataclasses import dataclass, field

from controller.nodes.view import DeploymentProgress
from hitless.component.states import ComponentState
from hitless.mqtt.messages import DeploymentDocument, Health, JobExecution, JobUpdate, NextJob

REMEMBERED = 16
"""Superseded jobs of a node whose end is still awaited."""


@dataclass(frozen=True, slots=True)
class Job:
    """A job execution to send to a node."""

    node: str
    message: NextJob
    has: str | None
    """The deployment that the node has, or is at; None if that is not known."""
    again: bool
    """Whether it was sent before."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a job ended, for the event log."""

    node: str
    deployment: str
    status: str
    reason: str


@dataclass(slots=True)
class _Node:
    wanted: DeploymentDocument | None = None
    reported: str | None = None
    """The deployment that the node says it has carried out successfully."""
    health: Health | None = None
    online: bool = False
    offered: JobExecution | None = None
    """The job under way: sent, and not yet ended."""
    step: str | None = None
    """How far the node says it is with it."""
    superseded: dict[str, str] = field(default_factory=dict)
    """Jobs that another took the place of before the node told how they ended, with their deployments."""
    failed: str | None = None
    """The deployment that the node failed or refused; not offered again until another is wanted."""


@dataclass(slots=True)
class Rollout:
    """Deployments of all nodes."""

    term: int
    """Of this controller: makes job ids unique, since a node carries out each job id once."""
    _nodes: dict[str, _Node] = field(default_factory=dict)
    _jobs: int = 0

    def want(self, node: str, wanted: DeploymentDocument) -> Job | None:
        """Set what a node should have."""
        state = self._node(node)
        state.wanted = wanted
        return self._offer(node) if state.online else None

    def presence(self, node: str, online: bool) -> None:
        """A node has come or gone. One that comes says what it has and asks for its job; until then it has nothing."""
        state = self._node(node)
        state.online = online
        if not online:
            state.reported = None

    def remind(self, node: str) -> Job | None:
        """The job of a node that may have asked for it, or been sent it, while nobody of us listened."""
        return self._offer(node, again=True)

    def start_next(self, node: str) -> NextJob:
        """The answer to a node that asks for its job; the one under way once more if it has not ended."""
        self._node(node).online = True
        job = self._offer(node, again=True)
        return job.message if job else NextJob()

    def health(self, node: str, health: Health) -> Job | None:
        """A node tells what it runs; one that is not there has left its last word with the broker."""
        state = self._node(node)
        state.health = health
        information = health.deployment_information
        succeeded = information is not None and information.status == "SUCCEEDED"
        state.reported = information.deployment_id if information is not None and succeeded else None
        return self._offer(node) if state.online else None

    def update(self, node: str, job_id: str, update: JobUpdate) -> tuple[Outcome | None, Job | None]:
        """A node tells how a job goes: what ended, and what is to be done next. Duplicates return nothing."""
        state = self._node(node)
        offered = state.offered
        if update.status == "IN_PROGRESS":
            if offered is not None and offered.job_id == job_id:
                state.step = update.status_details.progress
            return None, None
        if (deployment := state.superseded.pop(job_id, None)) is not None:
            # How it ended is worth knowing; what the node should have is another by now.
            return Outcome(node, deployment, update.status, str(update.status_details)), None
        if offered is None or offered.job_id != job_id:
            return None, None
        state.offered = None
        deployment = offered.job_document.deployment_id
        if update.status == "SUCCEEDED":
            state.reported, state.failed = deployment, None
        else:
            state.failed = deployment
        return Outcome(node, deployment, update.status, str(update.status_details)), self._offer(node)

    def components(self, node: str) -> dict[str, ComponentState]:
        """Each component's state as the node last told."""
        health = self._node(node).health
        return {one.component_name: one.status for one in health.components} if health else {}

    def details(self, node: str) -> dict[str, str]:
        """What each component waits for or what has gone wrong with it, as the node last told."""
        health = self._node(node).health
        return (
            {one.component_name: one.status_details for one in health.components if one.status_details}
            if health
            else {}
        )

    def progress(self, node: str) -> DeploymentProgress:
        """How it stands with what the node should have."""
        state = self._node(node)
        wanted = state.wanted.deployment_id if state.wanted else None
        if state.offered is not None:
            return "under way"
        if wanted == state.failed:
            return "failed"
        return "done" if wanted == state.reported else "waiting"

    def step(self, node: str) -> str | None:
        """How far the node says it is with the job under way."""
        state = self._node(node)
        return state.step if state.offered is not None else None

    def _node(self, node: str) -> _Node:
        return self._nodes.setdefault(node, _Node())

    def _offer(self, node: str, *, again: bool = False) -> Job | None:
        """The job that a node needs now; None when it has what it should or has failed at it.

        A job under way is returned only `again`; it keeps its id, by which the node knows it.
        """
        state = self._node(node)
        wanted = state.wanted
        if wanted is None:
            return None
        has = state.offered.job_document.deployment_id if state.offered else state.reported
        if state.offered is not None and state.offered.job_document == wanted:
            return Job(node, NextJob(execution=state.offered), has, again=True) if again else None
        if state.offered is None and wanted.deployment_id in (state.reported, state.failed):
            return None
        self._jobs += 1
        job_id = f"{wanted.deployment_id}-{self.term}-{self._jobs}"
        if state.offered is not None:
            state.superseded[state.offered.job_id] = state.offered.job_document.deployment_id
            if len(state.superseded) > REMEMBERED:
                del state.superseded[next(iter(state.superseded))]
        state.step = None
        state.offered = JobExecution(job_id=job_id, status="QUEUED", job_document=wanted)
        return Job(node, NextJob(execution=state.offered), has, again=False)
