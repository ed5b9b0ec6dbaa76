"""What the controller and the nodes say to each other over MQTT: presence, health, jobs and shadows."""

import logging
from collections.abc import Callable, Mapping

from controller.fabric.schema import Fabric
from controller.nodes.asked import Asked
from controller.nodes.rollout import Job, Rollout
from controller.nodes.shadows import Placement, Shadows
from controller.nodes.view import ClockUpdate, KeyUpdate, NodeUpdate, NodeView, PresenceUpdate
from controller.observe.events import ComponentEvent, DeploymentEvent, Event, PresenceEvent
from hitless.component.states import READY
from hitless.mqtt import topics
from hitless.mqtt.client import Publication
from hitless.mqtt.messages import (
    DeploymentDocument,
    Health,
    JobUpdate,
    JobUpdateAccepted,
    LogsAsked,
    LogsTold,
    Message,
    Presence,
    Restart,
    RestartEnded,
    ShadowDelta,
    ShadowState,
    ShadowUpdate,
    StartNext,
)
from hitless.mqtt.topics import Topic
from hitless.wire.report import Key as ReportKey

log = logging.getLogger(__name__)

SUBSCRIPTIONS = tuple(
    topic.filter()
    for topic in (
        # Retained both: what a node has must be known before it is seen to be there and to lack something.
        topics.HEALTH,
        topics.PRESENCE,
        topics.JOBS_START_NEXT,
        topics.JOB_UPDATE,
        topics.SHADOW_UPDATE,
        topics.RESTART_ENDED,
        topics.LOGS_TOLD,
    )
)

RESTART_S = 150.0
"""How long a restart may take: a launch that comes up does so within 120 s unless its recipe says otherwise."""
LOGS_S = 5.0
"""How long a node may take for a piece of a log."""


class NodeLink:
    """The link to the nodes of a fabric. Handlers are idempotent: every message may come twice."""

    def __init__(
        self,
        fabric: Fabric,
        term: int,
        record: Callable[[Event], object],
        publish: Callable[[Publication], bool],
    ) -> None:
        """`record` takes what happens into the event log."""
        self._fabric = fabric
        self._record = record
        self._publish = publish
        self._rollout = Rollout(term)
        self._shadows = Shadows(term)
        self._restarts: Asked[str | None] = Asked(RESTART_S, lambda reason: reason)
        self._logs: Asked[LogsTold] = Asked(LOGS_S, lambda reason: LogsTold(client_token="", cursor="", problem=reason))
        self._epochs: dict[str, int] = {}
        self._online: dict[str, bool] = {}
        self._handlers: tuple[tuple[Topic, type[Message], Callable[..., NodeUpdate | None]], ...] = (
            (topics.HEALTH, Health, self._health),
            (topics.JOBS_START_NEXT, StartNext, self._start_next),
            (topics.JOB_UPDATE, JobUpdate, self._job_update),
            (topics.SHADOW_UPDATE, ShadowUpdate, self._shadow),
            (topics.RESTART_ENDED, RestartEnded, self._restart_ended),
            (topics.LOGS_TOLD, LogsTold, self._logs_told),
        )

    def deploy(self, documents: Mapping[str, DeploymentDocument]) -> None:
        """Set what every node should have, and send the jobs that bring it there."""
        for node, document in documents.items():
            self._send_job(self._rollout.want(node, document))

    def assign_roles(self, states: Mapping[Placement, ShadowState], secrets: Mapping[Placement, ReportKey]) -> None:
        """Set every component's role, draining and key of reports, and tell those that change."""
        self._send_deltas(self._shadows.want(states, secrets))

    async def restart(self, node: str, component: str) -> str | None:
        """Have a node launch a component anew; returns None when the new launch is up, or why it is not."""
        token = self._restarts.begin(node)
        message = Restart(client_token=token).encode()
        if not self._publish(Publication(topics.RESTART.of(node=node, component=component), message)):
            self._restarts.unanswered(token, "the broker is not connected")
        return await self._restarts.answer(token)

    async def logs(self, node: str, component: str, asked: LogsAsked) -> LogsTold:
        """Ask a node for a piece of a component's log; where there is none, `problem` says why."""
        token = self._logs.begin(node)
        message = asked.model_copy(update={"client_token": token}).encode()
        if not self.online(node):
            self._logs.unanswered(token, "offline")
        elif not self._publish(Publication(topics.LOGS.of(node=node, component=component), message)):
            self._logs.unanswered(token, "the broker is not connected")
        return await self._logs.answer(token)

    def close(self) -> None:
        """Nothing is heard of the nodes any more: whoever waits for one is told so."""
        for node in self._fabric.nodes:
            for asked in (self._restarts, self._logs):
                asked.lost(node, "another deployment came meanwhile")

    def bus_connected(self) -> None:
        """Our session with the broker is new: who is there, the retained presences will tell."""
        self._online.clear()
        self._epochs.clear()

    def message(self, topic: str, payload: bytes, retained: bool) -> NodeUpdate | None:
        """Handle a message, unless it is of a node that the fabric does not have; returns what others must know.

        Raises MessageError.
        """
        if levels := topics.PRESENCE.match(topic):
            if levels["node"] in self._fabric.nodes:
                return self._presence(Presence.decode(payload), levels["node"], known=retained)
            return None
        levels = topics.SHADOW_UPDATE.match(topic)
        if levels is not None and not self._shadows.wants(**levels):
            return None  # a shadow that components on the node use among themselves and with others
        for family, kind, handle in self._handlers:
            levels = family.match(topic)
            if levels is not None:
                return handle(kind.decode(payload), **levels) if levels["node"] in self._fabric.nodes else None
        return None

    def view(self, node: str) -> NodeView:
        """What is known of a node."""
        rollout = self._rollout
        return NodeView(
            self.online(node),
            rollout.components(node),
            rollout.progress(node),
            rollout.step(node),
            rollout.details(node),
        )

    def online(self, node: str) -> bool:
        """Whether the node is connected to the broker, by its own word or its last will."""
        return self._online.get(node, False)

    def _presence(self, presence: Presence, node: str, *, known: bool) -> NodeUpdate | None:
        """`known`: it came before our session did, so the node will not ask for its job by itself."""
        if not presence.online and presence.epoch < self._epochs.get(node, 0):
            return None  # the last will of a connection that the node has replaced since
        self._epochs[node] = presence.epoch
        if not presence.online:
            self._restarts.lost(node)
            self._logs.lost(node)
        if self._online.get(node) != presence.online:
            self._online[node] = presence.online
            self._record(PresenceEvent(node=node, online=presence.online, epoch=presence.epoch))
        self._rollout.presence(node, presence.online)
        if presence.online and known:
            self._send_job(self._rollout.remind(node))
        if presence.online:
            self._send_deltas(self._shadows.present(node))
        return PresenceUpdate(node, presence.online)

    def _health(self, health: Health, node: str) -> NodeUpdate:
        before, told = self._rollout.components(node), self._rollout.details(node)
        self._send_job(self._rollout.health(node, health))
        for one in health.components:
            # What runs may get into trouble, and out of it, without another state.
            news = one.status in READY and told.get(one.component_name) != one.status_details
            if before.get(one.component_name) != one.status or news:
                self._record(
                    ComponentEvent(
                        node=node,
                        component=one.component_name,
                        version=one.version,
                        status=one.status,
                        details=one.status_details,
                    )
                )
        expires = health.certificate_expires
        return ClockUpdate(node, health.timestamp / 1000, expires / 1000 if expires is not None else None)

    def _start_next(self, _: StartNext, node: str) -> None:
        answer = self._rollout.start_next(node)
        if answer.execution is not None:
            log.info("job %s sent to %s, which asked", answer.execution.job_id, node)
        self._publish(Publication(topics.JOBS_START_NEXT_ACCEPTED.of(node=node), answer.encode()))

    def _job_update(self, update: JobUpdate, node: str, job: str) -> None:
        outcome, following = self._rollout.update(node, job, update)
        accepted = JobUpdateAccepted(client_token=update.client_token)
        self._publish(Publication(topics.JOB_UPDATE_ACCEPTED.of(node=node, job=job), accepted.encode()))
        if outcome is not None:
            self._record(
                DeploymentEvent(node=node, deployment=outcome.deployment, status=outcome.status, reason=outcome.reason)
            )
        self._send_job(following)

    def _shadow(self, update: ShadowUpdate, node: str, component: str) -> NodeUpdate:
        delta = self._shadows.reported(node, component, update.state.reported)
        if delta is not None:
            self._send_deltas({(node, component): delta})
        return KeyUpdate(node, component, update.state.reported.report_key_id)

    def _restart_ended(self, ended: RestartEnded, node: str, component: str) -> None:
        log.info("restart of %s on %s: %s", component, node, ended.reason or "done")
        self._restarts.answered(ended.client_token, ended.reason)

    def _logs_told(self, told: LogsTold, node: str, component: str) -> None:
        self._logs.answered(told.client_token, told)

    def _send_job(self, job: Job | None) -> None:
        if job is None or job.message.execution is None:
            return
        if self._publish(Publication(topics.JOBS_NOTIFY_NEXT.of(node=job.node), job.message.encode())):
            sent = "sent again" if job.again else "sent"
            log.info(
                "job %s %s to %s, which has %s",
                job.message.execution.job_id,
                sent,
                job.node,
                job.has or "nothing known",
            )

    def _send_deltas(self, deltas: Mapping[Placement, ShadowDelta]) -> None:
        for (node, component), delta in deltas.items():
            topic = topics.SHADOW_UPDATE_DELTA.of(node=node, component=component)
            if self._publish(Publication(topic, delta.encode())):
                role = delta.state.role or "no role"
                log.info("told %s on %s: %s%s", component, node, role, ", drain" if delta.state.draining else "")
