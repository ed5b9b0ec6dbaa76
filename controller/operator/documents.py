"""The status document: everything the controller knows of a fabric, as `hitless status --json` prints it. Pure."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from controller.fabric.file import Fabric, Service
from controller.operator.overrides import Override
from controller.switches.view import MemberState, SwitchState

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class NodeView:
    """A node as its messages tell."""

    online: bool
    components: Mapping[str, str]
    """Component -> state (RUNNING, ...)."""
    deployment: str
    """How it stands with what the node should have: see `Rollout.standing`."""


@dataclass(frozen=True, slots=True)
class InstanceView:
    """An instance as whoever steers it sees it: the switch by its probe, or the controller by MQTT metrics."""

    status: str
    rank: int
    age_us: int | None
    epoch: int
    sequence: int
    eligible: bool


UNSEEN = InstanceView(status="unknown", rank=0, age_us=None, epoch=0, sequence=0, eligible=False)
"""An instance that nobody could ask about."""


@dataclass(frozen=True, slots=True)
class View:
    """What the status document is made of."""

    fabric: Fabric
    mode: str
    switches: Mapping[str, SwitchState]
    broker_error: str | None
    """Why the broker is not connected; None if it is."""
    nodes: Mapping[str, NodeView]
    hosts: Mapping[str, str | None]
    """Service -> node."""
    instances: Mapping[tuple[str, str], InstanceView]
    """By (service, node)."""
    overrides: Mapping[str, Override]
    """The operator's pins, by service."""
    drains: Collection[tuple[str, str]]
    """(service, node)."""
    now: float
    """Monotonic time in seconds."""
    last_event: int
    """Number of the newest event."""


def of_member(member: MemberState) -> InstanceView:
    """A probe's answer."""
    return InstanceView(
        status=member.status.name.lower(),
        rank=member.rank,
        age_us=member.age_us,
        epoch=member.epoch,
        sequence=member.sequence,
        eligible=member.eligible,
    )


def document(view: View) -> Document:
    """The status document."""
    fabric = view.fabric
    steered: dict[tuple[str, str], int] = {}
    for state in view.switches.values():
        for key, count in state.counters.steered.items():
            steered[key] = steered.get(key, 0) + count.packets

    def instance(name: str, node: str, service: Service) -> Document:
        seen = view.instances.get((name, node), UNSEEN)
        return {
            "member": service.instances[node].member,
            "status": seen.status,
            "rank": seen.rank,
            "age_us": seen.age_us,
            "epoch": seen.epoch,
            "sequence": seen.sequence,
            "eligible": seen.eligible,
            "steered_packets": steered.get((name, node), 0),
            "draining": (name, node) in view.drains,
        }

    return {
        "fabric": fabric.name,
        "mode": view.mode,
        "last_event": view.last_event,
        "broker": {
            "address": f"{fabric.broker.host}:{fabric.broker.port}",
            "connected": view.broker_error is None,
            "error": view.broker_error,
        },
        "switches": {
            name: {
                "connected": state.connected,
                "target": state.target,
                "cookie": None if state.cookie is None else f"{state.cookie:016x}",
                "error": state.error,
            }
            for name, state in view.switches.items()
        },
        "nodes": {
            name: {"online": node.online, "deployment": node.deployment, "components": dict(node.components)}
            for name, node in view.nodes.items()
        },
        "services": {
            name: {
                "policy": policy_name(service),
                "host": view.hosts.get(name),
                **_override(view.overrides.get(name), view.now),
                "instances": {node: instance(name, node, service) for node in service.instances},
            }
            for name, service in fabric.services.items()
        },
    }


def _override(override: Override | None, now: float) -> Document:
    """Whether the operator holds a service somewhere, and for how many seconds more; None until it is released."""
    if override is None:
        return {"held": False, "held_on": None, "held_for_s": None}
    left = None if override.until is None else round(max(0.0, override.until - now), 3)
    return {"held": True, "held_on": override.node, "held_for_s": left}


def policy_name(service: Service) -> str:
    """The policy that the fabric file gives a service."""
    return service.policy.name
