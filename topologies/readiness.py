"""Whether a fabric is up, by its controller's status: what is still missing, and what will never come. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from controller.fabric.schema import Fabric
from controller.observe.events import DeploymentEvent, Event
from controller.operator.documents import Status
from hitless.component.states import ComponentState
from hitless.modes import IN_NETWORK, Mode
from hitless.words import MemberStatus


@dataclass(frozen=True, slots=True)
class GivenUp:
    """A node has given something up that it should bring up."""

    node: str
    component: str | None
    """None: the deployment as a whole."""
    reason: str

    def __str__(self) -> str:
        return f"{self.component or 'the deployment'} does not come up on {self.node}: {self.reason}"


def missing(fabric: Fabric, mode: Mode, status: Status) -> str:
    """The first thing that is not up yet, in words; empty if all is."""
    if mode == IN_NETWORK:
        for name in fabric.switches:
            if not status.switches[name].connected:
                return f"switch {name} to be programmed"
    for node in fabric.nodes:
        if not status.nodes[node].online:
            return f"the agent on {node}"
    for name, service in fabric.services.items():
        seen = status.services[name]
        for node in service.instances:
            state = status.nodes[node].components.get(service.component)
            if state != ComponentState.RUNNING:
                why = status.nodes[node].details.get(service.component)
                now = f"{state or 'not deployed'}{f': {why}' if why else ''}"
                return f"{service.component} on {node} to run (now {now})"
            if seen.instances[node].status is not MemberStatus.READY:
                return f"reports of {name} from {node}"
        if service.policy.one_host and not seen.host:
            return f"a first host of {name}"
    return ""


def troubled(status: Status) -> bool:
    """Whether a node has given anything up."""
    return any(
        node.deployment == "failed" or ComponentState.BROKEN in node.components.values()
        for node in status.nodes.values()
    )


def given_up(fabric: Fabric, status: Status, events: Callable[[], Iterable[Event]]) -> GivenUp | None:
    """What a node has given up to bring up; None if nothing. `events` so far say why a deployment failed."""
    for node, seen in status.nodes.items():
        for name, state in seen.components.items():
            if state == ComponentState.BROKEN:
                return GivenUp(node, name, seen.details.get(name, "no reason is known"))
        if seen.deployment == "failed":
            reasons = [one.reason for one in events() if isinstance(one, DeploymentEvent) and one.node == node]
            reason = reasons[-1] if reasons else "no reason is known"
            served = (one.component for one in fabric.services.values() if node in one.instances)
            return GivenUp(node, next((name for name in served if name in reason), None), reason)
    return None
