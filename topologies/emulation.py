"""The links of a fabric that are emulated, as options of softswitch. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from controller.fabric.file import Fabric
from controller.fabric.schema import Emulation
from hitless.located import Location

EMULATORS = ("softswitch",)
"""Targets that can."""


def emulated(fabric: Fabric) -> Iterator[Location]:
    """Where the fabric file wants a link emulated."""
    yield from (("links", number, "emulate") for number, link in enumerate(fabric.links) if link.emulate is not None)
    yield from (("hosts", name, "emulate") for name, host in fabric.hosts.items() if host.emulate is not None)


def options(fabric: Fabric, switch: str) -> list[str]:
    """Of a switch: each of two switches does what its link does to what it sends, and a host's does both ways."""
    words = []
    for link in fabric.links:
        for end in link.ends:
            if end.switch == switch and link.emulate is not None:
                words += ["--link", f"{end.port}@{_properties(link.emulate)}"]
    for _, host in fabric.hosts_on(switch):
        if host.emulate is not None:
            words += ["--link", f"{host.port}@{_properties(host.emulate)}"]
            words += ["--link-in", f"{host.port}@{_properties(host.emulate)}"]
    return words


def _properties(emulation: Emulation) -> str:
    values = {
        "delay": (emulation.delay_ms, "ms"),
        "jitter": (emulation.jitter_ms, "ms"),
        "loss": (emulation.loss_percent, "%"),
        "reorder": (emulation.reorder_percent, "%"),
        "rate": (emulation.rate_mbps, "Mbit"),
    }
    given = [f"{name}={value:f}{unit}" for name, (value, unit) in values.items() if value]
    return ",".join(given) or "delay=0"
