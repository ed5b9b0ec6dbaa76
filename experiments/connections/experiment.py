"""The experiment itself: the fabric up, then one segment after the other, each with a client of its own."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console

from experiments import scenario
from experiments.congestion.experiment import CLIENT, COMPONENTS, FABRIC
from experiments.congestion.ways import STEERED, WORK, written
from experiments.congestion.ways import WAYS as CONGESTION_WAYS
from experiments.connections import client, rows
from experiments.connections.leaving import LEAVING, PROXY_HOST
from experiments.connections.plan import WARM_UP_S, WINDOW_S, Plan, Segment, seconds, segments
from experiments.connections.rows import Done, Move
from experiments.detection.kinds import HERE, THERE
from experiments.machine import as_it_is
from experiments.peers import proxies
from experiments.peers.proxies import PROXIES
from topologies.processes import Process, in_namespace
from topologies.testbed import Testbed, testbed

KEPT, EVERY_S = 20, 0.2
"""Connections that are kept, and from one request of one to the next, on average."""
DOWNLOADS, SIZE, BYTES_A_SECOND = 8, 4_000_000, 1_000_000.0
"""At a time, of how many bytes each, and how fast they are taken."""
PATIENCE_S = 5.0
SERVES_S, ENDS_S = 20.0, 10.0
"""Longest until a load balancer serves, and until a client that was told to has ended."""


async def run(plan: Plan, target: str, folder: Path, console: Console) -> None:
    """Do all of it, or go on with what an earlier run has left in `folder`; rows lie there at any time.

    Raises what `testbed` raises, RuntimeError, PeerMissing, ValueError where `folder` has another plan.
    """
    peers = proxies.versions(proxy for name in plan.ways if (proxy := LEAVING[name].proxy) is not None)
    done = _begun(plan, target, folder, peers)
    todo = list(segments(plan))[len(done) :]
    total = len(done) + len(todo)
    scenario.estimate(console, f"{len(todo)} segments of {plan.moves} moves each", seconds(plan) * len(todo) / total)
    if not todo:
        return
    if done:
        scenario.append(folder / rows.RUN, "machine", **as_it_is())
    fabric = folder / "fabric.yaml"
    fabric.write_text(written(FABRIC.read_text(), CONGESTION_WAYS[STEERED]))
    console.print(f"bringing up {FABRIC.name} with {target}")
    async with testbed(
        fabric, folder / "logs", target=target, clients=[], components=[COMPONENTS], evidence=False
    ) as bed:
        await bed.ready(lambda text: console.print(f"  {text}"))
        for at, one in enumerate(todo, 1):
            with console.status(one.way, spinner="line"):
                said = await _segment(bed, plan, one, folder)
            told = scenario.left(seconds(plan) / total * (len(todo) - at))
            console.print(f"{one.number:5}/{total}  round {one.round:<3} {one.way:<8} {said}{told}", soft_wrap=True)


def _begun(plan: Plan, target: str, folder: Path, peers: dict[str, str]) -> list[Done]:
    """The segments that are done; begins the folder if it is new, and takes away what was not ended."""
    if scenario.begin(folder / rows.RUN, rows.KINDS, {**dataclasses.asdict(plan), "target": target}):
        scenario.append(folder / rows.RUN, "peers", **peers)
        return []
    done = rows.read_done(folder)
    rows.cut(folder, done)
    return done


async def _segment(bed: Testbed, plan: Plan, one: Segment, folder: Path) -> str:
    """One way in one round; what it came to, for people."""
    service = bed.fabric.services[WORK]
    to, moves, nodes = (str(service.address), service.port), [], (HERE, THERE)
    with ExitStack() as running:
        scratch = Path(running.enter_context(tempfile.TemporaryDirectory(prefix="connections-")))
        leaving = LEAVING[one.way](bed, scratch)
        if leaving.proxy is not None:
            address = str(bed.fabric.hosts[HERE].address)
            proxy = bed.start(
                leaving.proxy, PROXIES[leaving.proxy].command(scratch, address), host=PROXY_HOST, nice=-10
            )
            running.callback(bed.stop, proxy)
            to = proxies.ADDRESS, proxies.PORT
            await _serves(bed, to, proxy)
        await leaving.begin(HERE, THERE)
        file = bed.logs / f"client-{one.number:04}.csv"
        load = _client(bed, to, file, plan.seed * 10**6 + one.number)
        running.callback(bed.stop, load)
        await asyncio.sleep(WARM_UP_S)
        for number in range(plan.moves):
            bed.check()
            origin, other = nodes[number % 2], nodes[1 - number % 2]
            moves.append(Move(await leaving.move(origin, other), origin, other))
            await asyncio.sleep(max(0.0, moves[-1].at_ns / 1e9 + WINDOW_S - time.monotonic()))
        ended_ns = time.monotonic_ns()
        load.check()
        load.signal(signal.SIGTERM)
        try:
            await asyncio.to_thread(load.handle.wait, ENDS_S)
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"the client did not end within {ENDS_S:.0f} s; see {load.log}") from None
        await leaving.end(nodes)
    found = rows.read_client(file)
    rows.add(folder, Done(one.number, one.round, one.way, tuple(moves), ended_ns, 0), found)
    file.unlink()
    broken = sum(row.outcome != client.OK for row in found)
    return f"{len(moves)} moves, {len(found)} requests and downloads, {broken} of them not well"


async def _serves(bed: Testbed, to: tuple[str, int], proxy: Process) -> None:
    """Wait until a load balancer passes a request on. Raises RuntimeError, ProcessEnded."""
    deadline = time.monotonic() + SERVES_S
    command = ["curl", "-sf", "-m", "1", "-o", "/dev/null", f"http://{to[0]}:{to[1]}/"]
    line = in_namespace(bed.namespace(CLIENT), command)
    while (await asyncio.to_thread(subprocess.run, line, check=False)).returncode:
        proxy.check()
        if time.monotonic() > deadline:
            raise RuntimeError(f"{proxy.name} does not serve after {SERVES_S:.0f} s; see {proxy.log}")
        await asyncio.sleep(0.05)


def _client(bed: Testbed, to: tuple[str, int], file: Path, seed: int) -> Process:
    told = client.Configuration(*to, str(file), seed, KEPT, EVERY_S, DOWNLOADS, SIZE, BYTES_A_SECOND, PATIENCE_S)
    configuration = bed.logs / "client.json"
    configuration.write_text(json.dumps(dataclasses.asdict(told), indent=1))
    command = [sys.executable, "-m", "experiments.connections.client", str(configuration)]
    return bed.start("client", command, host=CLIENT, nice=-10)
