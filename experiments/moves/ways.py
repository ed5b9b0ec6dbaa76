"""The ways to move a service, as descriptions. Pure: `ground`, `rules` and `programs` do what stands here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from experiments.moves.ground import CONTROLLER, MIDDLE, STEERED, WRITTEN, text
from experiments.moves.plan import PERIOD_NS
from experiments.native.lab import NODES, REPORTS, SERVICES

Rule = Literal["table", "route", "dnat", "endpoint", "publication", "check", "process"]
"""What a controller changes: an entry of the switch, a route, a translation, where the client sends by a datagram or by
a publication at the broker, what agent checks are answered, or which node has the function's process."""
LOOPBACK = "127.0.0.1"
RESTART_PERIOD_NS = 5 * PERIOD_NS
"""Of a way that starts processes: until one serves takes longer than a node is busy otherwise."""


@dataclass(frozen=True, slots=True)
class Way:
    """One way to move the service."""

    what: str
    """For people."""
    middle: Literal["switch", "router"]
    rule: Rule | None
    """None: the switch moves it by itself."""
    cannot: str
    """What it cannot do: a sentence for people."""
    service: int = STEERED
    """Of the switch's services, whose address and id it is."""
    period_ns: int = PERIOD_NS
    at_most: int | None = None
    """Requests a second that it is given, whatever the plan says."""

    @property
    def by_broker(self) -> bool:
        """Whether reports and what follows from them go through an MQTT broker."""
        return self.rule == "publication"

    @property
    def by_http(self) -> bool:
        """Whether requests are HTTP's, since a proxy passes them on that knows no datagrams."""
        return self.rule == "check"

    @property
    def by_gateway(self) -> bool:
        """Whether a real function serves, behind its node's gateway, in place of a program that answers at once."""
        return self.rule == "process"

    @property
    def hearers(self) -> tuple[str, ...]:
        """Who gets the nodes' reports."""
        if self.by_broker:
            return (LOOPBACK,)  # the node's own publisher
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
        by_own = self.rule in ("dnat", "endpoint", "publication", "check")
        return text(NODES + member if by_own else SERVICES + self.service)

    def target(self) -> str:
        """The address that the client begins with."""
        match self.rule:
            case "endpoint" | "publication":
                return text(NODES)
            case "check":
                return text(MIDDLE)
            case _:
                return text(SERVICES + self.service)

    def rate(self, wanted: int) -> int:
        """Requests a second."""
        return wanted if self.at_most is None else min(wanted, self.at_most)


WAYS: Mapping[str, Way] = {
    "in-network": Way(
        "the switch reads the reports and moves the service",
        "switch",
        None,
        "Needs a switch that runs a program of ours on the path of every request.",
    ),
    "table": Way(
        "a controller reads them and writes the switch's table (P4Runtime)",
        "switch",
        "table",
        "Moves nothing while the controller is dead or cut off.",
        WRITTEN,
    ),
    "route": Way(
        "a controller reads them and replaces the address's route (netlink)",
        "router",
        "route",
        "Knows addresses alone: no services that share one, no connections that stay, no shares.",
    ),
    "dnat": Way(
        "a controller replaces a translation and flushes conntrack (nftables)",
        "router",
        "dnat",
        "Flushing forgets the other services' flows as well, and breaks those that are to stay.",
    ),
    "endpoint": Way(
        "a controller tells the client where to send (UDP)",
        "router",
        "endpoint",
        "Each client must be known, reached and changed: here there is one.",
    ),
    "mqtt": Way(
        "reports and endpoints go through a broker, as where no switch can steer",
        "router",
        "publication",
        "Needs a client that follows endpoints, and moves nothing while broker or controller is dead.",
    ),
    "haproxy": Way(
        "a controller answers HAProxy's agent checks, every millisecond",
        "router",
        "check",
        "Passes no datagrams: its requests are HTTP's over kept connections. It asks, so it hears a check later.",
    ),
    "restart": Way(
        "the function's process is ended on one node and started on the other",
        "router",
        "process",
        "Has nobody who serves from the end of the one process until the other has started.",
        period_ns=RESTART_PERIOD_NS,
        at_most=1000,
    ),
}
