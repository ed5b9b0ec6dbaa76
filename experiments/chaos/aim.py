"""Where a fault hits, and what is noted of it when it begins."""

from __future__ import annotations

import time

from experiments.chaos.schedule import Planned, pick
from experiments.chaos.stand import Stand
from experiments.chaos.verdict import Fault

AT_THE_HOST = 0.75
"""The share of faults that hit the node that serves."""
ELSEWHERE_NS = 1_000_000_000
"""Where another node can serve, new work must be there so soon after a node's death."""


def place(stand: Stand, planned: Planned) -> tuple[str, str]:
    """The node and the service that a fault hits: mostly where the service is served, since more is at stake there."""
    service = pick(planned.target, stand.services())
    host = stand.hosts.get(service)
    others = [node for node in stand.nodes if node != host]
    if host is not None and (planned.node < AT_THE_HOST or not others):
        return host, service
    return pick(planned.node, others), service


def began(fault: Fault, node: str, target: str) -> None:
    """Say that a fault begins now, and where."""
    fault.node, fault.target, fault.began_ns = node, target, time.monotonic_ns()


def give_way(stand: Stand, fault: Fault) -> None:
    """Say how long what comes may be lost with a node."""
    if len(stand.nodes) > 1:
        fault.outage_ns = ELSEWHERE_NS
