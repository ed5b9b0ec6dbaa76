"""The kinds of fault, and what each may cost. Pure: `faults` does what stands here by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum


class Cost(Enum):
    """What a fault may cost; whatever else goes wrong while it lasts is a loss that could have been saved."""

    NOTHING = "nothing"
    WORKER = "what a killed worker had in hand"
    NODE = "what the node or switch had in hand, and what came until somebody served again"


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of fault."""

    what: str
    """What is done, for people."""
    cost: Cost = Cost.NOTHING
    hold_s: tuple[float, float] = (0.0, 0.0)
    """Shortest and longest time for which the cause lasts; a fault of one moment has none."""
    recovery_s: float = 20.0
    """In so long everything must be as it was, from the end of the cause on."""


KINDS: Mapping[str, Kind] = {
    "kill-worker": Kind("SIGKILL to a worker", Cost.WORKER),
    "kill-supervisor": Kind("SIGKILL to the parent of a function's workers", Cost.WORKER),
    "kill-gateway": Kind("SIGKILL to a gateway", Cost.NODE),
    "kill-emitter": Kind("SIGKILL to a node's emitter"),
    "kill-agent": Kind("SIGKILL to an agent, started again at once", Cost.NODE, recovery_s=40),
    "kill-switch": Kind("SIGKILL to a switch, started again at once, empty", Cost.NODE, recovery_s=40),
    "kill-node": Kind(
        "SIGKILL to all of a node, its link down; it starts again after a while", Cost.NODE, (1, 3), recovery_s=40
    ),
    "kill-nodes": Kind("the same for all nodes at once", Cost.NODE, (1, 3), recovery_s=40),
    "kill-broker": Kind("SIGKILL to the broker, started again after a while", hold_s=(0.5, 3)),
    "kill-controller": Kind("SIGKILL to the controller, started again after a while", hold_s=(0.5, 3)),
    "freeze-worker": Kind("SIGSTOP to a worker, for less than the time limit", hold_s=(0.2, 0.6)),
    "freeze-gateway": Kind("SIGSTOP to a gateway", hold_s=(0.2, 1)),
    "freeze-emitter": Kind("SIGSTOP to a node's emitter", hold_s=(0.5, 3)),
    "freeze-agent": Kind("SIGSTOP to an agent", hold_s=(0.5, 4)),
    "freeze-node": Kind("SIGSTOP to all of a node", Cost.NODE, (0.5, 3), recovery_s=40),
    "freeze-switch": Kind("SIGSTOP to a switch", Cost.NODE, (0.2, 1), recovery_s=40),
    "freeze-broker": Kind("SIGSTOP to the broker", hold_s=(0.5, 4)),
    "freeze-controller": Kind("SIGSTOP to the controller", hold_s=(0.5, 4)),
    "update": Kind("a new version of a function"),
    "broken-update": Kind("a version that cannot start", recovery_s=40),
    "concurrency": Kind("one worker more, then one fewer"),
    "configuration": Kind("another value in a function's configuration"),
    "poison": Kind("a request on which the handler ends its process"),
    "stuck": Kind("a request that the handler never answers"),
    "full-log-disk": Kind("no space in the node's log folder", hold_s=(1, 3)),
    "full-state-disk": Kind("no space in the node's state folder, and a deployment meanwhile", hold_s=(1, 3)),
    "read-only-state": Kind("the node's state folder is read-only, and a deployment meanwhile", hold_s=(1, 3)),
    "slow-link": Kind("the node's link carries 4 Mbit/s", hold_s=(1, 3)),
    "cut-broker": Kind("nothing leaves the host of broker and controller", hold_s=(1, 8)),
    "flap-link": Kind("the node's interface goes down and comes up", Cost.NODE, hold_s=(0.2, 3)),
    "flap-address": Kind("the node's address is taken away and given back", Cost.NODE, hold_s=(0.2, 3)),
    "flap-route": Kind("the node's default route is taken away and given back", Cost.NODE, hold_s=(0.2, 3)),
    "hostile-udp": Kind("damaged and lying datagrams at a UDP service", hold_s=(1, 3)),
    "hostile-tcp": Kind("silent, damaged and slow connections at an HTTP service", hold_s=(1, 3)),
    "nothing": Kind("nothing: what the others compare with", hold_s=(0.5, 3)),
}
