"""What the controller can ask of whoever steers new work: the switches, or itself by reconfiguration."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from controller.operator.documents import InstanceView
from controller.switches.view import SwitchState

Mode = Literal["in-network", "reconfiguration"]
"""Who steers: the switches, or the controller by publishing endpoints."""


class SteeringError(Exception):
    """Nobody can carry out what was asked now; the message says why."""


@dataclass(frozen=True, slots=True)
class Sight:
    """Services as they are seen now, by whoever steers them."""

    hosts: Mapping[str, str | None]
    """Service -> node that serves its new work; None while unknown, or where there is no single one."""
    instances: Mapping[tuple[str, str], InstanceView]
    """By (service, node); those that cannot be asked are left out."""


class Steering(Protocol):
    """Chooses the instance for new work, one way or the other."""

    @property
    def switches(self) -> Mapping[str, SwitchState]:
        """The switches in use, by name."""

    @property
    def hosts(self) -> Mapping[str, str | None]:
        """Service -> node that serves its new work, as far as it was told."""

    async def look(self) -> Sight:
        """See how every service is now."""

    def check(self, service: str) -> None:
        """Raises SteeringError when a pin of the service could not be carried out now."""

    async def pin(self, pins: Mapping[str, str]) -> None:
        """Pin these services to these nodes, and no others. Raises SteeringError."""

    async def run(self) -> None:
        """Work until cancelled."""
