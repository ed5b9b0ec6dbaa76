"""What the controller can ask of whoever steers new work: the switches, or itself by reconfiguration."""

from collections.abc import Mapping
from typing import Literal, Protocol

from controller.overview import InstanceView
from controller.status import SwitchState

Mode = Literal["in-network", "reconfiguration"]
"""Who steers: the switches, or the controller by publishing endpoints."""


class SteeringError(Exception):
    """Nobody can carry out what was asked now; the message says why."""


class Steering(Protocol):
    """Chooses the instance for new work, one way or the other."""

    @property
    def switches(self) -> Mapping[str, SwitchState]:
        """The switches in use, by name."""

    @property
    def hosts(self) -> Mapping[str, str | None]:
        """Service -> node that serves its new work, as far as known."""

    async def look(self) -> Mapping[tuple[str, str], InstanceView]:
        """Every instance as it is seen now, by (service, node); those that cannot be asked are left out."""

    def check(self, service: str) -> None:
        """Raises SteeringError when a pin of the service could not be carried out now."""

    async def pin(self, pins: Mapping[str, str]) -> None:
        """Pin these services to these nodes, and no others. Raises SteeringError."""

    async def run(self) -> None:
        """Work until cancelled."""
