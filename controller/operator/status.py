"""Makes the status of a fabric of what the parts of the controller see. Pure."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from controller.fabric.schema import Fabric, Service
from controller.fabric.settings import settings
from controller.fabric.shares import shares
from controller.nodes.view import NodeView
from controller.operator import sentences
from controller.operator.documents import (
    BrokerStatus,
    CalledAt,
    EvidenceStatus,
    InstanceStatus,
    NodeStatus,
    ServiceStatus,
    ShareStatus,
    Status,
    SwitchStatus,
)
from controller.operator.overrides import Override
from controller.steering.doubts import Doubt
from controller.steering.interface import InstanceView, Observation
from controller.switches.view import SwitchState
from hitless.modes import RECONFIGURATION, Mode
from hitless.steering.policies import Single
from hitless.steering.rank import parts

UNSEEN = InstanceView(status=None, rank=0, age_us=None, epoch=0, sequence=0, eligible=False)
"""An instance that nobody could ask about."""
WAYS = 2
"""Of the flow store: a share has as many slots in each."""


@dataclass(frozen=True, slots=True)
class View:
    """What the status is made of."""

    fabric: Fabric
    mode: Mode
    switches: Mapping[str, SwitchState]
    broker_error: str | None
    """Why the broker is not connected; None if it is."""
    nodes: Mapping[str, NodeView]
    observed: Observation
    overrides: Mapping[str, Override]
    """The operator's pins, by service."""
    drains: Collection[tuple[str, str]]
    """(service, node)."""
    excluded: Collection[str]
    """Nodes."""
    doubts: Mapping[tuple[str, str], Doubt]
    """By (service, node)."""
    now: float
    """Monotonic time in seconds."""
    last_event: int
    """Number of the newest event."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """The newest version of each component that the controller has."""
    warnings: Sequence[str] = ()
    """What will stop if nobody does anything, in words."""


def status(view: View) -> Status:
    """The status document."""
    fabric = view.fabric
    steered: dict[tuple[str, str], int] = {}
    for state in view.switches.values():
        for key, count in state.counters.steered.items():
            steered[key] = steered.get(key, 0) + count.packets
    return Status(
        fabric=fabric.name,
        mode=view.mode,
        last_event=view.last_event,
        warnings=tuple(view.warnings),
        broker=BrokerStatus(
            address=f"{fabric.broker.host}:{fabric.broker.port}",
            connected=view.broker_error is None,
            error=view.broker_error,
        ),
        switches={name: _switch(state) for name, state in view.switches.items()},
        nodes={
            name: NodeStatus(
                online=node.online,
                deployment=node.deployment,
                step=node.step,
                components=dict(node.components),
                details=dict(node.details),
                excluded=name in view.excluded,
            )
            for name, node in view.nodes.items()
        },
        services={name: _service(view, name, service, steered) for name, service in fabric.services.items()},
    )


def _switch(state: SwitchState) -> SwitchStatus:
    return SwitchStatus(
        connected=state.connected,
        target=state.target,
        cookie=None if state.cookie is None else f"{state.cookie:016x}",
        error=state.error,
    )


def _service(view: View, name: str, service: Service, steered: Mapping[tuple[str, str], int]) -> ServiceStatus:
    override = view.overrides.get(name)
    until = override.until if override else None
    return ServiceStatus(
        policy=service.policy.name,
        component=service.component,
        version=view.versions.get(service.component),
        host=view.observed.hosts.get(name),
        held=override is not None,
        held_on=override.node if override else None,
        held_for_s=None if until is None else round(max(0.0, until - view.now), 3),
        instances={node: _instance(view, name, service, node, steered) for node in service.instances},
        called_at=_called_at(view, name, service),
        evidence=_evidence(view, name),
        share=_share(view, name, service),
    )


def _evidence(view: View, name: str) -> EvidenceStatus | None:
    policy = settings(view.fabric, name).policy
    host = view.observed.hosts.get(name)
    if not isinstance(policy, Single) or host is None:
        return None
    seen = view.observed.instances.get((name, host), UNSEEN)
    return EvidenceStatus(
        margin=policy.margin,
        reports=round(seen.evidence / policy.margin, 2) if policy.margin else policy.evidence,
        needed=policy.evidence,
        lasted_us=seen.lasted_us if seen.evidence else 0,
        start_within_us=policy.start_within,
    )


def _called_at(view: View, name: str, service: Service) -> CalledAt | None:
    address = service.address
    if view.mode == RECONFIGURATION:
        host = view.observed.hosts.get(name)
        if host is None:
            return None
        address = view.fabric.hosts[host].address
    return CalledAt(service_id=service.service_id, address=str(address), port=service.port, protocol=service.protocol)


def _share(view: View, name: str, service: Service) -> ShareStatus | None:
    gauges = [state.shares[name] for state in view.switches.values() if name in state.shares]
    if not gauges or not service.keeps_flows:
        return None
    slots = WAYS * shares(view.fabric)[name].slots
    uses = [gauge.use for gauge in gauges if gauge.use is not None]
    if not uses:
        return ShareStatus(slots=slots)
    fullest = max(uses, key=lambda use: use.taken)
    return ShareStatus(
        slots=slots, taken=fullest.taken, without_slot=fullest.without_slot, nearly_full=fullest.nearly_full
    )


def _instance(
    view: View, name: str, service: Service, node: str, steered: Mapping[tuple[str, str], int]
) -> InstanceStatus:
    seen = view.observed.instances.get((name, node), UNSEEN)
    path_cost = view.fabric.nodes[node].path_cost
    return InstanceStatus(
        member=service.instances[node].member,
        status=seen.status,
        rank=seen.rank,
        age_us=seen.age_us,
        epoch=seen.epoch,
        sequence=seen.sequence,
        eligible=seen.eligible,
        steered_packets=steered.get((name, node), 0),
        draining=(name, node) in view.drains,
        load={} if seen.report is None else parts(seen.report, service.score) | {"path_cost": path_cost},
        backlog_us=None if seen.report is None else seen.report.backlog,
        doubt=sentences.claims(doubt.evidence) if (doubt := view.doubts.get((name, node))) is not None else None,
    )
