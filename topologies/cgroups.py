"""CPU budgets of the topology's nodes: a control group each, with a leaf per instance and one for competing work.

`<root>/hitless/<node>/` has the quota, its leaves have the processes. cgroup v1 and v2; see greengrass_agent/cgroup.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from greengrass_agent.cgroup import CgroupError, Group

PERIOD_US = 10_000
"""Period of the quota: short, so that a throttled function waits milliseconds and not a tenth of a second."""
TOP = "hitless"
OTHER = "other"
"""Leaf of a node for work that competes with its functions."""
ROOT = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """Where control groups live on this machine, and which kind they are."""

    version: Literal[1, 2]
    root: Path
    """v1: the folder that holds the trees cpu and cpuacct; v2: the top of the one tree."""

    @classmethod
    def detect(cls, mounts: str | None = None) -> Hierarchy:
        """Find the hierarchy with a usable cpu controller. `mounts` is /proc/mounts by default. Raises CgroupError."""
        table = Path("/proc/mounts").read_text() if mounts is None else mounts
        unified: Path | None = None
        for line in table.splitlines():
            _, where, kind, options, *_ = line.split()
            # Debian mounts cpu and cpuacct together and links both names to it.
            if kind == "cgroup" and "cpu" in options.split(","):
                return cls(1, Path(where).parent)
            if kind == "cgroup2" and unified is None:
                unified = Path(where)
        if unified is None:
            raise CgroupError("no cgroup file system is mounted: mount -t cgroup2 none /sys/fs/cgroup")
        return cls(2, unified)

    @property
    def top(self) -> Group:
        """The group under which all nodes have theirs."""
        if self.version == 1:
            return Group.split(self.root / "cpu" / TOP, self.root / "cpuacct" / TOP)
        return Group.unified(self.root / TOP)


@dataclass(frozen=True, slots=True)
class Budget:
    """A node's CPU budget. Processes belong into its leaves, never into the group itself."""

    group: Group
    cores: float
    """Its size; of one core 1.0."""

    def leaf(self, name: str = OTHER) -> Group:
        """The leaf of that name: `other` for competing work, a component's name for an instance."""
        return self.group.child(name)

    def usage_ns(self, leaf: str | None = None) -> int:
        """Nanoseconds of CPU time used so far by the whole node, or by one leaf. Raises CgroupError."""
        usage = (self.group if leaf is None else self.leaf(leaf)).usage()
        try:
            return usage.read_ns()
        finally:
            usage.close()

    def as_dict(self) -> dict[str, Any]:
        """The budget as the agent's configuration names it (`cgroup`)."""
        return {"version": self.group.version, "paths": {tree: str(path) for tree, path in self.group.paths.items()}}

    def remove(self) -> None:
        """Take the budget away, with all that runs in it. One that is gone is no error. Raises CgroupError."""
        self.group.remove()


def create(node: str, *, cores: float, leaves: Iterable[str] = (OTHER,), hierarchy: Hierarchy | None = None) -> Budget:
    """Give a node a budget of `cores` and leaves for its processes.

    A group that is there already gets the new budget. Raises CgroupError.
    """
    tree = hierarchy or Hierarchy.detect()
    group = tree.top.child(node)
    if tree.version == 2:
        _delegate_cpu(tree.root)
    tree.top.create()
    if tree.version == 2:
        _delegate_cpu(tree.top.paths["unified"])
    group.create()
    _set_quota(group, cores)
    if tree.version == 2:
        _delegate_cpu(group.paths["unified"])
    for leaf in leaves:
        group.child(leaf).create()
    return Budget(group, cores)


def remove_leftovers(hierarchy: Hierarchy | None = None) -> list[str]:
    """Remove every budget, with all that runs in it; returns what was done, a line each. Raises CgroupError."""
    top = (hierarchy or Hierarchy.detect()).top
    done = [f"removed CPU budget {group}" for group in top.children()]
    top.remove()
    return done


def _set_quota(group: Group, cores: float) -> None:
    quota = round(cores * PERIOD_US)
    if quota < 1000:
        raise CgroupError(f"{group}: a budget of {cores:g} cores is too small, expected at least {1000 / PERIOD_US:g}")
    try:
        if group.version == 1:
            # Lifting the old quota first lets any new pair of period and quota be set.
            (group.paths["cpu"] / "cpu.cfs_quota_us").write_text("-1\n")
            (group.paths["cpu"] / "cpu.cfs_period_us").write_text(f"{PERIOD_US}\n")
            (group.paths["cpu"] / "cpu.cfs_quota_us").write_text(f"{quota}\n")
        else:
            (group.paths["unified"] / "cpu.max").write_text(f"{quota} {PERIOD_US}\n")
    except OSError as error:
        raise CgroupError(f"{group}: the quota cannot be set: {error.strerror}") from error


def _delegate_cpu(folder: Path) -> None:
    """Let the groups below `folder` have budgets (cgroup v2)."""
    file = folder / "cgroup.subtree_control"
    try:
        if "cpu" not in file.read_text().split():
            file.write_text("+cpu\n")
    except OSError as error:
        raise CgroupError(f"{file}: the cpu controller cannot be passed down: {error.strerror}") from error
