"""The ways to meet congestion, as descriptions. Pure: `experiment` does what stands here."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML

from experiments.detection.kinds import HERE, THERE

WORK = "work"
"""The service."""
STEERED = "steered"
"""The way that others are compared with."""


@dataclass(frozen=True, slots=True)
class Way:
    """One way."""

    what: str
    """For people."""
    policy: Mapping[str, Any] = field(default_factory=lambda: {"single": {}})
    """Of the service in the fabric file."""
    nodes: tuple[str, ...] = (HERE, THERE)
    """Where instances are."""
    proxy: str | None = None
    """The load balancer that requests go through; None: they go to the service's address at the switch."""
    redeploys: bool = False
    """Whether the fabric file is changed for one with the instance on the other node, when its node is congested."""
    one_host: bool = True
    """Whether one node has all requests until something happens."""


WAYS: Mapping[str, Way] = {
    STEERED: Way("the switch moves the service by the nodes' reports (`single`)"),
    "static": Way("nothing is done: the switch has the service pinned to its node", {"pinned": {"node": HERE}}),
    "redeploy": Way("the instance is removed, and one is started on the other node", nodes=(HERE,), redeploys=True),
    "haproxy-backup": Way("HAProxy, the other node as backup, the same agent checks", proxy="haproxy-backup"),
    "spread": Way("the switch spreads connections by where they would start first", {"spread": {}}, one_host=False),
    "haproxy": Way("HAProxy, leastconn, agent checks by the same reports", proxy="haproxy", one_host=False),
    "nginx": Way("nginx, least_conn", proxy="nginx", one_host=False),
}


def written(base: str, way: Way, nodes: Sequence[str] = ()) -> str:
    """The experiment's fabric file for a way, with the instances on its nodes, or on these."""
    yaml = YAML(typ="rt")
    document = yaml.load(base)
    service = document["services"][WORK]
    service["policy"] = {name: dict(parameters) for name, parameters in way.policy.items()}
    service["instances"] = {node: service["instances"][node] for node in nodes or way.nodes}
    output = io.StringIO()
    yaml.dump(document, output)
    return output.getvalue()
