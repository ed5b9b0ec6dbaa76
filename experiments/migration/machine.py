"""The machine that a run is on: what it is, and how busy it is, from /proc."""

from __future__ import annotations

import contextlib
import os
import platform
import subprocess
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from experiments.migration.samples import MachineSample
from topologies.testbed import REPOSITORY_ROOT

TICK_MS = 1000 // os.sysconf("SC_CLK_TCK")
LOOK_S = 1.0


@dataclass(frozen=True)
class Facts:
    """What does not change in a run."""

    cores: int
    """That the run may use."""
    cpu: str
    kernel: str
    python: str
    commit: str
    """Of this repository; with `+` if files differ from it; empty if it is none."""

    def as_row(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def facts() -> Facts:
    """Of the machine that this runs on."""
    model = ""
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return Facts(
        len(os.sched_getaffinity(0)),
        model or platform.machine(),
        platform.release(),
        platform.python_version(),
        _commit(),
    )


def _commit() -> str:
    def git(*words: str) -> str:
        command = ["git", "-c", f"safe.directory={REPOSITORY_ROOT}", "-C", str(REPOSITORY_ROOT), *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else ""

    try:
        commit = git("rev-parse", "HEAD")
        return f"{commit}+" if commit and git("status", "--porcelain", "--untracked-files=no") else commit
    except FileNotFoundError:
        return ""


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
