"""What the agent tells a gateway: at its start, as one JSON object; later, as one command a line on its input."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from hitless.component.endpoint import ServiceProtocol
from hitless.component.service_configuration import ServiceConfiguration
from hitless.mqtt.messages import InstanceRole

_STRICT = ConfigDict(frozen=True, extra="forbid")


class GatewaySettings(BaseModel):
    """An instance and the files that belong to it. Fixed while the gateway runs."""

    model_config = _STRICT

    node: str
    component: str
    service: str
    service_id: int
    addresses: tuple[str, ...]
    """Where the service is served: the node's own address and, where a switch steers, the service's."""
    port: int
    protocols: tuple[ServiceProtocol, ...]
    worker_socket: str
    """Unix socket at which workers connect."""
    page: str
    """File of the queue numbers that the emitter reads."""
    notify_socket: str
    """Unix datagram socket of the emitter, told when the queue jumps."""
    execution_log: Path | None
    """Where each execution is noted; None: nowhere."""
    invoke_key: Path | None = None
    """File of the key that events which are taken as they are must be sealed with; None: none are taken."""
    idle_interval_ms: int = 50
    """Between two reports of the instance at rest: the heartbeat's measure."""


class Configure(BaseModel):
    """The component's configuration has changed: the workers get it, limits follow it."""

    model_config = _STRICT

    command: Literal["configure"] = "configure"
    launch: int | None = None
    """Only the workers of this launch get it, and the limits follow when that launch is to serve. None: at once."""
    concurrency: int
    """Workers wanted, and requests executed at a time."""
    queue_limit: int
    timeout_ms: int
    idempotent: bool = False
    """Whether a request whose worker died may be executed again."""
    streamed: bool = False
    """Whether the function takes request bodies as they come, in place of whole."""
    configuration: dict[str, Any]

    @classmethod
    def of(cls, configuration: ServiceConfiguration, component_configuration: dict[str, Any]) -> Self:
        """The command for a component's configuration: `configuration` is what hitless reads of it."""
        return cls(
            concurrency=configuration.concurrency,
            queue_limit=configuration.queue_limit,
            timeout_ms=configuration.timeout_ms,
            idempotent=configuration.idempotent,
            streamed=configuration.streamed,
            configuration=component_configuration,
        )


class Serve(BaseModel):
    """New work goes to this launch's workers from now on; those of others finish what they have and are shut down."""

    model_config = _STRICT

    command: Literal["serve"] = "serve"
    launch: int


class Suspend(BaseModel):
    """The component is broken: requests are refused with 503 and this reason at once. None: no longer."""

    model_config = _STRICT

    command: Literal["suspend"] = "suspend"
    reason: str | None


class Role(BaseModel):
    """What the controller wants of the instance."""

    model_config = _STRICT

    command: Literal["role"] = "role"
    role: InstanceRole | None = None
    draining: bool = False

    @property
    def closes_connections(self) -> bool:
        """Whether each open HTTP connection ends with its next answer."""
        return self.draining or self.role == "standby"


class Checked(BaseModel):
    """Whether the health checks of the instance fail: it is not ready then."""

    model_config = _STRICT

    command: Literal["checked"] = "checked"
    failing: bool


class Finish(BaseModel):
    """Take nothing new, answer what is here, then say so."""

    model_config = _STRICT

    command: Literal["finish"] = "finish"


Command = Configure | Serve | Suspend | Role | Checked | Finish
COMMAND: TypeAdapter[Command] = TypeAdapter(Annotated[Command, Field(discriminator="command")])


class Status(BaseModel):
    """What the gateway tells the agent, a line each on its output."""

    model_config = _STRICT

    workers: dict[int, int]
    """Workers that are connected and warm, by launch; a launch without any is left out."""
    finished: bool = False
    stalled: bool = False
    """Whether work waits and no worker takes any: the instance is not ready."""
