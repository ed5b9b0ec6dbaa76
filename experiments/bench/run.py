"""The bench: every target in a network of its own, each measured once a round, so that a slow moment hits all alike."""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from statistics import median
from typing import Any

from softswitch.codegen.cc import RUNTIME
from softswitch.engine.engine import IO

from controller.switches.p4runtime import Program
from experiments.bench import entries, inside, packets, ratios
from experiments.bench.entries import Requests, Writer
from experiments.bench.packets import Load, Programs
from experiments.bench.ratios import (
    ALL_SERVICES,
    BMV2,
    CPU,
    ENTRIES,
    ENTRIES_CPU,
    INSTANCES,
    NULL,
    NULL_AGAIN,
    NULL_XDP,
    P50,
    P99,
    PPS,
    REFERENCE,
    SOFTSWITCH,
    WRITES,
    WRITES_CPU,
    XDP,
    Round,
)
from experiments.native.compiling import SHARED, CompilationFailed, compile_program
from experiments.native.lab import Lab, Network, Service
from experiments.native.namespaces import run
from topologies import targets

HERE = Path(__file__).parent
BMV2_OFFERED = (10_000, 15_000, 20_000, 25_000, 30_000, 40_000, 60_000, 100_000, 200_000)
"""Frames a second tried on BMv2, which forwards less when it is offered too much."""
SHARE_FOR_LATENCY = 0.25
"""Of the null forwarder's peak rate."""


@dataclass(frozen=True)
class Size:
    """How much to measure."""

    rounds: int = 11
    seconds: float = 0.5
    """Of each load in a round."""
    entries: int = 100_000
    single_writes: int = 1000
    packets: int = 10**8
    """Over which memory has to stay flat."""
    offered: tuple[int, ...] = BMV2_OFFERED


async def bench(size: Size, folder: Path, tell: Callable[[str], None]) -> dict[str, Any]:
    """Run the bench; returns and writes the summary. BMv2 is left out where it is not installed."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [name for name in (SOFTSWITCH, BMV2) if targets.missing(name) is None]
    if BMV2 not in names:
        tell(f"no ratios to BMv2: {targets.missing(BMV2)}")
    async with AsyncExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        programs = compile_programs(scratch, tell)
        tell("the packet path inside, and its memory")
        within = await look_inside(scratch, size)
        tell("starting the switches")
        null = forwarder(stack, folder, scratch, "af_packet")
        loads = {NULL: null, **await softswitch(stack, folder, programs, inside.services(), "af_packet")}
        loads[NULL_XDP] = forwarder(stack, folder, scratch, "af_xdp")
        loads[XDP] = (await softswitch(stack, folder, programs, inside.services()[:1], "af_xdp"))[REFERENCE]
        if BMV2 in names:
            loads[BMV2] = await bmv2(stack, folder, programs, size)
        loads[NULL_AGAIN] = null
        writers, requests = await entry_writers(stack, names, folder, scratch, size)
        for name, load in loads.items():
            if name != BMV2:  # which loses some at any rate where other work keeps its threads waiting
                packets.check(name, load, programs)
        rate = await asyncio.to_thread(quarter, loads[NULL], programs, size)
        rounds = []
        for number in range(size.rounds):
            one = await asyncio.to_thread(measure, loads, writers, requests, programs, size.seconds, rate)
            rounds.append(one)
            tell(f"round {number + 1} of {size.rounds}: {described(one)}")
    summary = {
        **ratios.summary(rounds, within.cpu_ns),
        "latency_pps": round(rate),
        "bmv2_offered_pps": loads[BMV2].offered if BMV2 in loads else None,
        "sender": "live frames" if programs.flood else "packet socket",
        "memory": {
            "packets": within.packets,
            "passed_on": within.left,
            "rss_kib_before": within.rss_kib_before,
            "rss_kib_after": within.rss_kib_after,
        },
    }
    (folder / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")
    return summary


def compile_programs(folder: Path, tell: Callable[[str], None]) -> Programs:
    """What loads the switches; without the faster sender where it cannot be had."""
    made = {name: compile_program(folder, name, HERE / f"{name}.c") for name in ("sender", "announce", "latency")}
    flood: Path | None = None
    try:
        flood = compile_program(folder, "flood", HERE / "flood.c")
        run(str(flood), "--check")
    except (CompilationFailed, RuntimeError) as error:
        flood = None
        tell(f"the sender may be slower than the switches, since the kernel cannot make frames: {error}")
    return Programs(made["sender"], made["announce"], made["latency"], flood)


async def look_inside(folder: Path, size: Size) -> inside.Inside:
    """Measure softswitch without a kernel around it, in a process of its own."""
    library = compile_program(folder, "memory_io.so", HERE / "memory_io.c", flags=SHARED)
    command = [sys.executable, "-m", "experiments.bench.inside", str(library), str(size.rounds), str(size.packets)]
    return inside.Inside(**json.loads(await asyncio.to_thread(run, *command)))


def forwarder(stack: AsyncExitStack, folder: Path, scratch: Path, io: str) -> Load:
    """Start a null forwarder."""
    sources = [RUNTIME / f"{one}.c" for one in (*IO, "offload", "qdisc")]
    program = compile_program(scratch, NULL, HERE / "null.c", *sources)
    network = flooded(stack, folder)
    command = [*packets.alone(packets.processors()[1]), str(program), io, *network.interfaces.values()]
    return Load(network, packets.thread_of(network.start(NULL, command, "switch")))


def flooded(stack: AsyncExitStack, folder: Path) -> Network:
    """A network whose switch end of the client's wire takes frames that the kernel makes."""
    network = stack.enter_context(Network(folder, 1))
    network.run(["ethtool", "-K", network.interfaces[1], "gro", "on"], "switch")
    return network


async def softswitch(
    stack: AsyncExitStack, folder: Path, programs: Programs, services: Sequence[Service], io: str
) -> dict[str, Load]:
    """Start softswitch; the loads to put on it."""
    network = flooded(stack, folder)
    lab = Lab(SOFTSWITCH, inside.MEMBERS, network, options=("--io", io), log_level="off")
    await stack.enter_async_context(lab)
    await provision(lab, services, programs)
    thread = packets.thread_of(lab.process, packets.PACKET_THREAD)
    packets.leave_alone(thread, packets.processors()[1])
    return {load: Load(network, thread, *inside.place(load)) for load in (*INSTANCES, ALL_SERVICES)}


async def bmv2(stack: AsyncExitStack, folder: Path, programs: Programs, size: Size) -> Load:
    """Start BMv2; the load to put on it."""
    network = stack.enter_context(Network(folder, 1))
    lab = Lab(BMV2, inside.MEMBERS, network, log_level="off")
    await stack.enter_async_context(lab)
    await provision(lab, inside.services()[:1], programs)
    load = Load(network, None)
    return await asyncio.to_thread(packets.at_its_best, load, lab.process, programs, size.seconds, size.offered)


async def provision(lab: Lab, services: Sequence[Service], programs: Programs) -> None:
    """Give a switch its services, all instances eligible."""
    await lab.write(entry for service in services for entry in lab.entries(service))
    for members, alike in groupby(services, key=lambda service: service.members):
        indices = [service.index for service in alike]
        reports = [str(programs.announce), "n0", str(indices[0]), str(len(indices)), str(members)]
        await asyncio.to_thread(lab.network.run, reports, "nodes")


async def entry_writers(
    stack: AsyncExitStack, names: list[str], folder: Path, scratch: Path, size: Size
) -> tuple[dict[str, Writer], Requests]:
    """Start switches with large tables; clients to write to them, and what to write."""
    program = entries.with_large_tables(Program.compiled(), scratch)
    requests = await asyncio.to_thread(entries.prepare, program.schema(), size.entries, size.single_writes)
    writers = {}
    for name in names:
        network = stack.enter_context(Network(folder, 1))
        lab = await stack.enter_async_context(Lab(name, 0, network, program=program, log_level="off"))
        writers[name] = stack.enter_context(Writer(lab))
    return writers, requests


def quarter(load: Load, programs: Programs, size: Size) -> float:
    """The rate to measure latency at."""
    peak = median(packets.throughput(load, programs, size.seconds).pps for _ in range(3))
    return SHARE_FOR_LATENCY * peak


def measure(
    loads: dict[str, Load],
    writers: dict[str, Writer],
    requests: Requests,
    programs: Programs,
    seconds: float,
    rate: float,
) -> Round:
    """One round."""
    done = {name: packets.throughput(load, programs, seconds) for name, load in loads.items()}
    delays = {
        name: packets.latency(loads[load], programs, seconds, rate)
        for name, load in ((NULL, NULL), (SOFTSWITCH, REFERENCE), (NULL_AGAIN, NULL))
    }
    batches = {name: writer.in_batches(requests) for name, writer in writers.items()}
    singly = {name: writer.singly(requests) for name, writer in writers.items()}
    return {
        PPS: {name: one.pps for name, one in done.items()},
        CPU: {name: one.ns_a_packet for name, one in done.items() if one.ns_a_packet is not None},
        P50: {name: one.p50 for name, one in delays.items()},
        P99: {name: one.p99 for name, one in delays.items()},
        ENTRIES: {name: one.a_second for name, one in batches.items()},
        WRITES: {name: one.a_second for name, one in singly.items()},
        ENTRIES_CPU: {name: one.cpu_us for name, one in batches.items()},
        WRITES_CPU: {name: one.cpu_us for name, one in singly.items()},
    }


def described(one: Round) -> str:
    """A round in a line."""
    parts = [f"{name} {pps / 1000:.0f}k" for name, pps in one[PPS].items()]
    parts += [f"latency {name} {one[P50][name]:.0f}/{one[P99][name]:.0f} µs" for name in one[P50]]
    parts += [f"{name} {one[ENTRIES][name]:.0f} entries/s, {one[WRITES][name]:.0f} writes/s" for name in one[WRITES]]
    return ", ".join(parts)
