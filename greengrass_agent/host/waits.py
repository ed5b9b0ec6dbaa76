"""How long the processes of a control group have run, and how long they wanted to and could not.

The kernel counts both for each thread, whatever it waited for: that another had the processor, or that the budget of a
group was used up. Where it keeps pressure stall information (PSI), stalls count as well: of cgroup v2 those of the
group for memory and disks; of v1, which has none by group, those of the machine for memory.
Sources: the kernel's scheduler/sched-stats (/proc/PID/schedstat) and accounting/psi.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import NamedTuple

from greengrass_agent.host.cgroup import Group

LOOK_NS = 250_000_000
"""Between two looks for new threads."""
MEMORY_PRESSURE = Path("/proc/pressure/memory")
_NS_PER_US = 1000


class Wanted(NamedTuple):
    """What threads have wanted so far, in nanoseconds."""

    ran_ns: int
    waited_ns: int
    """In which they wanted to run and could not."""
    at_once: float = 1.0
    """How many of them wanted to at a time since the last reading: what all wanted, by what the busiest did."""


class Waits:
    """Reads what a group's processes have wanted so far. A thread counts from when it is first seen, or from its start
    if that was since the last look; one that has ended keeps what it had."""

    def __init__(self, group: Group) -> None:
        self._group = group
        self._threads: dict[int, int] = {}
        """Open files by thread id."""
        self._seen: dict[int, Wanted] = {}
        self._ran_ns = 0
        self._waited_ns = 0
        self._looked_ns: int | None = None
        self._read_ns = 0
        self._stalls = _pressure_files(group)
        self._stalled_ns = self._stall_ns()

    def read(self, now_ns: int) -> Wanted:
        """So far. To be asked whenever they have run: what the machine is stalled for meanwhile does not touch them."""
        if self._looked_ns is None or now_ns - self._looked_ns >= LOOK_NS:
            self._look(first=self._looked_ns is None)
            self._looked_ns = now_ns
        all_ns = most_ns = 0
        for thread, file in list(self._threads.items()):
            try:
                wanted = parse_schedstat(os.pread(file, 64, 0))
            except OSError:  # it has ended
                self._forget(thread)
                continue
            ran_ns = wanted.ran_ns - self._seen[thread].ran_ns
            waited_ns = wanted.waited_ns - self._seen[thread].waited_ns
            self._ran_ns += ran_ns
            self._waited_ns += waited_ns
            all_ns += ran_ns + waited_ns
            most_ns = max(most_ns, ran_ns + waited_ns)
            self._seen[thread] = wanted
        before_ns, self._stalled_ns = self._stalled_ns, self._stall_ns()
        if self._group.version == 2 or now_ns - self._read_ns <= LOOK_NS:
            self._waited_ns += self._stalled_ns - before_ns
        self._read_ns = now_ns
        return Wanted(self._ran_ns, self._waited_ns, all_ns / most_ns if most_ns else 1.0)

    def close(self) -> None:
        """Close the files."""
        for thread in list(self._threads):
            self._forget(thread)
        for file in self._stalls:
            os.close(file)

    def _look(self, *, first: bool) -> None:
        for thread, path in _threads(self._group):
            if thread in self._threads:
                continue
            # It may end at any time.
            with contextlib.suppress(OSError):
                file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                self._threads[thread] = file
                self._seen[thread] = parse_schedstat(os.pread(file, 64, 0)) if first else Wanted(0, 0)

    def _forget(self, thread: int) -> None:
        os.close(self._threads.pop(thread))
        self._seen.pop(thread, None)

    def _stall_ns(self) -> int:
        total = 0
        for file in self._stalls:
            with contextlib.suppress(OSError):  # PSI can be turned off
                total += parse_pressure(os.pread(file, 256, 0))
        return total


def _threads(group: Group) -> list[tuple[int, Path]]:
    """The group's threads and the files that say what each has wanted."""
    found = []
    # A group that has gone has none; who reads its use says so.
    with contextlib.suppress(OSError):
        for pid in group.all_pids():
            with contextlib.suppress(OSError):
                found += [(int(task.name), task / "schedstat") for task in Path(f"/proc/{pid}/task").iterdir()]
    return found


def _pressure_files(group: Group) -> list[int]:
    if group.version == 2:
        paths = [group.paths["unified"] / f"{what}.pressure" for what in ("memory", "io")]
    else:
        paths = [MEMORY_PRESSURE]
    files = []
    for path in paths:
        with contextlib.suppress(OSError):
            files.append(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
    return files


def parse_schedstat(text: bytes) -> Wanted:
    """What a thread has wanted, by its schedstat: nanoseconds on a processor, and waiting for one."""
    ran, waited, _ = text.split()
    return Wanted(int(ran), int(waited))


def parse_pressure(text: bytes) -> int:
    """Nanoseconds in which at least one process was stalled, by a file of PSI, which counts microseconds."""
    for line in text.splitlines():
        kind, _, rest = line.partition(b" ")
        if kind == b"some":
            return int(rest.rpartition(b"total=")[2]) * _NS_PER_US
    return 0
