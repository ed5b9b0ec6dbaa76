"""Faults of whole machines: nodes that end or stand still with all that runs there, and a switch that stands still.

A node that ends loses its link too, so that nothing of its kernel answers in place of its processes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from experiments.chaos.aim import began, give_way, place
from experiments.chaos.flaps import give_default_route
from experiments.chaos.processes import frozen
from experiments.chaos.schedule import Planned, pick
from experiments.chaos.stand import Stand
from experiments.chaos.verdict import Fault


@asynccontextmanager
async def kill_node(stand: Stand, planned: Planned, fault: Fault) -> AsyncIterator[None]:
    """End a node; it starts again at the end."""
    give_way(stand, fault)
    node, _ = place(stand, planned)
    async with _ended(stand, [node], fault, node):
        yield


@asynccontextmanager
async def kill_nodes(stand: Stand, _: Planned, fault: Fault) -> AsyncIterator[None]:
    """End all nodes at once; they start again at the end."""
    async with _ended(stand, stand.nodes, fault, "all"):
        yield


@asynccontextmanager
async def _ended(stand: Stand, nodes: Sequence[str], fault: Fault, name: str) -> AsyncIterator[None]:
    for node in nodes:
        await stand.await_new_epoch(node, stand.services())
    interfaces = {node: stand.bed.network.get(node).defaultIntf().name for node in nodes}
    agents = {node: stand.bed.process(f"agent-{node}") for node in nodes}
    began(fault, name, "node")
    for node, interface in interfaces.items():
        stand.run_on(node, "ip", "link", "set", interface, "down")
    try:
        for agent in agents.values():
            stand.kill(agent)
        yield
    finally:
        for node, interface in interfaces.items():
            stand.run_on(node, "ip", "link", "set", interface, "up")
            give_default_route(stand, node)
            stand.bed.start_agent(node)


@asynccontextmanager
async def freeze_node(stand: Stand, planned: Planned, fault: Fault) -> AsyncIterator[None]:
    """Stop all processes of a node; its kernel goes on and answers pings, which says nothing of its functions."""
    give_way(stand, fault)
    node, _ = place(stand, planned)
    parts, agent = stand.parts(node), stand.bed.process(f"agent-{node}").pid
    began(fault, node, "node")
    with frozen(agent, *(part.pid for part in parts)):
        yield


@asynccontextmanager
async def freeze_switch(stand: Stand, planned: Planned, fault: Fault) -> AsyncIterator[None]:
    """Stop a switch: no packet gets through, and what its ports cannot hold until it goes on is lost."""
    name = pick(planned.node, list(stand.bed.fabric.switches))
    pid = stand.bed.network.get(name).process.pid
    began(fault, name, "switch")
    with frozen(pid):
        yield
