"""The ways to move a service, as descriptions. Pure: `ground` and `controller` do what stands here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from experiments.moves.ground import CONTROLLER, MIDDLE, STEERED, WRITTEN, text
from experiments.native.lab import NODES, REPORTS, SERVICES

Rule = Literal["table", "route", "dnat", "endpoint"]
"""What a controller changes: an entry of the switch, a route, a translation, or where the client sends."""


@dataclass(frozen=True, slots=True)
class Way:
    """One way to move the service."""

    what: str
    """For people."""
    middle: Literal["switch", "router"]
    rule: Rule | None
    """None: the switch moves it by itself."""
    service: int = STEERED
    """Of the switch's services, whose address and id it is."""

    @property
    def hearers(self) -> tuple[str, ...]:
        """Who gets the nodes' reports."""
        found = [REPORTS] if self.middle == "switch" else []
        if self.rule is not None:
            found.append(self.listens)
        return tuple(map(text, found))

    @property
    def listens(self) -> int:
        """The address at which the controller gets them: beside the rules that it writes, if it can stand there."""
        return CONTROLLER if self.middle == "switch" else MIDDLE

    def serves_at(self, member: int) -> str:
        """The address at which a node takes requests."""
        return text(NODES + member if self.rule in ("dnat", "endpoint") else SERVICES + self.service)

    def target(self) -> str:
        """The address that the client begins with."""
        return text(NODES if self.rule == "endpoint" else SERVICES + self.service)


WAYS: Mapping[str, Way] = {
    "in-network": Way("the switch reads the reports and moves the service", "switch", None),
    "table": Way("a controller reads them and writes the switch's table (P4Runtime)", "switch", "table", WRITTEN),
    "route": Way("a controller reads them and replaces the address's route (netlink)", "router", "route"),
    "dnat": Way("a controller replaces a translation and flushes conntrack (nftables)", "router", "dnat"),
    "endpoint": Way("a controller tells the client where to send (UDP)", "router", "endpoint"),
}
