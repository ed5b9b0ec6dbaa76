"""How busy the machine is that a run is on, from /proc."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from experiments.migration.samples import MachineSample

TICK_MS = 1000 // os.sysconf("SC_CLK_TCK")
LOOK_S = 1.0


def sample(switches: Iterable[int] = ()) -> MachineSample:
    """The machine now; ``switches`` are the processes of the switches."""
    cores = {f"cpu{number}" for number in os.sched_getaffinity(0)}
    total = idle = steal = 0
    for line in Path("/proc/stat").read_text().splitlines():
        name, *numbers = line.split()
        if name in cores:
            ticks = [int(number) for number in numbers[:8]]
            total += sum(ticks)
            idle += ticks[3] + ticks[4]
            steal += ticks[7]
    waits = [wait for pid in switches for wait in _waited_us(pid)]
    return MachineSample(
        time.monotonic_ns(),
        total * TICK_MS,
        idle * TICK_MS,
        steal * TICK_MS,
        _pressure_us(),
        max(waits, default=None),
    )


def _pressure_us() -> int | None:
    with contextlib.suppress(OSError):  # a kernel without it
        for line in Path("/proc/pressure/cpu").read_text().splitlines():
            if line.startswith("some "):
                return int(line.rpartition("total=")[2])
    return None


def _waited_us(pid: int) -> Iterator[int]:
    """How long each thread of a process was runnable and did not run; nothing where the kernel is silent."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            yield int((task / "schedstat").read_text().split()[1]) // 1000
