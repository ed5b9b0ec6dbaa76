"""What the API answers with and the command line reads: the status of a fabric, and what came of a command. Pure."""

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer, TypeAdapter, WithJsonSchema

from controller.nodes.view import DeploymentProgress
from hitless.component.states import ComponentState
from hitless.words import MemberStatus

UNKNOWN = "unknown"
"""The status of an instance that nobody could be asked about."""


def status_name(status: MemberStatus | None) -> str:
    """An instance's status as people and documents have it."""
    return UNKNOWN if status is None else status.name.lower()


_STATUSES = {status_name(status): status for status in (None, *MemberStatus)}


def _status(value: object) -> object:
    if not isinstance(value, str):
        return value
    if value not in _STATUSES:
        raise ValueError(f"expected one of {', '.join(_STATUSES)}")
    return _STATUSES[value]


NamedStatus = Annotated[
    MemberStatus | None,
    BeforeValidator(_status),
    PlainSerializer(status_name),
    WithJsonSchema({"type": "string", "enum": list(_STATUSES)}),
]
"""An instance's status, by its name in JSON."""


class Document(BaseModel):
    """Base of all answers. Unknown fields are ignored, so that a newer controller can be read."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)

    def encode(self) -> str:
        """Its JSON."""
        return self.model_dump_json()


class BrokerStatus(Document):
    """The controller's session with the MQTT broker."""

    address: str
    connected: bool
    error: str | None
    """Why it is not connected."""


class SwitchStatus(Document):
    """A switch, as the controller's session with it stands."""

    connected: bool
    target: str
    """P4Runtime address."""
    cookie: str | None
    """Of the pipeline it runs, hexadecimal."""
    error: str | None
    """Why it is not connected."""


class NodeStatus(Document):
    """A node, by its messages."""

    online: bool
    deployment: DeploymentProgress
    step: str | None = None
    """How far the node says it is with a deployment under way, such as "download 42 %"."""
    components: dict[str, ComponentState]
    details: dict[str, str] = {}
    """By component: what it waits for, what went wrong with it last, or why its instance is not ready."""
    excluded: bool = False
    """Whether the operator excludes it: it gets nothing, and its reports do not count."""


class InstanceStatus(Document):
    """An instance, by whoever steers it."""

    member: int
    status: NamedStatus
    """What its last report said of it; absent without one, unknown if nobody answers."""
    rank: int
    age_us: int | None
    """Since its last accepted report."""
    epoch: int
    sequence: int
    eligible: bool
    steered_packets: int
    """By all switches."""
    draining: bool
    """Whether the operator wants it to drain."""
    doubt: str | None = None
    """What it claims and what the switches see, where that does not fit together."""
    load: dict[str, int] = {}
    """By its last report: what each metric adds to its load, by its name in `score`, and `path_cost`."""
    backlog_us: int | None = None
    """By its last report: until new work would start; None without one."""


class EvidenceStatus(Document):
    """What speaks for another host of a service under `single`."""

    margin: int
    """By how much rank another must be better."""
    reports: float
    """Of the host, with another better by twice the margin; or as much by fewer that are clearer, or more that are
    less clear."""
    needed: int
    """So many make it move."""
    lasted_us: int
    """For how long there has been any."""
    start_within_us: int
    """A host with a longer backlog is left at once; 0: than its `stale_after_ms` and 16 of its service times."""


class ShareStatus(Document):
    """A service's share of the flow stores of the switches that steer it: of the one where it is fullest."""

    slots: int
    """Of one switch."""
    taken: float | None = None
    """The part of the slots that new flows looked at lately which live flows had; None if too few came to tell."""
    without_slot: float | None = None
    """The part of these new flows that found no slot, and go where others that hash alike go."""
    nearly_full: bool = False


class CalledAt(Document):
    """Where a service is called now."""

    service_id: int
    address: str
    port: int
    protocol: str
    """udp: the invocation protocol. tcp: HTTP/1.1."""


class ServiceStatus(Document):
    """A service and its instances."""

    policy: str
    """The fabric file's."""
    component: str = ""
    """The fabric file's."""
    version: str | None = None
    """Of the component, the newest one that the controller has; None where it has none."""
    host: str | None
    """The node that serves its new work; None while unknown, or where there is no single one."""
    held: bool
    """Whether the operator keeps it somewhere."""
    held_on: str | None
    held_for_s: float | None
    """For how many seconds more; None until it is released."""
    instances: dict[str, InstanceStatus]
    """By node."""
    evidence: EvidenceStatus | None = None
    """None under another policy than `single`."""
    called_at: CalledAt | None = None
    """None where no switch steers and no host is chosen yet."""
    share: ShareStatus | None = None
    """None where nothing of it stays together, and no switch steers it."""


class Status(Document):
    """Everything the controller knows of a fabric."""

    fabric: str
    mode: str
    """in-network or reconfiguration."""
    last_event: int
    """Number of the newest event."""
    warnings: tuple[str, ...] = ()
    """What will stop if nobody does anything, in words."""
    broker: BrokerStatus
    switches: dict[str, SwitchStatus]
    nodes: dict[str, NodeStatus]
    services: dict[str, ServiceStatus]


class CommandResult(Document):
    """What came of a command."""

    service: str | None
    """None: all of them."""
    message: str
    """For people."""


class MigrateResult(CommandResult):
    """A service is on its way to a node."""

    node: str
    held: bool
    """Whether it stays there until released."""


class ReleaseResult(CommandResult):
    """A service is let go of."""

    released: bool
    """False: nothing held it."""
    node: None = None


class DrainResult(CommandResult):
    """An instance takes no new work, or takes it again."""

    node: str
    draining: bool


class ExcludeResult(CommandResult):
    """A node gets nothing, or serves again."""

    service: None = None
    node: str
    excluded: bool
    released: list[str]
    """Services that were pinned to it, and are let go of."""


class RestartResult(Document):
    """A component was launched anew on nodes."""

    component: str
    nodes: list[str]
    """Those where the new launch is up, in the order in which it was done."""
    error: str | None
    """Why it ended before all of them were done; None if it did not."""
    message: str
    """For people."""


class UndeployResult(CommandResult):
    """A service that was deployed is no more."""

    component: str
    versions: list[str]
    """Of the component, those that the controller has forgotten."""


class RotateKeysResult(CommandResult):
    """Instances get new keys."""

    instances: list[tuple[str, str]]
    """(service, node) whose rotation has begun."""


class LogLine(Document):
    """A line that a component has printed."""

    kind: Literal["line"] = "line"
    node: str
    time: str
    """By the node's clock, in UTC, as ISO 8601 writes it; to the second where the line says none."""
    level: str
    """DEBUG, INFO, WARNING, ERROR or CRITICAL; INFO where the line says none."""
    text: str
    request_id: str | None = None
    """Of the request in hand, where the line says it."""


class LogGap(Document):
    """Lines of a component are missing here, or come no more for now."""

    kind: Literal["gap"] = "gap"
    node: str
    missed: int | None
    """How many; None where nobody knows."""
    what: str
    """Why, for people."""


LogEntry = LogLine | LogGap
LOG_ENTRY: TypeAdapter[LogEntry] = TypeAdapter(LogEntry)


class DeployStep(Document):
    """How far a deployment is on a node."""

    kind: Literal["step"] = "step"
    node: str
    state: Literal["waiting", "under way", "failed", "done", "serves", "offline"]
    """`done`: the component runs. `serves`: the switch has a report of it, too."""
    details: str | None
    """What the node says of it."""


class DeployResult(Document):
    """A component was deployed, or has not come up and was taken back."""

    kind: Literal["result"] = "result"
    component: str
    version: str
    services: list[str]
    """Those that it serves."""
    nodes: list[str]
    """Where it runs now."""
    changed: bool
    """False: the same was there already."""
    address: str | None
    """Where its first service is called."""
    keep: str | None
    """What is to stand in the fabric file to keep a service that was added; null where none was."""
    told: list[str]
    """What the component needs that this fabric does not have, or that only some nodes allow."""
    error: str | None
    """Why it does not run everywhere; null if it does."""
    log: list[LogLine]
    """The end of its log on the node where it failed."""
    message: str
    """For people."""


DeployEntry = DeployStep | DeployResult
DEPLOY_ENTRY: TypeAdapter[DeployEntry] = TypeAdapter(DeployEntry)
