"""Softswitch's queues and links: how exact they are under load, and what they cost, beside a switch that has none.

Switches in networks of their own, measured in alternation: one whose ports nobody has ever set, and two that are set
anew before each measurement.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from experiments.bench import inside, packets
from experiments.bench.packets import Load, Programs
from experiments.bench.ratios import REFERENCE, SOFTSWITCH
from experiments.native.lab import CLIENT_PORT, FIRST_NODE_PORT, Lab, Network
from experiments.native.namespaces import run

DELAY_US = 1000
RATES_MBIT = (10, 100)
"""Below what a switch passes on of short frames, so that the port's queue is always full."""
SHARE_OF_PEAK = 0.5
NOTHING = ("--delay", "0", "--rate", "0")
MODES: Mapping[str, tuple[int, tuple[str, ...]]] = {
    "idle": (CLIENT_PORT, ("--delay", "1ms")),
    "queue": (FIRST_NODE_PORT, ("--queue-depth", "64")),
    "link": (FIRST_NODE_PORT, ("--delay", f"{DELAY_US}us")),
}
"""What costs: that another port has a link, that the port has a queue in which nothing waits, that it has a delay. Each
leaves behind what it sets but for the delay, so they come in this order, in a switch of their own."""
BOUNDS = {"delay_error_p99_us": 50.0, **{f"rate_error_{rate}mbit": 0.01 for rate in RATES_MBIT}}

Round = dict[str, float]


@dataclass(frozen=True)
class Switch:
    """One under measurement."""

    lab: Lab
    load: Load

    def set(self, port: int, *options: str) -> None:
        """`softswitch port set`."""
        address = self.lab.address
        run(sys.executable, "-m", "softswitch", "port", "set", str(port), *options, "--grpc-server-addr", address)


async def bench_queues(
    rounds: int, seconds: float, folder: Path, compiled: Callable[[Path], Programs], tell: Callable[[str], None]
) -> dict[str, Any]:
    """The part of the summary about queues and links."""
    async with AsyncExitStack() as stack:
        programs = compiled(Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-queues-"))))
        off, shaped, costs = [await _switch(stack, folder, programs) for _ in range(3)]
        # Half of what a switch with the delay carries: beyond, packets wait for its processor as well.
        await asyncio.to_thread(shaped.set, FIRST_NODE_PORT, *NOTHING, "--delay", f"{DELAY_US}us")
        peak = median(packets.throughput(shaped.load, programs, seconds).pps for _ in range(3))
        done = []
        for number in range(rounds):
            one = await asyncio.to_thread(_accuracy, off, shaped, programs, seconds, SHARE_OF_PEAK * peak)
            one |= await asyncio.to_thread(_costs, off, costs, programs, seconds)
            done.append(one)
            tell(f"queues, round {number + 1} of {rounds}: " + ", ".join(f"{k} {v:.3g}" for k, v in one.items()))
    ratios = {name: median(one[name] for one in done) for name in done[0]}
    # of a cost the least is the worst, of an error and of CPU time the most
    worst = {f"{name}_worst": (min if name.startswith("pps_") else max)(one[name] for one in done) for name in done[0]}
    kept = {name: ratios[name] <= bound for name, bound in BOUNDS.items()}
    return {"ratios": ratios | worst, "rounds": done, "latency_pps": round(SHARE_OF_PEAK * peak), "within": kept}


async def _switch(stack: AsyncExitStack, folder: Path, programs: Programs) -> Switch:
    network = stack.enter_context(Network(folder, 1))
    network.run(["ethtool", "-K", network.interfaces[CLIENT_PORT], "gro", "on"], "switch")
    lab = await stack.enter_async_context(Lab(SOFTSWITCH, inside.MEMBERS, network, log_level="off"))
    service = inside.services()[0]
    await lab.write(lab.entries(service))
    reports = [str(programs.announce), "n0", str(service.index), "1", str(service.members)]
    await asyncio.to_thread(network.run, reports, "nodes")
    thread = packets.thread_of(lab.process, packets.PACKET_THREAD)
    packets.leave_alone(thread, packets.processors()[1])
    return Switch(lab, Load(network, thread, *inside.place(REFERENCE)))


def _accuracy(off: Switch, shaped: Switch, programs: Programs, seconds: float, rate: float) -> Round:
    """How far off a delay and a rate are. Errors of a delay are what it takes beyond it and the median without it."""
    plain = packets.latency(off.load, programs, seconds, rate)
    shaped.set(FIRST_NODE_PORT, *NOTHING, "--delay", f"{DELAY_US}us")
    delayed = packets.latency(shaped.load, programs, seconds, rate)
    found = {
        "latency_p50_us": plain.p50,
        "latency_p99_us": plain.p99,
        "delay_error_p50_us": abs(delayed.p50 - DELAY_US - plain.p50),
        "delay_error_p99_us": abs(delayed.p99 - DELAY_US - plain.p50),
    }
    for mbit in RATES_MBIT:
        shaped.set(FIRST_NODE_PORT, *NOTHING, "--rate", f"{mbit}Mbit")
        counted = shaped.load.network
        before = counted.received()
        pps = packets.throughput(shaped.load, programs, seconds).pps
        octets, frames = (after - then for after, then in zip(counted.received(), before, strict=True))
        found[f"rate_error_{mbit}mbit"] = abs(pps * octets / frames * 8 / (mbit * 10**6) - 1)
    return found


def _costs(off: Switch, costs: Switch, programs: Programs, seconds: float) -> Round:
    """Packets a second, and the packet thread's time for each, to those of a switch without."""
    plain = packets.throughput(off.load, programs, seconds)
    found = {}
    for mode, (port, options) in MODES.items():
        costs.set(port, *options)
        one = packets.throughput(costs.load, programs, seconds)
        costs.set(port, *NOTHING)
        found[f"pps_{mode}_vs_off"] = one.pps / plain.pps
        if one.ns_a_packet and plain.ns_a_packet:
            found[f"cpu_{mode}_vs_off"] = one.ns_a_packet / plain.ns_a_packet
    return found
