"""Commands and events in words, as an operator reads them in answers and logs. Pure."""

from controller.observe.events import (
    CommandEvent,
    ComponentEvent,
    DeploymentEvent,
    DigestEvent,
    EndpointEvent,
    Event,
    PresenceEvent,
    SwitchEvent,
    WarningEvent,
)
from controller.operator.overrides import Override
from controller.switches.view import reason_name


def migrated(override: Override, before: str | None, pending: str | None) -> str:
    """What came of a migration. `before`: the host until now. `pending`: why it is not in effect yet."""
    kept = "until released" if override.until is None else f"for {override.dwell_s:g} s"
    return f"to {override.node}, kept there {kept} (host was {before or 'unknown'}){_pending(pending)}"


def released(pending: str | None, *, dwell_over: bool = False) -> str:
    """What came of letting go."""
    return f"{'dwell over, ' if dwell_over else ''}let go{_pending(pending)}"


def _pending(pending: str | None) -> str:
    return f", as soon as it is back: {pending}" if pending else ""


def not_held(service: str) -> str:
    """Nothing to let go of."""
    return f"{service} was not held"


def drained(service: str, *, undo: bool, broker_error: str | None, online: bool, pinned: bool) -> str:
    """What came of draining an instance. `online`: its node is. `pinned`: the service is pinned to it."""
    outcome = "takes new work again" if undo else "takes no new work"
    if broker_error is not None:
        outcome += f", as soon as the broker is back ({broker_error})"
    elif not online:
        outcome += ", as soon as the node is online"
    if not undo and pinned:
        outcome += f"; but it is pinned there, which comes first: hitless release {service}"
    return outcome


def drained_before(service: str, node: str, *, undo: bool) -> str:
    """Nothing to change."""
    return f"{service} on {node} {'does not drain' if undo else 'drains already'}"


def restarted(nodes: list[str], error: str | None) -> str:
    """What came of restarting a component: the nodes where it was done, and why not on more."""
    done = f"restarted on {', '.join(nodes)}" if nodes else "not restarted"
    return f"{done}; {error}" if error else done


def keys_rotated(begun: int, wanted: int) -> str:
    """What came of rotating keys: how many rotations have begun, of how many instances asked for."""
    outcome = f"new keys for {begun} instances"
    if begun < wanted:
        outcome += f"; {wanted - begun} still wait for their node or a switch"
    return outcome


def answer(outcome: str, service: str | None, node: str | None = None) -> str:
    """The message that answers a command."""
    target = service or "all services"
    return f"{f'{target} on {node}' if node else target}: {outcome}"


def sentence(event: Event) -> str:
    """An event in words, without its time."""
    return ": ".join(describe(event))


def describe(event: Event) -> tuple[str, str]:
    """Of what an event is, and what happened."""
    match event:
        case DigestEvent():
            return f"{event.service} on {event.switch}", _change(event)
        case EndpointEvent():
            endpoint = f"endpoint {event.term}.{event.version} is {event.address}:{event.port}"
            return event.service, f"{endpoint}: {_change(event)}"
        case DeploymentEvent():
            return f"deployment {event.deployment} on {event.node}", f"{event.status}: {event.reason}"
        case CommandEvent():
            target = f" {event.node}" if event.node else ""
            return f"{event.command} {event.service}{target}", event.outcome
        case SwitchEvent():
            what = f"connected at {event.target}" if event.connected else f"lost: {event.error}"
            return f"switch {event.switch}", what
        case PresenceEvent():
            return f"node {event.node}", "online" if event.online else "offline"
        case ComponentEvent():
            details = f": {event.details}" if event.details else ""
            return f"node {event.node}", f"{event.component} {event.version} {event.status}{details}"
        case WarningEvent():
            return "warning", event.what


def _change(event: DigestEvent | EndpointEvent) -> str:
    change = reason_name(event.reason)
    if event.from_node or event.to_node:
        change += f" {event.from_node or 'nobody'} -> {event.to_node or 'nobody'}"
        change += f" (rank {event.from_rank} -> {event.to_rank})"
    if event.node:
        change += f", by report {event.epoch}/{event.sequence} of {event.node}"
    return change
