"""The keys of a component's configuration that hitless itself reads; all others are the function's own.

The controller merges `endpoints` (of every service of the fabric, the component's own among them) into the recipe's
defaults; the agent reads the rest to serve the component, the worker to call other services.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator


class ServiceConfigurationError(ValueError):
    """A configuration that cannot be served; names each field and what was expected."""


class Endpoint(BaseModel):
    """Where a service's new requests go, and what it is."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    address: str = Field(pattern=r"^(\d{1,3}\.){3}\d{1,3}$")
    """The service's own address, or a node's where no switch steers."""
    port: int = Field(gt=0, lt=1 << 16)
    service_id: int = Field(gt=0, lt=1 << 16)
    protocol: Literal["udp", "tcp"] = "udp"
    """udp: the invocation protocol; tcp: HTTP/1.1."""


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
    endpoints: dict[str, Endpoint]
    """By service name."""

    @model_validator(mode="after")
    def _own_endpoint(self) -> Self:
        if self.service not in self.endpoints:
            raise ValueError(f"endpoints: expected one for the component's own service {self.service}")
        return self

    @property
    def own(self) -> Endpoint:
        """The endpoint of the component's own service."""
        return self.endpoints[self.service]

    @classmethod
    def read(cls, configuration: Mapping[str, Any]) -> Self | None:
        """Read a component's configuration; None when it serves nothing. Raises ServiceConfigurationError."""
        if configuration.get("service") is None:
            return None
        try:
            return cls.model_validate(configuration)
        except ValidationError as error:
            faults = "; ".join(
                f"{'.'.join(str(part) for part in fault['loc']) or 'configuration'}: {fault['msg']}"
                for fault in error.errors(include_url=False, include_input=False, include_context=False)
            )
            raise ServiceConfigurationError(faults) from None
