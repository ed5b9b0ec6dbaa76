"""The bench: every target in a network of its own, each measured once a round, so that a slow moment hits all alike."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from controller.entries import Act
from experiments.bench import ratios
from experiments.bench.ratios import ALL_SERVICES, BMV2, INSTANCES, NULL, NULL_AGAIN, REFERENCE, Round
from experiments.native.compiling import compile_program
from experiments.native.lab import OFF, Lab, Network, Service
from softswitch.compiler import RUNTIME
from topologies import targets

HERE = Path(__file__).parent
SERVICES = 256
MEMBERS = 64
SPREAD = Act("spread", (("load_penalty", OFF),))
BMV2_OFFERED = 200_000
"""Frames a second offered to BMv2: far more than it forwards, and it keeps a core for its own threads."""
TRIAL_FRAMES_PER_SECOND = 2000
SETTLE_S = 0.1
"""After a load, for what is still queued."""


@dataclass(frozen=True)
class Load:
    """Requests to services `first` to `first + count - 1`, `offered` a second (0: as many as the sender can)."""

    network: Network
    first: int
    count: int
    offered: int = 0


class NotSteered(Exception):
    """A switch under test loses requests that it has all the time in the world for."""


async def run(rounds: int, seconds: float, folder: Path, tell: Callable[[int, Round], None]) -> dict[str, Any]:
    """Run the bench; returns and writes the summary. BMv2 is left out where it is not installed."""
    folder.mkdir(parents=True, exist_ok=True)
    programs = {name: compile_program(folder, name, HERE / f"{name}.c") for name in ("sender", "announce")}
    programs[NULL] = compile_program(folder, NULL, HERE / "null.c", RUNTIME / "af_packet.c")
    measured: list[Round] = []
    async with AsyncExitStack() as stack:
        null = stack.enter_context(Network(folder, 1))
        null.start(NULL, [str(programs[NULL]), *null.interfaces.values()], "switch")
        loads = {NULL: Load(null, 0, 1)}
        names = [name for name in ("softswitch", BMV2) if targets.missing(name) is None]
        for name in names:
            network = stack.enter_context(Network(folder, 1))
            lab = await stack.enter_async_context(Lab(name, MEMBERS, network))
            loads |= await provision(lab, programs["announce"])
        loads[NULL_AGAIN] = loads[NULL]
        for name, load in loads.items():
            check(name, load, programs["sender"])
        for number in range(rounds):
            one = {
                name: await asyncio.to_thread(rate, load, programs["sender"], seconds) for name, load in loads.items()
            }
            measured.append(one)
            tell(number, one)
    for program in programs.values():
        program.unlink()
    summary = {"seconds_a_load": seconds, **ratios.summary(measured)}
    (folder / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")
    return summary


async def provision(lab: Lab, announce: Path) -> dict[str, Load]:
    """Give a switch its services, all instances eligible; the loads to put on it."""
    if lab.target == BMV2:
        services = [Service(0, INSTANCES[REFERENCE], SPREAD)]
        loads = {BMV2: Load(lab.network, 0, 1, BMV2_OFFERED)}
    else:
        special = [REFERENCE, *(load for load in INSTANCES if load != REFERENCE)]
        sizes = [INSTANCES[load] for load in special] + [INSTANCES[REFERENCE]] * (SERVICES - len(special))
        services = [Service(index, members, SPREAD) for index, members in enumerate(sizes)]
        loads = {load: Load(lab.network, special.index(load), 1) for load in INSTANCES}
        loads[ALL_SERVICES] = Load(lab.network, 0, SERVICES)
    await lab.write(entry for service in services for entry in lab.entries(service))
    for members, alike in groupby(services, key=lambda service: service.members):
        indices = [service.index for service in alike]
        reports = [str(announce), "n0", str(indices[0]), str(len(indices)), str(members)]
        await asyncio.to_thread(lab.network.run, reports, "nodes")
    return loads


def check(name: str, load: Load, sender: Path) -> None:
    """Raise NotSteered unless all of a light load comes out."""
    before = load.network.arrived()
    sent = send(load, sender, 0.5, TRIAL_FRAMES_PER_SECOND)
    time.sleep(SETTLE_S)
    arrived = load.network.arrived() - before
    if arrived != sent:
        raise NotSteered(f"{name}: of {sent} requests at {TRIAL_FRAMES_PER_SECOND} a second {arrived} came out")


def rate(load: Load, sender: Path, seconds: float) -> float:
    """Packets a second that come out under the load."""
    before, started = load.network.arrived(), time.monotonic()
    send(load, sender, seconds, load.offered)
    arrived, ended = load.network.arrived(), time.monotonic()
    time.sleep(SETTLE_S)
    return (arrived - before) / (ended - started)


def send(load: Load, sender: Path, seconds: float, offered: int) -> int:
    """Send; returns how many frames."""
    arguments = [str(sender), "c", str(seconds), str(offered), str(load.first), str(load.count)]
    return int(load.network.run(arguments, "client"))
