"""Payloads of the MQTT topics: typed, validated where they arrive. JSON in UTF-8, Greengrass's key names."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    create_model,
    field_serializer,
    field_validator,
)
from pydantic.alias_generators import to_camel

from hitless.component.states import ComponentState
from hitless.faults import faults
from hitless.ipv4 import ipv4_text
from hitless.wire.report import BITS, Report


class MessageError(ValueError):
    """A payload that is not the message its topic promises; names each field and what was expected."""


class Message(BaseModel):
    """Base of all payloads. Unknown fields are ignored, so that newer senders can be heard."""

    model_config = ConfigDict(frozen=True, extra="ignore", alias_generator=to_camel, populate_by_name=True)

    @classmethod
    def decode(cls, payload: bytes | bytearray | str) -> Self:
        """Read a payload. Raises MessageError."""
        try:
            return cls.model_validate_json(payload)
        except ValidationError as error:
            told = faults(error, "payload", quoted=False)  # a delta's key must not get into a log
            raise MessageError(f"not a valid {cls.__name__}: {told}") from None

    def encode(self) -> bytes:
        """The payload as it is published."""
        return self.model_dump_json(by_alias=True, exclude_none=True).encode()


class _ByOwnNames(Message):
    """A payload with the names that its fields have in Python."""

    model_config = ConfigDict(alias_generator=None)


# Deployments, as Greengrass v2 writes them.


class ConfigurationUpdate(Message):
    """Change of a component's configuration: `reset` is applied first, then `merge`."""

    merge: dict[str, Any] | None = Field(default=None, validation_alias=AliasChoices("merge", "MERGE"))
    """Merged into the configuration. A JSON string on the wire; an object is taken as well, as devices get it."""
    reset: tuple[str, ...] = Field(default=(), validation_alias=AliasChoices("reset", "RESET"))
    """JSON pointers of keys that return to the recipe's defaults ("" is all of them)."""

    @field_validator("merge", mode="before")
    @classmethod
    def _parse(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        try:
            return json.loads(value)
        except ValueError as error:
            raise ValueError(f"expected JSON in a string: {error}") from None

    @field_serializer("merge")
    def _format(self, value: dict[str, Any] | None) -> str | None:
        return None if value is None else json.dumps(value)


class SystemResourceLimits(Message):
    """What a component may use at most; None: what the node's owner lets it use."""

    memory: int | None = Field(default=None, gt=0)
    """Kilobytes."""
    cpus: float | None = Field(default=None, gt=0)
    """Cores."""


UNLIMITED = SystemResourceLimits()
"""A deployment that says nothing of them."""


class RunWith(Message):
    """How a component's processes are run."""

    system_resource_limits: SystemResourceLimits = UNLIMITED
    posix_user: str | None = Field(default=None, pattern=r"^[^\s:]+(:[^\s:]+)?$")
    """`user` or `user:group`; None: as the node's owner says."""


class ComponentDeployment(Message):
    """One component of a deployment."""

    component_version: str
    configuration_update: ConfigurationUpdate | None = None
    run_with: RunWith = RunWith()


class ComponentUpdatePolicy(Message):
    """Whether a running component is told before it is replaced."""

    action: Literal["NOTIFY_COMPONENTS", "SKIP_NOTIFY_COMPONENTS"] = "NOTIFY_COMPONENTS"
    timeout_in_seconds: int = 60


class ConfigurationValidationPolicy(Message):
    """How long components may take to judge a new configuration."""

    timeout_in_seconds: int = 30


class DeploymentPolicies(Message):
    """What to do when a deployment fails, and how components are told about it."""

    failure_handling_policy: Literal["ROLLBACK", "DO_NOTHING"] = "ROLLBACK"
    component_update_policy: ComponentUpdatePolicy = ComponentUpdatePolicy()
    configuration_validation_policy: ConfigurationValidationPolicy = ConfigurationValidationPolicy()


class RecipeSource(Message):
    """Where a component's recipe lies."""

    uri: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    """Hexadecimal SHA-256 of the file."""


class DeploymentDocument(Message):
    """The complete set of components of a node for one fabric: what is absent is removed."""

    deployment_id: str
    components: dict[str, ComponentDeployment]
    deployment_policies: DeploymentPolicies = DeploymentPolicies()
    recipes: dict[str, RecipeSource]
    """By component name; one for each of `components`."""

    @field_validator("recipes")
    @classmethod
    def _one_each(cls, recipes: dict[str, RecipeSource], info: Any) -> dict[str, RecipeSource]:
        missing = sorted(set(info.data.get("components", {})) - set(recipes))
        if missing:
            raise ValueError(f"no recipe for {', '.join(missing)}")
        return recipes


# Jobs.

JobProgress = Literal["IN_PROGRESS", "SUCCEEDED", "FAILED", "REJECTED"]
"""What a node may say of a job. REJECTED: it was not carried out, since it cannot be read or another came before it."""
JobStatus = Literal["QUEUED", JobProgress]
DetailedStatus = Literal[
    "SUCCESSFUL",
    "FAILED_NO_STATE_CHANGE",
    "FAILED_ROLLBACK_NOT_REQUESTED",
    "FAILED_ROLLBACK_COMPLETE",
    "FAILED_UNABLE_TO_ROLLBACK",
    "REJECTED",
]


class JobExecution(Message):
    """One job for one node."""

    job_id: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    status: JobStatus
    job_document: DeploymentDocument


class NextJob(Message):
    """The next job of a node; none when it has nothing to do."""

    execution: JobExecution | None = None


class StartNext(Message):
    """A node asks for its next job."""

    client_token: str


class JobStatusDetails(Message):
    """Why a job is in its status."""

    detailed_status: DetailedStatus | None = None
    reason: str | None = None
    step: str | None = None
    """Of one in progress: resolve, download, notify, merge, track or rollback."""
    percent: int | None = Field(default=None, ge=0, le=100)
    """Of the file that is being downloaded."""

    @property
    def progress(self) -> str | None:
        """How far a job in progress is, for people; None if the node has not said."""
        if self.step is None or self.percent is None:
            return self.step
        return f"{self.step} {self.percent} %"

    def __str__(self) -> str:
        return ": ".join(part for part in (self.detailed_status, self.reason) if part)


class JobUpdate(Message):
    """A node tells how a job goes."""

    status: JobProgress
    status_details: JobStatusDetails = JobStatusDetails()
    client_token: str


class JobUpdateAccepted(Message):
    """The controller has taken a JobUpdate."""

    client_token: str


# Shadows: a component's role on a node.

InstanceRole = Literal["host", "standby"]
"""standby: new work goes elsewhere, so open HTTP connections are closed after their next answer."""


class ShadowState(Message):
    """Desired or reported state of a component."""

    role: InstanceRole | None = None
    draining: bool = False
    """The reports say that the instance is a last resort."""
    report_key_id: int | None = Field(default=None, ge=1, lt=1 << 8)
    """The key that the reports are tagged with; None: they are not."""


class ShadowDelta(Message):
    """The state that the controller wants. A version that is not newer than the last is ignored."""

    version: int = Field(ge=0)
    state: ShadowState
    report_key: str | None = Field(default=None, pattern=r"^[0-9a-f]{32}$", repr=False)
    """The secret of the state's report_key_id, hexadecimal. Not in the state, since that is reported back."""


class ReportedState(Message):
    """What the node says about a component."""

    reported: ShadowState


class ShadowUpdate(Message):
    """The state that a component has."""

    state: ReportedState
    version: int | None = Field(default=None, ge=0)
    """Version of the delta that brought the state about."""


# Restarts.


class Restart(Message):
    """A component is to be launched anew, at once. One that came before, by its token, is not carried out again."""

    client_token: str


class RestartEnded(Message):
    """The new launch is up, or will not come up."""

    client_token: str
    reason: str | None = None
    """Why the component was not restarted; None: it was."""


# Status.


class Presence(Message):
    """Whether a node is connected."""

    online: bool
    epoch: int = Field(ge=0, lt=1 << 32)
    """The node's start counter: an offline of an older epoch is a late last will."""


class ComponentHealth(Message):
    """State of one component on a node."""

    component_name: str
    version: str
    status: ComponentState
    is_root: bool = True
    status_details: str | None = None
    """What went wrong, for people."""


class DeploymentInformation(Message):
    """The deployment that a node has last carried out."""

    deployment_id: str
    status: JobStatus
    status_details: JobStatusDetails = JobStatusDetails()


class Health(Message):
    """A node and its components, as Greengrass's fleet status has them."""

    ggc_version: str
    platform: str = "linux"
    architecture: str
    thing: str
    overall_device_status: Literal["HEALTHY", "UNHEALTHY"]
    sequence_number: int
    timestamp: int
    """Milliseconds since 1970, by the node's clock: nothing is judged by it but that clock."""
    certificate_expires: int | None = None
    """When the node's certificate expires, in milliseconds since 1970; None without TLS."""
    message_type: Literal["COMPLETE", "PARTIAL"] = "COMPLETE"
    trigger: str
    components: tuple[ComponentHealth, ...]
    deployment_information: DeploymentInformation | None = None


_AUTHENTICATION = frozenset(("key_id", "tag"))
"""Fields of a report that no message has: the broker knows who publishes."""
_METRICS: dict[str, Any] = {
    name: (bool if bits == 1 else Annotated[int, Field(ge=0, lt=1 << bits)], ...)
    for name, bits in BITS.items()
    if name not in _AUTHENTICATION
}
_MetricsForm = create_model("Metrics", __base__=_ByOwnNames, **_METRICS)


@dataclass(frozen=True, slots=True)
class Metrics:
    """A report as a message: its fields by the report's own names, without key and tag."""

    _report: Report

    @classmethod
    def of(cls, report: Report) -> Self:
        """The message that carries `report`."""
        return cls(replace(report, key_id=0, tag=0))

    @classmethod
    def decode(cls, payload: bytes | bytearray | str) -> Self:
        """Read a payload. Raises MessageError."""
        return cls(Report(**_MetricsForm.decode(payload).model_dump()))

    def encode(self) -> bytes:
        """The payload as it is published."""
        return _MetricsForm.model_validate(asdict(self._report)).encode()

    def report(self) -> Report:
        """The report that the message carries."""
        return self._report


# Triggers.


class TriggerHolder(Message):
    """Who takes a service's triggers."""

    node: str
    online: bool
    """False: nobody does; this node was the last."""
    token: str
    """Of this time that it takes them."""
    topics: tuple[str, ...] = ()
    """The filters that its session has subscribed to, which the broker keeps for the next holder."""
    dropped: int = 0
    """Events that it has given up since it began, those among them that went to a dead-letter topic."""


class TriggerFired(Message):
    """Up to when a schedule's times have been dealt with."""

    at: float
    """Seconds since 1970."""
    schedule: str
    """The schedule and its time zone, as they were then."""


# Endpoints.

SWITCHES_STEER = "switches steer"
"""The reason of an endpoint that is the service's own address."""


def host_changed(reason: str, before: str | None, after: str) -> str:
    """The reason of an endpoint that follows the service's host."""
    return f"{reason}: {before or 'nobody'} -> {after}"


class EndpointUpdate(Message):
    """Where new requests of a service go. Only a newer (term, version) than the last one counts."""

    term: int = Field(ge=0)
    """Counts the controller's starts."""
    version: int = Field(ge=0)
    """Counts the endpoints of one term."""
    address: Annotated[str, AfterValidator(ipv4_text)]
    port: int = Field(gt=0, lt=1 << 16)
    reason: str = ""
    """For people, by SWITCHES_STEER or `host_changed`."""

    def newer_than(self, other: EndpointUpdate | EndpointAck | None) -> bool:
        """Whether this endpoint replaces `other`, which is None before the first."""
        return other is None or (self.term, self.version) > (other.term, other.version)


class EndpointAck(Message):
    """A client uses this endpoint for new requests from now on."""

    service: str
    term: int = Field(ge=0)
    version: int = Field(ge=0)
