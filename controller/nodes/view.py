"""What is known of a node: typed values that the link fills and everything else reads. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from hitless.component.states import ComponentState

DeploymentProgress = Literal["done", "under way", "failed", "waiting"]
"""How a node stands with the deployment that it should have: `waiting` for the node, or to be sent."""


@dataclass(frozen=True, slots=True)
class NodeView:
    """A node as its messages tell."""

    online: bool
    components: Mapping[str, ComponentState]
    deployment: DeploymentProgress
    step: str | None = None
    """How far the node says it is with a deployment under way."""
    details: Mapping[str, str] = field(default_factory=dict)
    """By component: what it waits for, or what went wrong with it last."""


@dataclass(frozen=True, slots=True)
class PresenceUpdate:
    """A node is connected to the broker, or no longer."""

    node: str
    online: bool


@dataclass(frozen=True, slots=True)
class KeyUpdate:
    """A node tells which key a component's reports are tagged with."""

    node: str
    component: str
    key_id: int | None
    """None: with none."""


@dataclass(frozen=True, slots=True)
class ClockUpdate:
    """A node tells its time, and how long its certificate lasts."""

    node: str
    time: float
    """Seconds since 1970, by the node's clock when it said so."""
    certificate_expires: float | None
    """Seconds since 1970; None without a certificate."""


NodeUpdate = PresenceUpdate | KeyUpdate | ClockUpdate
"""What a node's message means to others than the link."""
