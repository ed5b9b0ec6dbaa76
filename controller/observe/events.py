"""What can happen, by kind, and its JSON form. Pure.

Each line of the event log, of /v1/events and of `hitless events --json` is one event: a JSON object with `seq`,
`time_ns`, `kind` and the fields of its kind.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    PlainSerializer,
    Tag,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
)

from controller.observe.findings import Finding
from controller.switches.view import UNHEARD, reason_name
from hitless.component.states import ComponentState
from hitless.faults import faults
from hitless.steering.outcome import EVICTIONS, MOVES
from hitless.words import Reason


class EventError(ValueError):
    """A text that is no event; the message names what was expected."""


DIGEST_REASONS = {reason.name: reason for reason in sorted(MOVES | EVICTIONS)}
"""The reasons that a digest can have."""


def _reason(value: object) -> object:
    if not isinstance(value, str):
        return value
    if value == UNHEARD:
        return None
    if value not in DIGEST_REASONS:
        raise ValueError(f"expected one of {', '.join((UNHEARD, *DIGEST_REASONS))}")
    return DIGEST_REASONS[value]


NamedReason = Annotated[
    Reason | None,
    BeforeValidator(_reason),
    PlainSerializer(reason_name),
    WithJsonSchema({"type": "string", "enum": [UNHEARD, *DIGEST_REASONS]}),
]
"""A reason, by its name in JSON."""


class _Event(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True, use_attribute_docstrings=True)

    seq: int = 0
    """Its number in the log, from 1; 0 until it is recorded."""
    time_ns: int = 0
    """When it happened, by the machine's monotonic clock; 0 until it is recorded, which then is when it happened."""
    kind: str

    def recorded(self, seq: int, now_ns: int, what: str) -> Self:
        """The event as the log has it. `what` says what happened, for people."""
        return self.model_copy(update={"seq": seq, "time_ns": self.time_ns or now_ns})

    def encode(self) -> str:
        """Its JSON, in one line."""
        return self.model_dump_json(by_alias=True)


class _WithWords(_Event):
    """An event whose JSON says in words what its fields say."""

    what: str = ""
    """What happened, for people; empty until it is recorded."""

    def recorded(self, seq: int, now_ns: int, what: str) -> Self:
        """The event as the log has it."""
        return super().recorded(seq, now_ns, what).model_copy(update={"what": what})


class _Change(_Event):
    """Where a service's new work goes has changed, or an instance was taken out."""

    service: str
    reason: NamedReason
    """None: no digest told of it; a probe found another host than the last digest."""
    from_node: str | None = Field(validation_alias="from", serialization_alias="from")
    to_node: str | None = Field(validation_alias="to", serialization_alias="to")
    from_rank: int
    to_rank: int
    node: str | None
    """Whose report decided; None when a packet, or the absence of reports, did."""
    epoch: int
    sequence: int


class DigestEvent(_Change):
    """A switch tells of a change; `time_ns` is when the controller heard it."""

    kind: Literal["digest"] = "digest"
    switch: str
    switch_time_us: int
    """The switch's own clock; compare only within one switch."""


class EndpointEvent(_Change):
    """The controller has decided a change and published the endpoint."""

    kind: Literal["endpoint"] = "endpoint"
    term: int
    version: int
    address: str
    port: int


class ClaimEvent(_WithWords):
    """What an instance claims is not what the switches see, or it is relied on again. Numbers are of `seconds`."""

    kind: Literal["claim"] = "claim"
    service: str
    node: str
    finding: Finding | None
    """None: it is relied on again."""
    seconds: float = 0.0
    sent: int = 0
    """Pieces of new work, by the switches."""
    received: int = 0
    """Pieces of new work, by its own words."""
    answered: int = 0
    """Packets of answers, by the switch of its node."""
    missing: int = 0
    """Answers, at least."""
    bounded_s: float | None = None
    """For how long it is a last resort; None: it is only told."""


class PinEvent(_WithWords):
    """An instance that the operator wants as the host cannot serve, or can again."""

    kind: Literal["pin"] = "pin"
    service: str
    node: str
    reason: str | None
    """Why it cannot; None: it can."""


class DeploymentEvent(_Event):
    """A node has ended a job."""

    kind: Literal["deployment"] = "deployment"
    node: str
    deployment: str
    status: str
    """SUCCEEDED, FAILED or REJECTED."""
    reason: str
    """By the node."""


class CommandEvent(_Event):
    """The operator asked for something, or a migration was over."""

    kind: Literal["command"] = "command"
    command: str
    service: str
    """`all` for every one."""
    node: str | None
    outcome: str
    """What came of it, for people."""


class SwitchEvent(_WithWords):
    """A switch was connected and provisioned, or lost."""

    kind: Literal["switch"] = "switch"
    switch: str
    connected: bool
    target: str
    """Its P4Runtime address."""
    error: str | None
    """Why it was lost."""


class ShareEvent(_WithWords):
    """A service's share of a switch's flow store is nearly full, or has room again."""

    kind: Literal["share"] = "share"
    switch: str
    service: str
    nearly_full: bool
    taken: float | None
    """The part of the slots that new flows looked at lately which live flows had; None if too few came to tell."""


class PresenceEvent(_WithWords):
    """A node has come to the broker or gone from it."""

    kind: Literal["node"] = "node"
    node: str
    online: bool
    epoch: int
    """The node's start counter."""


class ComponentEvent(_WithWords):
    """A component on a node has come to another state."""

    kind: Literal["node"] = "node"
    node: str
    component: str
    version: str
    status: ComponentState
    """As the node tells it."""
    details: str | None
    """What went wrong, by the node."""


class WarningEvent(_Event):
    """Something will stop if nobody does anything: a certificate nears its end, or a clock is wrong."""

    kind: Literal["warning"] = "warning"
    what: str
    """The whole sentence."""


def _tag(value: Any) -> str:
    """Which class an event is of: its kind, but two classes share `node`."""
    fields = value if isinstance(value, dict) else {}
    kind = str(fields.get("kind"))
    return "component" if kind == "node" and "component" in fields else kind


Event = (
    DigestEvent
    | EndpointEvent
    | ClaimEvent
    | PinEvent
    | DeploymentEvent
    | CommandEvent
    | SwitchEvent
    | ShareEvent
    | PresenceEvent
    | ComponentEvent
    | WarningEvent
)

_EVENT: TypeAdapter[Event] = TypeAdapter(
    Annotated[
        Annotated[DigestEvent, Tag("digest")]
        | Annotated[EndpointEvent, Tag("endpoint")]
        | Annotated[ClaimEvent, Tag("claim")]
        | Annotated[PinEvent, Tag("pin")]
        | Annotated[DeploymentEvent, Tag("deployment")]
        | Annotated[CommandEvent, Tag("command")]
        | Annotated[SwitchEvent, Tag("switch")]
        | Annotated[ShareEvent, Tag("share")]
        | Annotated[PresenceEvent, Tag("node")]
        | Annotated[ComponentEvent, Tag("component")]
        | Annotated[WarningEvent, Tag("warning")],
        Discriminator(
            _tag,
            custom_error_type="kind",
            custom_error_message="expected an object of kind "
            "digest, endpoint, claim, pin, deployment, command, switch, share, node or warning",
        ),
    ]
)


def decode(line: str | bytes) -> Event:
    """Read an event's JSON. Raises EventError."""
    try:
        return _EVENT.validate_json(line)
    except ValidationError as error:
        raise EventError(f"not an event: {faults(error, 'event')}") from None
