"""Budgets of the topology's nodes: a control group each, with a leaf per instance and one for competing work.

`<root>/hitless/<node>/` has the quota, its leaves have the processes. See greengrass_agent/host/cgroup.py.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from greengrass_agent.host.cgroup import CgroupError, Group

PERIOD_US = 10_000
"""Period of the quota: short, so that a throttled function waits milliseconds and not a tenth of a second."""
FAVOUR = 10
"""How many times more the nodes weigh than another process that the scheduler chooses from: like nice -10.

They never have more than their budgets.
"""
TOP = "hitless"
OTHER = "other"
"""Leaf of a node for work that competes with its functions."""
LIMITS = ("memory", "pids", "freezer")
"""Controllers by which an agent limits its components, and pauses them; cgroup v2 pauses without one."""


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """Where control groups live on this machine, and which kind they are."""

    version: Literal[1, 2]
    root: Path
    """v1: the folder that holds the trees cpu and cpuacct; v2: the top of the one tree."""
    limits: tuple[str, ...] = ()
    """v1: which of the trees memory, pids and freezer are there too."""

    @classmethod
    def detect(cls, mounts: str | None = None) -> Hierarchy:
        """Find the hierarchy with a usable cpu controller. `mounts` is /proc/mounts by default. Raises CgroupError."""
        table = Path("/proc/mounts").read_text() if mounts is None else mounts
        unified: Path | None = None
        trees: dict[str, Path] = {}
        for line in table.splitlines():
            _, where, kind, options, *_ = line.split()
            if kind == "cgroup":
                # Debian mounts cpu and cpuacct together and links both names to it.
                trees |= dict.fromkeys(options.split(","), Path(where).parent)
            if kind == "cgroup2" and unified is None:
                unified = Path(where)
        if "cpu" in trees:
            root = trees["cpu"]
            return cls(1, root, tuple(name for name in LIMITS if trees.get(name) == root))
        if unified is None:
            raise CgroupError("no cgroup file system is mounted: mount -t cgroup2 none /sys/fs/cgroup")
        return cls(2, unified)

    @property
    def top(self) -> Group:
        """The group under which all nodes have theirs."""
        if self.version == 1:
            others = {name: self.root / name / TOP for name in self.limits}
            return Group.split(self.root / "cpu" / TOP, self.root / "cpuacct" / TOP, **others)
        return Group.unified(self.root / TOP)

    def node(self, name: str) -> Group:
        """A node's group; it may not exist yet."""
        return self.top.child(name)

    def create(self, node: str, cores: float, leaves: Iterable[str] = (OTHER,)) -> Group:
        """Give a node a budget of `cores` (of one core: 1.0) and leaves for its processes.

        A group that is there already gets the new budget. Raises CgroupError.
        """
        if self.version == 2:
            _delegate(self.root)
        self.top.create()
        with contextlib.suppress(CgroupError):
            self.top.weigh(FAVOUR)
        if self.version == 2:
            _delegate(self.top.paths["unified"])
        group = self.node(node)
        group.create()
        _set_quota(group, cores)
        if self.version == 2:
            _delegate(group.paths["unified"])
        for leaf in leaves:
            group.child(leaf).create()
        return group

    def remove(self, node: str) -> None:
        """Take a node's group away, with all that runs in it. A missing group is no error. Raises CgroupError."""
        self.node(node).remove()
        for path in self.top.paths.values():
            with contextlib.suppress(OSError):  # not there, or another has a node
                path.rmdir()

    def nodes(self) -> list[str]:
        """The nodes that have a group: after a clean end, none."""
        return [next(iter(group.paths.values())).name for group in self.top.children()]


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


def _delegate(folder: Path) -> None:
    """Let the groups below `folder` have budgets, and limits where the kernel has these controllers (cgroup v2)."""
    file, available = folder / "cgroup.subtree_control", folder / "cgroup.controllers"
    try:
        limits = [name for name in LIMITS if available.exists() and name in available.read_text().split()]
        passed = file.read_text().split()
        if missing := [f"+{name}" for name in ("cpu", *limits) if name not in passed]:
            file.write_text(" ".join(missing) + "\n")
    except OSError as error:
        raise CgroupError(f"{file}: the controllers cannot be passed down: {error.strerror}") from error
