"""What the agent tells the process that takes triggers: one JSON object a line on its input, the first one the node."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from hitless.component.endpoint import ServiceProtocol
from hitless.component.service_configuration import ServiceConfiguration
from hitless.component.triggers import Trigger
from hitless.mqtt.broker import BrokerSettings
from hitless.mqtt.identities import trigger_identity
from hitless.mqtt.messages import EndpointUpdate, TriggerHolder

_STRICT = ConfigDict(frozen=True, extra="forbid")


class TriggerSettings(BaseModel):
    """The node whose services have triggers."""

    model_config = _STRICT

    command: Literal["node"] = "node"
    node: str
    broker: BrokerSettings
    identities: Path | None
    """Folder of the trigger identities' folders; None where the broker takes the client's own word for its name."""

    def broker_for(self, service: str) -> BrokerSettings:
        """Where the broker is, for whoever takes the triggers of a service."""
        if self.identities is None:
            return self.broker
        folder = self.identities / trigger_identity(service) / "bus"
        return BrokerSettings(host=self.broker.host, port=self.broker.port, tls=folder)


class Take(BaseModel):
    """The node has an instance of this service: take its triggers if no other node does. What was said before of the
    service is over; without triggers, the broker keeps nothing more for it."""

    model_config = _STRICT

    command: Literal["take"] = "take"
    service: str
    service_id: int
    protocol: ServiceProtocol
    address: str
    """Where the service is called, until an endpoint says otherwise."""
    port: int
    timeout_ms: int
    """How long a call may take."""
    payload_format: str
    triggers: dict[str, Trigger]

    @classmethod
    def of(cls, configuration: ServiceConfiguration) -> Self:
        """What a component's configuration says."""
        own = configuration.own
        return cls(
            service=configuration.service,
            service_id=own.service_id,
            protocol=own.protocol,
            address=own.address,
            port=own.port,
            timeout_ms=configuration.timeout_ms,
            payload_format=configuration.payload_format_version,
            triggers=configuration.triggers,
        )


class Leave(BaseModel):
    """The node has no instance of the service any more: leave its triggers to others."""

    model_config = _STRICT

    command: Literal["leave"] = "leave"
    service: str


class Listening(BaseModel):
    """The agent hears the broker, in a new session: words of holders follow, where there are any."""

    model_config = _STRICT

    command: Literal["listening"] = "listening"


class Held(BaseModel):
    """What a holder says."""

    model_config = _STRICT

    command: Literal["held"] = "held"
    service: str
    holder: TriggerHolder


class Moved(BaseModel):
    """Where a service is called."""

    model_config = _STRICT

    command: Literal["moved"] = "moved"
    service: str
    endpoint: EndpointUpdate


Command = TriggerSettings | Take | Leave | Listening | Held | Moved
COMMAND: TypeAdapter[Command] = TypeAdapter(Annotated[Command, Field(discriminator="command")])
