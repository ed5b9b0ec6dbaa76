"""The keys of a component's configuration that hitless itself reads; all others are the function's own.

The controller merges `endpoints` (of every service of the fabric, the component's own among them) and `triggers` into
the recipe's defaults; the agent reads the rest to serve the component, the worker to call other services.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, ValidationError, model_validator

from hitless.component.endpoint import ServiceEndpoint
from hitless.component.triggers import Trigger
from hitless.faults import faults


class ServiceConfigurationError(ValueError):
    """A configuration that cannot be served; names each field and what was expected."""


class HealthCheck(BaseModel):
    """A request that the agent sends to the instance on its own node, now and then."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str | None = Field(default=None, pattern=r"^/[!-~]*$")
    """For a service over tcp: what is asked for with GET."""
    payload: str | None = None
    """For a service over udp: the request's payload, as text."""
    interval_ms: int = Field(default=1000, ge=10)
    """Between the end of one and the beginning of the next."""
    timeout_ms: int = Field(default=1000, ge=1)
    """How long an answer may take; it must have a status of 200 to 399."""
    failures: int = Field(default=3, ge=1)
    """So many in a row that fail make the instance not ready; the next one that does not makes it ready."""


class ServiceConfiguration(BaseModel):
    """How a component is served."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    service: str
    """The service that the component is an instance of."""
    concurrency: int = Field(default=1, ge=1, le=64)
    """Requests executed at a time: workers."""
    timeout_ms: int = Field(default=5000, ge=1)
    """Milliseconds until a request that has no answer yet is answered with an error."""
    queue_limit: int = Field(default=256, ge=1, lt=1 << 16)
    """Requests that may wait; one more is refused at once."""
    idempotent: bool = False
    """Whether a request may be executed again if the worker that had it died."""
    streamed: bool = False
    """Whether the handler takes HTTP request bodies as they come (`context.body`), in place of whole in the event."""
    payload_format_version: Annotated[Literal["1.0", "2.0", "cloudevents"], BeforeValidator(str)] = "2.0"
    """Which form events have: one of Lambda's two, or that of CloudEvents, which requests must be then."""
    warm_up: dict[str, Any] | None = None
    """An event that each new worker handles before it gets requests; None for no such call."""
    health_check: HealthCheck | None = None
    """What the agent asks the instance to see that it works; None for nothing."""
    triggers: dict[str, Trigger] = {}
    """What calls the service beside its clients, as the fabric file has it."""
    endpoints: dict[str, Annotated[ServiceEndpoint, PlainValidator(ServiceEndpoint.read)]]
    """By service name."""

    @model_validator(mode="after")
    def _own_endpoint(self) -> Self:
        if self.service not in self.endpoints:
            raise ValueError(f"endpoints: expected one for the component's own service {self.service}")
        if self.streamed and self.payload_format_version == "cloudevents":
            raise ValueError("streamed: expected false, since a CloudEvent is whole (payload_format_version)")
        if (check := self.health_check) is not None:
            if self.own.protocol == "tcp" and self.payload_format_version == "cloudevents":
                raise ValueError("health_check: expected none, since a GET is no CloudEvent (payload_format_version)")
            wanted, other = ("path", "payload") if self.own.protocol == "tcp" else ("payload", "path")
            if getattr(check, wanted) is None or getattr(check, other) is not None:
                protocol = self.own.protocol
                raise ValueError(f"health_check: expected {wanted}, not {other}, for a service over {protocol}")
        return self

    @property
    def own(self) -> ServiceEndpoint:
        """The endpoint of the component's own service."""
        return self.endpoints[self.service]

    def written(self) -> dict[str, Any]:
        """What was set of it, as it stands in a configuration."""
        endpoints = {name: endpoint.written() for name, endpoint in self.endpoints.items()}
        return self.model_dump(exclude_unset=True, exclude={"endpoints"}) | {"endpoints": endpoints}

    @classmethod
    def read(cls, configuration: Mapping[str, Any]) -> Self | None:
        """Read a component's configuration; None when it serves nothing. Raises ServiceConfigurationError."""
        if configuration.get("service") is None:
            return None
        try:
            return cls.model_validate(configuration)
        except ValidationError as error:
            raise ServiceConfigurationError(faults(error, "configuration")) from None
