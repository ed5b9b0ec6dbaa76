"""Commands and events in words, as an operator reads them in answers and logs. Pure."""

from controller.observe.events import (
    ClaimEvent,
    CommandEvent,
    ComponentEvent,
    DeploymentEvent,
    DigestEvent,
    EndpointEvent,
    Event,
    PinEvent,
    PresenceEvent,
    ShareEvent,
    SwitchEvent,
    WarningEvent,
)
from controller.observe.findings import Finding
from controller.operator.overrides import Override
from controller.steering.claims import Evidence
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


def excluded(released: list[str], alone: list[str], pending: str | None) -> str:
    """What came of excluding a node. `alone`: services with no other node left."""
    outcome = f"gets nothing, and its reports do not count{_pending(pending)}"
    if released:
        outcome += f"; let go of {', '.join(released)}"
    if alone:
        outcome += f"; nobody else serves {', '.join(alone)}"
    return outcome


def included(pending: str | None) -> str:
    """What came of letting a node serve again."""
    return f"serves again{_pending(pending)}"


def excluded_before(node: str, *, undo: bool) -> str:
    """Nothing to change."""
    return f"{node} {'is not' if undo else 'is'} excluded{'' if undo else ' already'}"


def claims(evidence: Evidence) -> str:
    """What was found about an instance's claims."""
    if evidence.finding is Finding.UNANSWERED:
        told = f"sent {evidence.sent}, confirmed and answered none"
    else:
        told = (
            f"said it received {evidence.received} and did what it does not hold; "
            f"{evidence.answered} packets of answers seen, at least {evidence.missing} missing"
        )
    return f"{evidence.finding}: in {evidence.seconds:.1f} s {told}"


def keys_rotated(begun: int, wanted: int) -> str:
    """What came of rotating keys: how many rotations have begun, of how many instances asked for."""
    if not begun:
        return f"no new keys: all {wanted} instances still wait for their node or a switch since the last rotation"
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
        case ClaimEvent():
            return f"claims of {event.service} on {event.node}", _claim(event)
        case PinEvent():
            subject = f"pin of {event.service} to {event.node}"
            return subject, "it can serve" if event.reason is None else f"it cannot serve: {event.reason}"
        case DeploymentEvent():
            return f"deployment {event.deployment} on {event.node}", f"{event.status}: {event.reason}"
        case CommandEvent():
            target = f" {event.node}" if event.node else ""
            return f"{event.command} {event.service}{target}", event.outcome
        case SwitchEvent():
            what = f"connected at {event.target}" if event.connected else f"lost: {event.error}"
            return f"switch {event.switch}", what
        case ShareEvent():
            share = f"share of the flow store {'is nearly full' if event.nearly_full else 'has room again'}"
            return f"{event.service} on {event.switch}", f"{share}{_taken(event.taken)}"
        case PresenceEvent():
            return f"node {event.node}", "online" if event.online else "offline"
        case ComponentEvent():
            details = f": {event.details}" if event.details else ""
            return f"node {event.node}", f"{event.component} {event.version} {event.status}{details}"
        case WarningEvent():
            return "warning", event.what


def _claim(event: ClaimEvent) -> str:
    if event.finding is None:
        return "relied on again"
    evidence = Evidence(event.finding, event.seconds, event.sent, event.received, event.answered, event.missing)
    bound = "" if event.bounded_s is None else f"; a last resort for {event.bounded_s:g} s"
    return claims(evidence) + bound


def _taken(part: float | None) -> str:
    return "" if part is None else f": of the slots that new flows looked at, {part:.0%} were taken"


def _change(event: DigestEvent | EndpointEvent) -> str:
    change = reason_name(event.reason)
    if event.from_node or event.to_node:
        change += f" {event.from_node or 'nobody'} -> {event.to_node or 'nobody'}"
        change += f" (rank {event.from_rank} -> {event.to_rank})"
    if event.node:
        change += f", by report {event.epoch}/{event.sequence} of {event.node}"
    return change
