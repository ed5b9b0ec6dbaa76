"""Packets a second, CPU time a packet and one-way latency of a switch in a network of its own."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import sleep

from experiments.native.lab import REAL_TIME, Network
from experiments.native.namespaces import run
from topologies.processes import Process

PACKET_THREAD = "packets"
"""What softswitch calls the thread that moves packets."""
POLICIES = (("--other", "0"), ("--rr", "10"))
"""How a switch of many threads may be scheduled: like anything else, or ahead of that and its threads in turn."""
AS_MANY_AS_IT_CAN = 0
TRIAL_FRAMES_PER_SECOND = 2000
SETTLE_S = 0.05
"""After a load, for what is still queued."""
LONG_SETTLE_S = 0.2
"""The same where much may be."""


class NotSteered(Exception):
    """A switch under test passes on nothing, or loses requests that it has all the time in the world for."""


@dataclass(frozen=True)
class Programs:
    """The native programs that load a switch."""

    sender: Path
    announce: Path
    latency: Path
    flood: Path | None
    """Only where the kernel can make frames itself."""


@dataclass(frozen=True)
class Load:
    """Requests to services `first` to `first + count - 1`.

    `offered`: how many a second; of several rates, the one counts at which most comes out; () sends as many as it can.
    """

    network: Network
    thread: Path | None
    """Of the thread that moves the packets, in /proc; None if there are several."""
    first: int = 0
    count: int = 1
    offered: tuple[int, ...] = ()


@dataclass(frozen=True)
class Throughput:
    """What a switch did under a load."""

    pps: float
    """Packets a second that came out."""
    ns_a_packet: float | None
    """CPU time of the packet thread for each packet that came out."""


@dataclass(frozen=True)
class Latency:
    """One-way latencies, in µs."""

    p50: float
    p99: float
    lost: int


def processors() -> tuple[int, int]:
    """One for what loads a switch, one for the switch's packet thread. Raises RuntimeError when there is one only."""
    mine = sorted(os.sched_getaffinity(0))
    if len(mine) < 2:
        raise RuntimeError("the bench needs two processors: one to load a switch, one for the switch")
    return mine[0], mine[1]


def alone(processor: int) -> tuple[str, ...]:
    """What goes before a command so that it has a processor to itself as far as that can be had."""
    return *REAL_TIME, "taskset", "--cpu-list", str(processor)


def leave_alone(thread: Path, processor: int) -> None:
    """The same for one thread that runs already."""
    run("taskset", "--cpu-list", "--pid", str(processor), thread.name)
    run("chrt", "--fifo", "--pid", "10", thread.name)


def thread_of(process: Process, name: str | None = None) -> Path:
    """The first thread of a process, or the one with a name. Raises RuntimeError if there is none."""
    for task in Path(f"/proc/{process.handle.pid}/task").iterdir():
        if name is None or (task / "comm").read_text().strip() == name:
            return task
    raise RuntimeError(f"{process.name}: no thread {name}")


def throughput(load: Load, programs: Programs, seconds: float) -> Throughput:
    """Load a switch for some seconds, at each rate offered. Raises NotSteered if nothing comes out."""
    before, cpu_before = load.network.arrived(), _cpu_ns(load.thread)
    if load.offered:
        pps = max(_pps_settled(load, programs.sender, seconds, offered) for offered in load.offered)
    elif programs.flood is None:
        pps = _pps(load, programs.sender, seconds, AS_MANY_AS_IT_CAN)
    else:
        pps = _pps(load, programs.flood, seconds)
    if not pps:
        raise NotSteered("nothing comes out under load")
    sleep(SETTLE_S)
    arrived, cpu = load.network.arrived() - before, _cpu_ns(load.thread) - cpu_before
    return Throughput(pps, None if load.thread is None else cpu / max(arrived, 1))


def at_its_best(load: Load, process: Process, programs: Programs, seconds: float, rates: Sequence[int]) -> Load:
    """Schedule a switch so, and load it at such a rate, that most comes out; and at lower rates too, as that one may
    be on the edge. Raises NotSteered if nothing does."""
    tried = []
    for policy in POLICIES:
        schedule(process, policy)
        tried += [(_pps_settled(load, programs.sender, seconds, rate), rate, policy) for rate in rates]
    pps, rate, policy = max(tried)
    if not pps:
        raise NotSteered(f"{process.name}: nothing comes out at any rate")
    schedule(process, policy)
    return replace(load, offered=tuple(rate * fifths // 5 for fifths in (2, 3, 4, 5)))


def schedule(process: Process, policy: tuple[str, str]) -> None:
    """Change how all threads of a process are scheduled."""
    kind, priority = policy
    run("chrt", "--all-tasks", kind, "--pid", priority, str(process.handle.pid))


def latency(load: Load, programs: Programs, seconds: float, rate: float) -> Latency:
    """One-way latency at a rate in frames a second. Raises NotSteered if nothing comes out."""
    sent, arrived, p50, p99 = map(int, _run(load, programs.latency, seconds, rate))
    if not arrived:
        raise NotSteered(f"of {sent} requests none comes out")
    return Latency(p50 / 1000, p99 / 1000, sent - arrived)


def check(name: str, load: Load, programs: Programs) -> None:
    """Raise NotSteered unless all of a light load comes out."""
    try:
        lost = latency(load, programs, 0.3, TRIAL_FRAMES_PER_SECOND).lost
    except NotSteered as error:
        raise NotSteered(f"{name}: {error}") from error
    if lost:
        raise NotSteered(f"{name}: {lost} requests of a light load did not come out")


def _pps(load: Load, program: Path, seconds: float, *rate: float) -> float:
    return float(_run(load, program, seconds, *rate)[0])


def _pps_settled(load: Load, program: Path, seconds: float, rate: float) -> float:
    """What was queued under the load must not add to the next one's."""
    pps = _pps(load, program, seconds, rate)
    sleep(LONG_SETTLE_S)
    return pps


def _run(load: Load, program: Path, seconds: float, *more: float) -> Sequence[str]:
    network = load.network
    services = [str(load.first), str(load.count)]
    nodes = [str(network.namespace("nodes")), "n0", str(seconds)]
    command = [*alone(processors()[0]), str(program), "c", *services, *nodes, *map(str, more)]
    return network.run(command, "client").split()


def _cpu_ns(thread: Path | None) -> int:
    return 0 if thread is None else int((thread / "schedstat").read_text().split()[0])
