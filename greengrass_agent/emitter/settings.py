"""What the agent tells the emitter: one JSON object a line on its input, the first one the node."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from greengrass_agent.settings import CgroupSettings, ReportSettings
from hitless.mqtt.broker import BrokerSettings
from hitless.saved_key import SavedKey

_STRICT = ConfigDict(frozen=True, extra="forbid")


class EmitterSettings(BaseModel):
    """The node whose instances are reported."""

    model_config = _STRICT

    command: Literal["node"] = "node"
    node: str
    node_id: int
    node_address: str
    cgroup: CgroupSettings
    memory_bytes: int
    """The node's memory budget."""
    interval_ms: int
    idle_interval_ms: int
    """Between two reports of an instance at rest."""
    reports: ReportSettings | None
    """Where reports go by UDP; None where no switch takes them."""
    broker: BrokerSettings | None
    """Where the same numbers go by MQTT; None for nowhere."""
    notify_socket: Path
    """Unix datagram socket at which gateways say that a queue has jumped, by the service's name."""


class Add(BaseModel):
    """Report an instance from now on, in this epoch."""

    model_config = _STRICT

    command: Literal["add"] = "add"
    service: str
    service_id: int
    cgroup: CgroupSettings
    """The instance's own leaf."""
    page: Path
    """The gateway's queue numbers."""
    epoch: int
    log: Path | None
    """Where each report is noted; None: nowhere."""
    key: SavedKey | None = None
    """What its reports are tagged with; None: they are not."""


class Tag(BaseModel):
    """Tag an instance's reports with this key from now on; None: with none."""

    model_config = _STRICT

    command: Literal["tag"] = "tag"
    service: str
    key: SavedKey | None


class Remove(BaseModel):
    """Report an instance no more."""

    model_config = _STRICT

    command: Literal["remove"] = "remove"
    service: str


Command = EmitterSettings | Add | Tag | Remove
COMMAND: TypeAdapter[Command] = TypeAdapter(Annotated[Command, Field(discriminator="command")])


class Silent(BaseModel):
    """What the emitter tells the agent, a line each on its output: whether a gateway stands still."""

    model_config = _STRICT

    service: str
    silent: bool
