"""A CPU budget as a control group of v1 or v2: its size, its use, and the processes in it.

On v1 the controllers cpu (quota) and cpuacct (use), and memory, pids and freezer where limits and pauses are wanted,
are trees of their own in which a group has the same name; on v2 there is one tree. A group is a folder, so everything
here can be tried on plain files.
Source of the file names: the kernel's admin-guide/cgroup-v1/cpuacct, …/freezer-subsystem, scheduler/sched-bwc and
admin-guide/cgroup-v2.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

PAGE = os.sysconf("SC_PAGE_SIZE")
_REMOVE_WAIT_S = 10.0


class CgroupError(Exception):
    """A control group that cannot be used; the message names the file and what to do."""


@dataclass(frozen=True, slots=True)
class Group:
    """One control group."""

    version: Literal[1, 2]
    paths: Mapping[str, Path]
    """v1: the folders in the trees `cpu`, `cpuacct`, maybe `memory`, `pids`, `freezer`; v2: one folder, `unified`."""

    @classmethod
    def unified(cls, path: Path) -> Group:
        """A group of cgroup v2."""
        return cls(2, {"unified": path})

    @classmethod
    def split(cls, cpu: Path, cpuacct: Path, **others: Path) -> Group:
        """A group of cgroup v1; `others` are its folders in the trees `memory`, `pids`, `freezer`."""
        return cls(1, {"cpu": cpu, "cpuacct": cpuacct, **others})

    def child(self, name: str) -> Group:
        """The group of that name below this one; it may not exist yet."""
        return Group(self.version, {tree: path / name for tree, path in self.paths.items()})

    def children(self) -> list[Group]:
        """The groups below this one."""
        names: set[str] = set()
        for path in self.paths.values():
            # A group that has gone meanwhile has none.
            with contextlib.suppress(FileNotFoundError):
                names.update(entry.name for entry in path.iterdir() if entry.is_dir())
        return [self.child(name) for name in sorted(names)]

    def exists(self) -> bool:
        """Whether the group is there in all its trees."""
        return all(path.is_dir() for path in self.paths.values())

    def create(self) -> None:
        """Make the group, if it is not there. Raises CgroupError."""
        for path in self.paths.values():
            try:
                path.mkdir(exist_ok=True)
            except OSError as error:
                raise CgroupError(f"{path}: {error.strerror}: the node's budget must be made first, as root") from error

    def budget_cores(self) -> float:
        """The group's budget in cores: its quota, or all of the machine's without one. Raises CgroupError."""
        try:
            if self.version == 1:
                quota = int((self.paths["cpu"] / "cpu.cfs_quota_us").read_text())
                period = int((self.paths["cpu"] / "cpu.cfs_period_us").read_text())
            else:
                first, second = (self.paths["unified"] / "cpu.max").read_text().split()
                quota, period = -1 if first == "max" else int(first), int(second)
        except (OSError, ValueError) as error:
            raise CgroupError(f"{self}: has no CPU quota to read: {error}") from error
        return quota / period if quota > 0 else float(os.cpu_count() or 1)

    def join_files(self) -> list[Path]:
        """The files into which a pid is written to move that process here."""
        return [path / "cgroup.procs" for path in self.paths.values()]

    def add(self, pid: int) -> None:
        """Move a process here. Raises CgroupError, also when it has ended."""
        for file in self.join_files():
            try:
                file.write_text(f"{pid}\n")
            except OSError as error:
                raise CgroupError(f"{file}: process {pid} cannot join: {error.strerror}") from error

    def pids(self) -> set[int]:
        """The processes in the group itself, not in groups below it."""
        found: set[int] = set()
        for file in self.join_files():
            try:
                found.update(int(line) for line in file.read_text().split())
            except OSError as error:
                # A group that is removed between the opening of its file and the reading is no device any more.
                if error.errno not in (errno.ENOENT, errno.ENODEV):
                    raise
        return found

    def kill(self) -> None:
        """End (SIGKILL) every process here and below, and wait until all have gone. Raises CgroupError after 10 s."""
        if self.all_pids():
            # With v1, what is frozen does not even end. Where nothing can be frozen, nothing is.
            with contextlib.suppress(CgroupError):
                self.freeze(False)
        give_up = time.monotonic() + _REMOVE_WAIT_S
        while pids := self.all_pids():
            for pid in pids:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            if time.monotonic() > give_up:
                raise CgroupError(f"{self}: processes {sorted(pids)} do not end")
            time.sleep(0.002)

    def remove(self) -> None:
        """Remove the group and all below it, ending what still runs there. A group that is not there is no error.

        Raises CgroupError when the kernel refuses for 10 s.
        """
        self.kill()
        for child in self.children():
            child.remove()
        for path in self.paths.values():
            remove_folder(path)

    def weigh(self, times: float) -> None:
        """Have the group get CPU time `times` as much as a group beside it, where both want more than there is.

        Where the group above does not pass the controller on, it weighs what they do. Raises CgroupError.
        """
        if self.version == 1:
            file, one = self.paths["cpu"] / "cpu.shares", 1024
        else:
            file, one = self.paths["unified"] / "cpu.weight", 100
            if not file.exists():
                pass_down(self.paths["unified"].parent, "cpu")
        try:
            if file.exists():
                file.write_text(f"{max(2, round(one * times))}\n")
        except OSError as error:
            raise CgroupError(f"{file}: cannot be set: {error.strerror}") from error

    def freeze(self, frozen: bool) -> None:
        """Have the processes here and below stand still, or go on. Raises CgroupError."""
        if self.version == 2:
            file, word = self.paths["unified"] / "cgroup.freeze", "1" if frozen else "0"
        elif "freezer" in self.paths:
            file, word = self.paths["freezer"] / "freezer.state", "FROZEN" if frozen else "THAWED"
        else:
            raise CgroupError(
                f"{self}: cannot be paused without its folder in the tree freezer (`cgroup` in the settings)"
            )
        try:
            file.write_text(f"{word}\n")
        except OSError as error:
            raise CgroupError(f"{file}: cannot be set: {error.strerror}") from error

    def usage(self) -> Usage:
        """An open reader of the group's CPU use; close it. Raises CgroupError."""
        return Usage(self)

    def memory_bytes(self) -> int:
        """Memory that is the processes' own (resident less shared), of the group and those below it, in bytes."""
        total = 0
        for pid in self.all_pids():
            try:
                _, resident, shared, *_ = Path(f"/proc/{pid}/statm").read_text().split()
            except (OSError, ValueError):
                continue
            total += (int(resident) - int(shared)) * PAGE
        return total

    def all_pids(self) -> set[int]:
        """The processes in the group and in groups below it."""
        return self.pids().union(*(child.all_pids() for child in self.children()))

    def __str__(self) -> str:
        return str(next(iter(self.paths.values())))


class Usage:
    """Reads the CPU time that a group and those below it have used."""

    def __init__(self, group: Group) -> None:
        file = group.paths["cpuacct"] / "cpuacct.usage" if group.version == 1 else group.paths["unified"] / "cpu.stat"
        try:
            self._file = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise CgroupError(f"{file}: {error.strerror}") from error
        self._read = parse_cpuacct_usage if group.version == 1 else parse_cpu_stat

    def read_ns(self) -> int:
        """Nanoseconds of CPU time used so far. Raises CgroupError when the group has gone."""
        try:
            return self._read(os.pread(self._file, 4096, 0))
        except OSError as error:
            raise CgroupError(f"CPU use cannot be read: {error.strerror}") from error

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


def parse_cpuacct_usage(text: bytes) -> int:
    """Nanoseconds in cgroup v1's cpuacct.usage."""
    return int(text)


def parse_cpu_stat(text: bytes) -> int:
    """Nanoseconds in cgroup v2's cpu.stat, which counts microseconds."""
    for line in text.splitlines():
        key, _, value = line.partition(b" ")
        if key == b"usage_usec":
            return int(value) * 1000
    raise CgroupError("cpu.stat has no usage_usec")


def pass_down(folder: Path, controller: str) -> None:
    """Let the groups below have a controller (v2), if this group has it itself and no processes of its own."""
    with contextlib.suppress(OSError):
        (folder / "cgroup.subtree_control").write_text(f"+{controller}\n")


def remove_folder(path: Path) -> None:
    """Remove a group's folder; the kernel says busy for a moment after its last process has ended."""
    give_up = time.monotonic() + _REMOVE_WAIT_S
    while True:
        try:
            path.rmdir()
            return
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno != errno.EBUSY or time.monotonic() > give_up:
                raise CgroupError(f"{path}: cannot be removed: {error.strerror}") from error
        time.sleep(0.002)
