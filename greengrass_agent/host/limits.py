"""What a component may use at most, written to its control group (v1 or v2).

Source of the file names: the kernel's admin-guide/cgroup-v1/{memory,pids}, scheduler/sched-bwc, admin-guide/cgroup-v2.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from greengrass_agent.host.cgroup import CgroupError, Group

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
            self._apply_v1(group)
        else:
            self._apply_v2(group.paths["unified"])

    def _apply_v1(self, group: Group) -> None:
        if "memory" in group.paths:
            folder = group.paths["memory"]
            with_swap = folder / "memory.memsw.limit_in_bytes"  # only where the kernel counts swap
            limit = -1 if self.memory_bytes is None else self.memory_bytes
            if with_swap.exists():
                _write(with_swap, -1)  # it is never below the other
            _write(folder / "memory.limit_in_bytes", limit)
            if with_swap.exists():
                _write(with_swap, limit)
        elif self.memory_bytes is not None:
            raise CgroupError(f"{group}: no memory limit is possible: name the folder of the tree `memory` in `cgroup`")
        period, quota = self._quota(group)
        _write(group.paths["cpu"] / "cpu.cfs_quota_us", -1)  # so that the period may be anything
        _write(group.paths["cpu"] / "cpu.cfs_period_us", period)
        _write(group.paths["cpu"] / "cpu.cfs_quota_us", -1 if quota is None else quota)
        if "pids" in group.paths:
            _write(group.paths["pids"] / "pids.max", "max" if self.processes is None else self.processes)

    def _apply_v2(self, folder: Path) -> None:
        period, quota = self._quota(None)
        for name, value in (
            ("memory.max", self.memory_bytes),
            ("memory.swap.max", None if self.memory_bytes is None else 0),
            ("cpu.max", None if quota is None else f"{quota} {period}"),
            ("pids.max", self.processes),
        ):
            # The files are there if the group above passes the controller on. The kernel may not count swap at all.
            optional = value is None or name in ("memory.swap.max", "pids.max")
            if (folder / name).exists() or not optional:
                _write(folder / name, "max" if value is None else value)

    def _quota(self, above: Group | None) -> tuple[int, int | None]:
        """Period and quota in µs. A quota above that of the group that `above` lies in is not taken by v1."""
        if self.cpus is None:
            return PERIOD_US, None
        period = PERIOD_US if self.cpus * PERIOD_US >= 1000 else LONG_PERIOD_US
        cores = self.cpus if above is None else min(self.cpus, above.parent().budget_cores())
        return period, max(1000, int(cores * period))


def _write(file: Path, value: int | str) -> None:
    try:
        file.write_text(f"{value}\n")
    except OSError as error:
        reason = f"{error.strerror}: does the node's group pass this controller on?"
        raise CgroupError(f"{file}: cannot be set to {value}: {reason}") from error
