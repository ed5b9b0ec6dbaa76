"""How a deployment goes, by the fabric's status: what each node is at, and when it has come to its end. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from controller.observe.events import DeploymentEvent, Event
from controller.operator.documents import DeployStep, Status
from hitless.component.states import ComponentState
from hitless.words import MemberStatus

OFFLINE_S = 8.0
"""A node that has not been there for so long is not waited for; it gets the deployment when it is back."""
SERVES_S = 30.0
"""How long a component that runs may take until the switch has a report of it."""


@dataclass(slots=True)
class Rolling:
    """One deployment to some nodes."""

    component: str
    services: Sequence[str]
    nodes: Sequence[str]
    steered: bool
    """Whether switches see the instances."""
    began: float
    """In seconds, as `look` is told the time."""
    _told: dict[str, DeployStep] = field(default_factory=dict)
    _seen: dict[str, float] = field(default_factory=dict)
    _ran: dict[str, float] = field(default_factory=dict)

    def look(self, status: Status, now: float) -> list[DeployStep]:
        """What is new, by the status at that time."""
        news = []
        for node in self.nodes:
            step = self._step(status, node, now)
            if self._told.get(node) != step:
                self._told[node] = step
                news.append(step)
        return news

    @property
    def ended(self) -> bool:
        """Whether nothing more is to be waited for."""
        states = [step.state for step in self._told.values()]
        if "failed" in states:
            return True
        last = {"done", "offline"} if not (self.steered and self.services) else {"serves", "offline"}
        return len(states) == len(self.nodes) and set(states) <= last

    @property
    def failed(self) -> list[str]:
        """The nodes where it does not come up."""
        return [node for node, step in self._told.items() if step.state == "failed"]

    @property
    def offline(self) -> list[str]:
        """The nodes that are not there."""
        return [node for node, step in self._told.items() if step.state == "offline"]

    def details(self, node: str) -> str | None:
        """What was told of a node last."""
        return self._told[node].details if node in self._told else None

    def _step(self, status: Status, node: str, now: float) -> DeployStep:
        seen = status.nodes[node]
        details = seen.details.get(self.component)
        if not seen.online:
            away = now - self._seen.get(node, self.began)
            return DeployStep(node=node, state="offline" if away >= OFFLINE_S else "waiting", details=None)
        self._seen[node] = now
        state = seen.components.get(self.component)
        if seen.deployment == "failed" or (seen.deployment == "done" and state is ComponentState.BROKEN):
            return DeployStep(node=node, state="failed", details=details)
        if seen.deployment != "done":
            return DeployStep(node=node, state=seen.deployment, details=seen.step)
        return self._serving(status, node, now)

    def _serving(self, status: Status, node: str, now: float) -> DeployStep:
        instances = [status.services[name].instances.get(node) for name in self.services]
        if not self.steered or not instances:
            return DeployStep(node=node, state="done", details=None)
        ready = (MemberStatus.READY, MemberStatus.DRAINING)
        if all(one is None or one.status in ready for one in instances):
            return DeployStep(node=node, state="serves", details=None)
        if now - self._ran.setdefault(node, now) >= SERVES_S:
            why = f"it runs, but no switch has had a report of it that is ready for {SERVES_S:g} s"
            return DeployStep(node=node, state="failed", details=why)
        return DeployStep(node=node, state="done", details=None)


def why(node: str, events: Iterable[Event]) -> str | None:
    """What a node said last of a deployment that it has not carried out."""
    reasons = [
        one.reason
        for one in events
        if isinstance(one, DeploymentEvent) and one.node == node and one.status != "SUCCEEDED"
    ]
    return reasons[-1] if reasons else None


def places(status: Status, services: Sequence[str]) -> str | None:
    """Where the first of the services is called."""
    called = status.services[services[0]].called_at if services else None
    return f"{called.address}:{called.port}" if called is not None else None


def changed_nodes(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """The nodes that another deployment is for, by the ids of their deployments."""
    return [node for node, deployment in after.items() if before.get(node) != deployment]
