"""softswitch with no kernel between it and its packets: what the packet path itself costs, whether memory stays flat.

``python -m experiments.bench.inside LIBRARY ROUNDS PACKETS`` prints an `Inside` as JSON: a process of its own, so that
its memory is the switch's.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import sys
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from types import TracebackType

from softswitch.engine.engine import Engine
from softswitch.p4runtime.device import Device
from softswitch.p4runtime.server import P4RuntimeServer

from controller.switches.p4runtime import Connection
from experiments.bench.ratios import ALL_SERVICES, INSTANCES, REFERENCE
from experiments.native.lab import CLIENT_PORT, DEVICE_ID, FIRST_NODE_PORT, Lab, Network, Service
from hitless.steering.policies import Spread
from hitless.words import CPU_PORT, DROP_PORT, SERVICES

MEMBERS = max(INSTANCES.values())
SIZES = [INSTANCES[REFERENCE], *(size for load, size in INSTANCES.items() if load != REFERENCE)]
"""Instances of the first services; the others have as many as the first."""
A_MEASUREMENT = 500_000
"""Packets."""


@dataclass(frozen=True)
class Inside:
    """What was measured inside."""

    cpu_ns: list[dict[str, float]]
    """CPU time a packet by load, of each round."""
    packets: int
    """That the memory was watched over."""
    left: int
    """How many of them were passed on."""
    rss_kib_before: int
    rss_kib_after: int


def services() -> list[Service]:
    """All of a switch's, the first with the numbers of instances that loads are named for."""
    sizes = SIZES + [INSTANCES[REFERENCE]] * (SERVICES - len(SIZES))
    return [Service(index, members, Spread()) for index, members in enumerate(sizes)]


def place(load: str) -> tuple[int, int]:
    """First service and number of services of a load."""
    return (SIZES.index(INSTANCES[load]), 1) if load in INSTANCES else (0, SERVICES)


class InsideLab(Lab):
    """A lab whose switch runs in this process, on packets in memory."""

    def __init__(self, library: ctypes.CDLL) -> None:
        super().__init__("softswitch", MEMBERS, Network(Path(), 1))
        self._library = library

    async def _start_switch(self) -> None:
        make = partial(Engine, cpu_port=CPU_PORT, drop_port=DROP_PORT)
        self.engine = make()
        self._client, self._nodes = (self._attach(port) for port in (CLIENT_PORT, FIRST_NODE_PORT))
        self.engine.start()
        self._server = P4RuntimeServer(Device(DEVICE_ID, self.engine, make, CPU_PORT))
        await self._server.start(self.address)
        self._connection = await Connection(self.target, self.address, DEVICE_ID, self.program.schema()).__aenter__()
        await self.connection.become_primary()
        await self.connection.push()

    def _attach(self, port: int) -> ctypes.c_void_p:
        return ctypes.c_void_p(self._library.memory_attach(self.engine.handle, port))

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await super().__aexit__(kind, error, trace)
        await self._server.stop()
        self.engine.close()

    def announce(self, service: Service) -> None:
        """Let the switch hear of all instances of a service."""
        self._library.memory_reports(self._nodes, service.index, service.members)
        self._feed(self._nodes, service.members)

    def cpu_ns(self, first: int, count: int) -> float:
        """CPU time of the packet thread for a request to one of some services."""
        self._library.memory_requests(self._client, first, count)
        before = self.left()
        took = self._feed(self._client, A_MEASUREMENT) / A_MEASUREMENT
        if self.left() - before != A_MEASUREMENT:
            raise RuntimeError(f"of {A_MEASUREMENT} requests {self.left() - before} were steered")
        return took

    def mixture(self, packets: int) -> None:
        """Feed requests to all services, forged reports and cut frames."""
        self._library.memory_mixture(self._client, SERVICES)
        self._feed(self._client, packets)

    def left(self) -> int:
        """Packets that went to the nodes."""
        return int(self._library.memory_left(self._nodes))

    def _feed(self, port: ctypes.c_void_p, packets: int) -> int:
        return int(self._library.memory_feed(self.engine.handle, port, packets))


async def measure(library: Path, rounds: int, packets: int) -> Inside:
    """Measure the loads in turn, then watch the memory."""
    async with InsideLab(_open(library)) as lab:
        for service in services():
            await lab.write(lab.entries(service))
            lab.announce(service)
        loads = {load: place(load) for load in (*INSTANCES, ALL_SERVICES)}
        costs = [{load: lab.cpu_ns(*where) for load, where in loads.items()} for _ in range(rounds)]
        lab.mixture(packets // 100)
        before, left = rss_kib(), lab.left()
        lab.mixture(packets)
        return Inside(costs, packets, lab.left() - left, before, rss_kib())


def rss_kib() -> int:
    """Resident memory of this process."""
    (line,) = [one for one in Path("/proc/self/status").read_text().splitlines() if one.startswith("VmRSS:")]
    return int(line.split()[1])


def _open(path: Path) -> ctypes.CDLL:
    library = ctypes.CDLL(str(path))
    pointer, u32, u64 = ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint64
    for name, result, *arguments in (
        ("memory_attach", pointer, pointer, u32),
        ("memory_left", u64, pointer),
        ("memory_requests", None, pointer, u32, u32),
        ("memory_mixture", None, pointer, u32),
        ("memory_reports", None, pointer, u32, u32),
        ("memory_feed", u64, pointer, pointer, u64),
    ):
        function = getattr(library, str(name))
        function.restype, function.argtypes = result, arguments
    return library


if __name__ == "__main__":
    path, rounds, packets = sys.argv[1:]
    print(json.dumps(asdict(asyncio.run(measure(Path(path), int(rounds), int(packets))))))
