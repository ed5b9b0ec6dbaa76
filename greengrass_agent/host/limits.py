"""What a script of a component may use at most, written to a control group (v1 or v2).

Source of the file names: the kernel's admin-guide/cgroup-v1/{memory,pids}, scheduler/sched-bwc, admin-guide/cgroup-v2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Final

from greengrass_agent.host.cgroup import CgroupError, Group, pass_down

PERIOD_US = 10_000
"""Of the CPU limit: short, so that a component that has reached it waits milliseconds, as with a node's budget."""
LONG_PERIOD_US = 100_000
"""For less than a tenth of a core: the kernel takes no quota below 1 ms."""


@dataclass(frozen=True, slots=True)
class Limits:
    """None: as much as the node has."""

    memory_bytes: int | None = None
    cpus: float | None = None
    """Cores."""
    processes: int | None = None
    """Processes and threads at a time."""

    def apply(self, group: Group) -> None:
        """Hold a group and those below it to the limits, in place of earlier ones. Raises CgroupError.

        Where the node's groups have no controller of processes, these are not limited.
        """
        if group.version == 1:
            self._apply_v1(group.paths)
        else:
            self._apply_v2(group.paths["unified"])

    def _apply_v1(self, paths: Mapping[str, Path]) -> None:
        if "memory" in paths:
            folder = paths["memory"]
            with_swap = folder / "memory.memsw.limit_in_bytes"  # only where the kernel counts swap
            limit = -1 if self.memory_bytes is None else self.memory_bytes
            if with_swap.exists():
                _write(with_swap, -1)  # it is never below the other
            _write(folder / "memory.limit_in_bytes", limit)
            if with_swap.exists():
                _write(with_swap, limit)
        elif self.memory_bytes is not None:
            raise CgroupError(
                f"{paths['cpu']}: no limit of memory: name the folder in the tree `memory` in the agent's `cgroup`"
            )
        cpu = paths["cpu"]
        period, quota = self._quota(_cores_above(cpu))
        _write(cpu / "cpu.cfs_quota_us", -1)  # so that the period may be anything
        _write(cpu / "cpu.cfs_period_us", period)
        _write(cpu / "cpu.cfs_quota_us", -1 if quota is None else quota)
        if "pids" in paths:
            _write(paths["pids"] / "pids.max", "max" if self.processes is None else self.processes)

    def _apply_v2(self, folder: Path) -> None:
        period, quota = self._quota(inf)
        for name, value in (
            ("memory.max", self.memory_bytes),
            ("memory.swap.max", None if self.memory_bytes is None else 0),
            ("cpu.max", None if quota is None else f"{quota} {period}"),
            ("pids.max", self.processes),
        ):
            file = folder / name
            if value is not None and not file.exists():
                pass_down(folder.parent, name.partition(".")[0])
            # Without a limit there may be no file, and the kernel may count neither swap nor processes.
            if file.exists() or (value is not None and name in ("memory.max", "cpu.max")):
                _write(file, "max" if value is None else value)

    def _quota(self, above: float) -> tuple[int, int | None]:
        """Period and quota in µs, where no more than `above` cores can be had."""
        if self.cpus is None:
            return PERIOD_US, None
        cores = min(self.cpus, above)
        period = PERIOD_US if cores * PERIOD_US >= 1000 else LONG_PERIOD_US
        return period, max(1000, int(cores * period))


UNLIMITED: Final = Limits()
"""As much as the node has."""


def _cores_above(folder: Path) -> float:
    """The least that the groups above `folder` have: v1 takes no quota beyond it."""
    least = inf
    for above in folder.parents:
        try:
            quota = int((above / "cpu.cfs_quota_us").read_text())
            period = int((above / "cpu.cfs_period_us").read_text())
        except FileNotFoundError:
            break
        if quota > 0:
            least = min(least, quota / period)
    return least


def _write(file: Path, value: int | str) -> None:
    try:
        file.write_text(f"{value}\n")
    except OSError as error:
        reason = f"{error.strerror}: does the node's group pass this controller on?"
        raise CgroupError(f"{file}: cannot be set to {value}: {reason}") from error
