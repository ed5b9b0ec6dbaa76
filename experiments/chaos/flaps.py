"""Faults of a node's network: an interface, an address or the default route that goes and comes back.

The kernel drops what rests on them. What a network manager puts back is put back here; the rest is the agent's to do.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from experiments.chaos.aim import began, give_way, place
from experiments.chaos.schedule import Planned
from experiments.chaos.stand import POLL_S, Stand
from experiments.chaos.verdict import Fault

STEERED_WITHIN_S = 2.0
"""So soon after its network is back a node's own calls must leave through the switch again."""


@asynccontextmanager
async def link(stand: Stand, planned: Planned, fault: Fault) -> AsyncIterator[None]:
    """Take a node's interface down."""
    node, service = place(stand, planned)
    interface = stand.bed.network.get(node).defaultIntf().name
    async with flapped(stand, node, service, fault, "link"):
        stand.run_on(node, "ip", "link", "set", interface, "down")
        try:
            yield
        finally:
            stand.run_on(node, "ip", "link", "set", interface, "up")
            give_default_route(stand, node)


@asynccontextmanager
async def address(stand: Stand, planned: Planned, fault: Fault) -> AsyncIterator[None]:
    """Take a node's address away."""
    node, service = place(stand, planned)
    interface = stand.bed.network.get(node).defaultIntf().name
    own = str(stand.bed.fabric.hosts[node].address)
    async with flapped(stand, node, service, fault, "address"):
        (found,) = json.loads(stand.run_on(node, "ip", "-json", "-4", "address", "show", "to", f"{own}/32"))
        length = found["addr_info"][0]["prefixlen"]
        stand.run_on(node, "ip", "address", "del", f"{own}/{length}", "dev", interface)
        try:
            yield
        finally:
            stand.run_on(node, "ip", "address", "add", f"{own}/{length}", "dev", interface)
            give_default_route(stand, node)


@asynccontextmanager
async def default_route(stand: Stand, planned: Planned, fault: Fault) -> AsyncIterator[None]:
    """Take a node's default route away, and what else goes by the same router."""
    node, service = place(stand, planned)
    async with flapped(stand, node, service, fault, "route"):
        stand.run_on(node, "ip", "route", "flush", "table", "all", "exact", "default")
        try:
            yield
        finally:
            give_default_route(stand, node)


@asynccontextmanager
async def flapped(stand: Stand, node: str, service: str, fault: Fault, target: str) -> AsyncIterator[None]:
    """Note the fault, and see afterwards that the node's own calls are steered as before."""
    give_way(stand, fault)
    began(fault, node, target)
    yield
    fault.ended_ns = time.monotonic_ns()
    deadline = time.monotonic() + STEERED_WITHIN_S
    while not (steered := leaves_by_the_switch(stand, node, service)) and time.monotonic() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(POLL_S)
    if not steered:
        fault.wrong.append(f"own calls of {service} are not steered {STEERED_WITHIN_S:g} s later")


def give_default_route(stand: Stand, node: str) -> None:
    """Do what a network manager does when an interface is back."""
    router = str(stand.bed.fabric.gateway_for(node).address)
    stand.run_on(node, "ip", "route", "replace", "default", "via", router)


def leaves_by_the_switch(stand: Stand, node: str, service: str) -> bool:
    """Whether the kernel sends a node's own call to a service out, in place of serving it where it was made."""
    (route,) = json.loads(stand.run_on(node, "ip", "-json", "route", "get", str(stand.service(service).address)))
    return bool(route.get("type") != "local" and route.get("dev") != "lo")
