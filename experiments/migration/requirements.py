"""What a fabric must have for the load of a run, beside being one that can be laid out here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from controller.fabric.file import Fabric, refuse
from experiments.migration.generator import CLIENT_HOST
from experiments.migration.options import APPLICATION, HTTP, SHOWN
from topologies import layout
from topologies.layout import Obstacle

PROTOCOLS = {APPLICATION: "udp", HTTP: "tcp"}
"""How the load calls."""


def require(path: Path, *, bridged: bool) -> None:
    """Raise FabricError, before anything is brought up, for a fabric file that a run cannot use."""
    refuse(path, list(lacks(layout.load(path, bridged=bridged))))


def lacks(fabric: Fabric) -> Iterator[Obstacle]:
    """What the load would miss in a fabric, with its place in the file. Pure."""
    if CLIENT_HOST not in fabric.hosts:
        yield ("hosts",), f"expected one of the name {CLIENT_HOST}: the load is sent from there"
    missing = [name for name in SHOWN if name not in fabric.services]
    if missing:
        yield ("services",), f"expected {', '.join(SHOWN)}, which the load needs; there is no {', '.join(missing)}"
    for name, protocol in PROTOCOLS.items():
        if name in fabric.services and fabric.services[name].protocol != protocol:
            yield ("services", name, "protocol"), f"expected {protocol}: the load calls it so"
    for name in SHOWN:
        if name in fabric.services and next(iter(fabric.nodes)) not in fabric.services[name].instances:
            yield ("services", name, "instances"), f"expected one on {next(iter(fabric.nodes))}: a run starts there"
