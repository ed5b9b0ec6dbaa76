"""Doing what `kinds` names: each fault is a context whose block is the time that its cause lasts.

A fault fills in its node, its target, when it began and what was wrong beside requests.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager
from functools import partial
from pathlib import Path

from experiments.chaos import flaps, machines, processes
from experiments.chaos.aim import began, give_way, place
from experiments.chaos.kinds import KINDS
from experiments.chaos.processes import frozen
from experiments.chaos.releases import CONCURRENCY
from experiments.chaos.schedule import Planned, pick
from experiments.chaos.stand import STRANGER, Stand, filled, read_only
from experiments.chaos.verdict import Fault
from hitless.mqtt.messages import JobUpdate
from hitless.words import MemberStatus
from topologies import network

Context = AbstractAsyncContextManager[None]
HOSTILE_PER_SECOND = {"udp": 500, "tcp": 100}
GATEWAY_ANSWERS = {"end": 502, "sleep 3600": 504}
"""What a request with this body is answered with, since its handler answers nothing."""
QUIET_S = 0.3
"""So long after a change nobody asks: a process that starts would slow down what is measured there."""
UNREADY_WITHIN_S = 1.0
"""So soon after its gateway was stopped the switch must know that an instance is not ready."""
CHANGED_WITHIN_S = 5.0
"""A changed configuration must show in answers so soon after its deployment succeeded."""


# Processes that are killed


@asynccontextmanager
async def kill_function(supervisor: bool, stand: Stand, planned: Planned, fault: Fault) -> AsyncIterator[None]:
    """Kill a worker, or the parent of all."""
    node, service = place(stand, planned)
    parts, component = stand.parts(node), stand.service(service).component
    workers = processes.workers(parts, component)
    found = processes.supervisors(parts, component) if supervisor else workers
    pid = stand.pid(found, f"process of {service} on {node}")
    fault.inside = len(workers) if supervisor else 1
    began(fault, node, service)
    os.kill(pid, signal.SIGKILL)
    yield


@asynccontextmanager
async def kill_gateway(stand: Stand, planned: Planned, fault: Fault) -> AsyncIterator[None]:
    """Kill the gateway of a service."""
    give_way(stand, fault)
    node, service = place(stand, planned)
    pid = stand.pid(processes.gateways(stand.parts(node), service), f"gateway of {service} on {node}")
    await stand.await_new_epoch(node, [service])
    began(fault, node, service)
    os.kill(pid, signal.SIGKILL)
    yield


@asynccontextmanager
async def kill_emitter(stand: Stand, planned: Planned, fault: Fault) -> AsyncIterator[None]:
    """Kill a node's emitter."""
    node, _ = place(stand, planned)
    pid = stand.pid(processes.emitters(stand.parts(node)), f"emitter on {node}")
    await stand.await_new_epoch(node, stand.services())
    began(fault, node, "emitter")
    os.kill(pid, signal.SIGKILL)
    yield


@asynccontextmanager
async def kill_agent(stand: Stand, planned: Planned, fault: Fault) -> AsyncIterator[None]:
    """Kill an agent, with which everything on its node ends; its init system starts it again."""
    give_way(stand, fault)
    node, _ = place(stand, planned)
    await stand.await_new_epoch(node, stand.services())
    process = stand.bed.process(f"agent-{node}")
    began(fault, node, "agent")
    stand.kill(process)
    stand.bed.start_agent(node)
    yield


@asynccontextmanager
async def kill_switch(stand: Stand, planned: Planned, fault: Fault) -> AsyncIterator[None]:
    """Kill a switch, and start it without a program: all is the controller's to put back."""
    name = pick(planned.node, list(stand.bed.fabric.switches))
    switch = stand.bed.network.get(name)
    began(fault, name, "switch")
    switch.process.signal(signal.SIGKILL)
    switch.process.handle.wait()
    switch.start(None)
    stand.bed.record()
    yield


@asynccontextmanager
async def kill_central(
    name: str, start: Callable[[Stand], object], stand: Stand, _: Planned, fault: Fault
) -> AsyncIterator[None]:
    """Kill the broker or the controller, and start it again at the end."""
    process = stand.bed.process(name)
    began(fault, network.controller_host_name(stand.bed.fabric), name)
    stand.kill(process)
    try:
        yield
    finally:
        start(stand)


# Processes that stand still


@asynccontextmanager
async def freeze_worker(stand: Stand, planned: Planned, fault: Fault) -> AsyncIterator[None]:
    """Stop a worker for less than its time limit."""
    node, service = place(stand, planned)
    found = processes.workers(stand.parts(node), stand.service(service).component)
    pid = stand.pid(found, f"worker of {service} on {node}")
    began(fault, node, service)
    with frozen(pid):
        yield


@asynccontextmanager
async def freeze_emitter(stand: Stand, planned: Planned, fault: Fault) -> AsyncIterator[None]:
    """Stop a node's emitter."""
    node, _ = place(stand, planned)
    pid = stand.pid(processes.emitters(stand.parts(node)), f"emitter on {node}")
    began(fault, node, "emitter")
    with frozen(pid):
        yield


@asynccontextmanager
async def freeze_gateway(stand: Stand, planned: Planned, fault: Fault) -> AsyncIterator[None]:
    """Stop the gateway of a service: new work goes elsewhere soon, and what it has is answered when it goes on."""
    node, service = place(stand, planned)
    pid = stand.pid(processes.gateways(stand.parts(node), service), f"gateway of {service} on {node}")
    began(fault, node, service)
    with frozen(pid):
        if not await stand.seen(node, service, MemberStatus.NOT_READY, UNREADY_WITHIN_S):
            fault.wrong.append(f"the switch took it for ready {UNREADY_WITHIN_S:g} s after it was stopped")
        yield


@asynccontextmanager
async def freeze_process(name: str, stand: Stand, planned: Planned, fault: Fault) -> AsyncIterator[None]:
    """Stop the agent of a node, the broker or the controller."""
    node = place(stand, planned)[0] if name == "agent" else network.controller_host_name(stand.bed.fabric)
    process = stand.bed.process(f"agent-{node}" if name == "agent" else name)
    began(fault, node, name)
    with frozen(process.pid):
        yield


# Deployments


async def deployed(stand: Stand, node: str, fault: Fault, what: str) -> None:
    """Have a node brought to what is wanted of it, which must succeed."""
    update = await stand.deploy(node)
    if update is None:
        fault.wrong.append(f"{what}: the node never said how it ended")
    elif update.status != "SUCCEEDED":
        fault.wrong.append(f"{what}: {update.status} ({update.status_details})")


async def answers(stand: Stand, node: str, service: str, fault: Fault) -> None:
    """The instance must answer with the version and the note that are wanted of it, soon."""
    await asyncio.sleep(QUIET_S)
    wanted = stand.releases.wanted[node, service]
    expected = f"{wanted.component.recipe.version} {wanted.note}"
    deadline, status, text = time.monotonic() + CHANGED_WITHIN_S, 0, ""
    while time.monotonic() < deadline:
        status, text = await stand.ask(node, service)
        if (status, text) == (200, expected):
            return
    fault.wrong.append(f"it answers {status} {text!r}, expected {expected!r}")


@asynccontextmanager
async def update(stand: Stand, planned: Planned, fault: Fault) -> AsyncIterator[None]:
    """Replace a function by its next version."""
    node, service = place(stand, planned)
    stand.releases.wanted[node, service].component = stand.releases.release(service)
    began(fault, node, service)
    await deployed(stand, node, fault, "the update")
    await answers(stand, node, service, fault)
    yield


@asynccontextmanager
async def broken_update(stand: Stand, planned: Planned, fault: Fault) -> AsyncIterator[None]:
    """Deploy a version that cannot start: the deployment fails, and the one before goes on."""
    node, service = place(stand, planned)
    wanted = stand.releases.wanted[node, service]
    before, wanted.component = wanted.component, stand.releases.release(service, broken=True)
    began(fault, node, service)
    result = await stand.deploy(node)
    wanted.component = before
    if result is None or result.status != "FAILED":
        fault.wrong.append(f"a version that cannot start: {_told(result)}")
    yield


@asynccontextmanager
async def concurrency(stand: Stand, planned: Planned, fault: Fault) -> AsyncIterator[None]:
    """Ask for another number of workers; never for one, behind whose request all others would have to wait."""
    node, service = place(stand, planned)
    wanted = stand.releases.wanted[node, service]
    wanted.concurrency = CONCURRENCY if wanted.concurrency != CONCURRENCY else CONCURRENCY + 1
    stand.left.pop((node, service), None)
    began(fault, node, service)
    await deployed(stand, node, fault, f"{wanted.concurrency} workers")
    yield


@asynccontextmanager
async def configuration(stand: Stand, planned: Planned, fault: Fault) -> AsyncIterator[None]:
    """Change a value that the function reads."""
    node, service = place(stand, planned)
    stand.releases.wanted[node, service].note = f"note-{planned.number}"
    began(fault, node, service)
    await deployed(stand, node, fault, "the configuration")
    await answers(stand, node, service, fault)
    yield


def _told(result: JobUpdate | None) -> str:
    return "the node never said how it ended" if result is None else f"{result.status} ({result.status_details})"


# Requests that do harm to their worker


@asynccontextmanager
async def harmful(body: str, stand: Stand, planned: Planned, fault: Fault) -> AsyncIterator[None]:
    """Send a request that its handler does not answer: the gateway must."""
    node, service = place(stand, planned)
    began(fault, node, service)
    status, text = await stand.ask(node, service, body)
    if status != GATEWAY_ANSWERS[body]:
        fault.wrong.append(f"a request {body!r} was answered with {status} ({text}), not {GATEWAY_ANSWERS[body]}")
    yield


# Disks


@asynccontextmanager
async def full_log_disk(stand: Stand, planned: Planned, fault: Fault) -> AsyncIterator[None]:
    """Leave no space for logs."""
    node, _ = place(stand, planned)
    began(fault, node, "logs")
    with filled(stand.log_folder(node)):
        yield


@asynccontextmanager
async def unwritable_state(
    spoiled: Callable[[Path], AbstractContextManager[None]], stand: Stand, planned: Planned, fault: Fault
) -> AsyncIterator[None]:
    """Let the agent save nothing, and give it a job meanwhile: that one may fail, the next one must not."""
    node, service = place(stand, planned)
    wanted = stand.releases.wanted[node, service]
    wanted.component = stand.releases.release(service)
    began(fault, node, service)
    with spoiled(stand.state_folder(node)):
        if await stand.deploy(node, patience_s=15) is None:
            fault.wrong.append("a deployment without a place to save it: the node never said how it ended")
        yield
    fault.ended_ns = time.monotonic_ns()
    wanted.note = f"note-{planned.number}"
    await deployed(stand, node, fault, "the next deployment")


# Links


@asynccontextmanager
async def shaped(host: str | None, words: str, stand: Stand, planned: Planned, fault: Fault) -> AsyncIterator[None]:
    """Let a host's interface carry less, or nothing; None is a node."""
    node = host or place(stand, planned)[0]
    interface = stand.bed.network.get(node).defaultIntf().name
    began(fault, node, "link")
    stand.run_on(node, "tc", "qdisc", "add", "dev", interface, "root", "tbf", *words.split())
    try:
        yield
    finally:
        stand.run_on(node, "tc", "qdisc", "del", "dev", interface, "root")


@asynccontextmanager
async def cut_broker(stand: Stand, planned: Planned, fault: Fault) -> AsyncIterator[None]:
    """Let nothing leave the control host: its bucket is smaller than any packet."""
    host = network.controller_host_name(stand.bed.fabric)
    async with shaped(host, "rate 8kbit burst 10 limit 10", stand, planned, fault):
        yield


# Strangers


@asynccontextmanager
async def hostile(protocol: str, stand: Stand, planned: Planned, fault: Fault) -> AsyncIterator[None]:
    """Have a stranger do harm to a service."""
    service = pick(planned.target, stand.services(protocol))
    spec = stand.service(service)
    command = [sys.executable, "-m", "experiments.chaos.hostile", protocol, str(spec.address), str(spec.port)]
    command += [str(spec.service_id), str(planned.seed), str(HOSTILE_PER_SECOND[protocol])]
    began(fault, STRANGER, service)
    process = stand.bed.start(f"hostile-{protocol}", command, host=STRANGER)
    await asyncio.sleep(0.3)  # until it has started
    try:
        yield
    finally:
        stand.bed.stop(process)


@asynccontextmanager
async def nothing(stand: Stand, planned: Planned, fault: Fault) -> AsyncIterator[None]:
    """Do nothing, where something might have been done."""
    began(fault, *place(stand, planned))
    yield


FAULTS: Mapping[str, Callable[[Stand, Planned, Fault], Context]] = {
    "kill-worker": partial(kill_function, False),
    "kill-supervisor": partial(kill_function, True),
    "kill-gateway": kill_gateway,
    "kill-emitter": kill_emitter,
    "kill-agent": kill_agent,
    "kill-switch": kill_switch,
    "kill-node": machines.kill_node,
    "kill-nodes": machines.kill_nodes,
    "kill-broker": partial(kill_central, "broker", lambda stand: stand.bed.start_broker()),
    "kill-controller": partial(kill_central, "controller", lambda stand: stand.bed.start_controller()),
    "freeze-worker": freeze_worker,
    "freeze-gateway": freeze_gateway,
    "freeze-emitter": freeze_emitter,
    "freeze-node": machines.freeze_node,
    "freeze-switch": machines.freeze_switch,
    "freeze-agent": partial(freeze_process, "agent"),
    "freeze-broker": partial(freeze_process, "broker"),
    "freeze-controller": partial(freeze_process, "controller"),
    "update": update,
    "broken-update": broken_update,
    "concurrency": concurrency,
    "configuration": configuration,
    "poison": partial(harmful, "end"),
    "stuck": partial(harmful, "sleep 3600"),
    "full-log-disk": full_log_disk,
    "full-state-disk": partial(unwritable_state, filled),
    "read-only-state": partial(unwritable_state, read_only),
    "slow-link": partial(shaped, None, "rate 4mbit burst 10kb latency 200ms"),
    "cut-broker": cut_broker,
    "flap-link": flaps.link,
    "flap-address": flaps.address,
    "flap-route": flaps.default_route,
    "hostile-udp": partial(hostile, "udp"),
    "hostile-tcp": partial(hostile, "tcp"),
    "nothing": nothing,
}
assert set(FAULTS) == set(KINDS)
