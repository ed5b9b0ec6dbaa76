"""What the disturbances stand on: what the machine can do, the functions' files, and each node's core."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from experiments.chaos.processes import Part, below
from experiments.detection.kinds import Need
from greengrass_agent.host.cgroup import Group
from topologies.cgroups import Hierarchy
from topologies.testbed import Testbed

DATA = Path("/var/tmp/hitless-detection")
"""Where the components look for their files (their recipes name it): on a disk, if there is one, and open to all."""
BLOCKS = 16 << 20
"""Bytes of the file that the function reads blocks of."""
ROUNDS = 600
"""Of the called function's work, when nothing is wrong."""
BLKIO, READS = "blkio", "blkio.throttle.read_iops_device"
"""The tree of cgroup v1 that limits reads, and the file in which each of its groups says how many a second."""


@dataclass(slots=True)
class Ground:
    """A running fabric under the load of the runs, and what is known of it."""

    bed: Testbed
    per_second: float = 0.0
    """Requests of the load during the runs."""
    cost_ns: dict[str, float] = field(default_factory=dict)
    """CPU time that a request takes in each service it passes."""

    @property
    def cores(self) -> dict[str, int]:
        """The core of each node."""
        mine = sorted(os.sched_getaffinity(0))
        return {node: mine[number % len(mine)] for number, node in enumerate(self.bed.fabric.nodes)}

    def group(self, node: str, service: str) -> Group:
        """The control group of an instance, below its node's budget."""
        return self.bed.hierarchy.node(node).child(self.bed.fabric.services[service].component)

    def parts(self, node: str) -> list[Part]:
        """The processes of a node."""
        return below(self.bed.process(f"agent-{node}").pid)

    def need_cores(self, service: str) -> float:
        """What a service needs of a core under the load."""
        return self.per_second * self.cost_ns[service] / 1e9

    def pin(self) -> None:
        """Let all that runs in a node's budget, and what it starts, run on the node's core only."""
        for node, core in self.cores.items():
            for pid in _inside(self.bed.hierarchy.node(node)):
                with suppress(ProcessLookupError):
                    os.sched_setaffinity(pid, {core})


def _inside(group: Group) -> set[int]:
    return group.pids().union(*(_inside(child) for child in group.children()))


def possibilities(hierarchy: Hierarchy, data: Path) -> frozenset[Need]:
    """What this machine can do of what a kind may need; `data` has the files already."""
    found = set()
    controllers = hierarchy.root / "cgroup.controllers"
    there = controllers.read_text().split() if hierarchy.version == 2 else []
    if len(os.sched_getaffinity(0)) > 1:
        found.add(Need.SECOND_CORE)
    if "memory" in (hierarchy.limits if hierarchy.version == 1 else there):
        found.add(Need.MEMORY_LIMIT)
    if device(data) is not None and _direct(next(data.glob("*/blocks"))):
        found.add(Need.DISK)
    if (hierarchy.root / BLKIO / READS).exists() if hierarchy.version == 1 else "io" in there:
        found.add(Need.DISK_LIMIT)
    return frozenset(found)


def device(path: Path) -> str | None:
    """The disk that a file lies on, as MAJOR:MINOR of the whole disk; None in memory or on what is no one disk."""
    number = path.stat().st_dev
    if os.major(number) == 0:
        return None
    place = Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}").resolve()
    if (place / "partition").exists():
        place = place.parent
    with suppress(OSError):
        return (place / "dev").read_text().strip()
    return None


def _direct(file: Path) -> bool:
    try:
        os.close(os.open(file, os.O_RDONLY | os.O_DIRECT))
    except OSError:
        return False
    return True


@contextmanager
def files(nodes: Iterable[str], data: Path = DATA) -> Iterator[Path]:
    """Make the functions' files, a folder for each node, for the time of the block. Raises OSError."""
    with suppress(FileNotFoundError):
        shutil.rmtree(data)
    data.mkdir(mode=0o755)
    try:
        for node in nodes:
            folder = data / node
            folder.mkdir(mode=0o755)
            with (folder / "blocks").open("wb") as file:
                file.write(os.urandom(BLOCKS))
                os.fsync(file.fileno())
            (folder / "rounds").write_text(f"{ROUNDS}\n")
        yield data
    finally:
        shutil.rmtree(data, ignore_errors=True)


@contextmanager
def replaced(file: Path, value: str, undone: str | None = None) -> Iterator[None]:
    """Have another value in a file for the time of the block; then `undone`, or what was there. Raises OSError."""
    before = file.read_text() if undone is None else undone
    file.write_text(value)
    try:
        yield
    finally:
        with suppress(FileNotFoundError, OSError):  # its group has gone, and the value with it
            file.write_text(before)
