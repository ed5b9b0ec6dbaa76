"""CPU budgets: the logic on file trees of both kinds, the effect on this machine's kernel."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from greengrass_agent.emitter.settings import CgroupSettings
from greengrass_agent.host.cgroup import CgroupError, Group, parse_cpu_stat, parse_cpuacct_usage
from tests.patience import PATIENCE
from topologies.cgroups import OTHER, Hierarchy

V1_MOUNTS = """\
tmpfs /sys/fs/cgroup tmpfs rw 0 0
cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0
cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,nosuid,cpu,cpuacct 0 0
"""
V2_MOUNTS = "cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid,nsdelegate 0 0\n"


def fake_kernel(group: Group) -> None:
    """Give a group's folder the files that the kernel would."""
    group.create()
    for tree, path in group.paths.items():
        (path / "cgroup.procs").write_text("")
        if tree == "cpu":
            (path / "cpu.cfs_quota_us").write_text("-1\n")
            (path / "cpu.cfs_period_us").write_text("100000\n")
            (path / "cpu.shares").write_text("1024\n")
        if tree == "unified":
            (path / "cgroup.subtree_control").write_text("\n")
            (path / "cpu.max").write_text("max 100000\n")
            (path / "cpu.weight").write_text("100\n")


def tree_v1(root: Path) -> Hierarchy:
    for name in ("cpu", "cpuacct"):
        (root / name).mkdir()
    tree = Hierarchy(1, root)
    fake_kernel(tree.top)
    fake_kernel(tree.top.child("edge1"))
    return tree


def tree_v2(root: Path) -> Hierarchy:
    (root / "cgroup.subtree_control").write_text("memory\n")
    tree = Hierarchy(2, root)
    fake_kernel(tree.top)
    fake_kernel(tree.top.child("edge1"))
    return tree


def test_detects_the_hierarchy_that_has_the_cpu_controller() -> None:
    assert Hierarchy.detect(V1_MOUNTS) == Hierarchy(1, Path("/sys/fs/cgroup"))
    assert Hierarchy.detect(V2_MOUNTS) == Hierarchy(2, Path("/sys/fs/cgroup"))
    limits = "".join(f"cgroup /sys/fs/cgroup/{tree} cgroup rw,{tree} 0 0\n" for tree in ("memory", "freezer", "blkio"))
    assert Hierarchy.detect(V1_MOUNTS + limits) == Hierarchy(1, Path("/sys/fs/cgroup"), ("memory", "freezer"))
    with pytest.raises(CgroupError, match="mount -t cgroup2"):
        Hierarchy.detect("proc /proc proc rw 0 0\n")


def test_v1_budget_on_files(tmp_path: Path) -> None:
    group = tree_v1(tmp_path).create("edge1", 0.45, leaves=("other", "a.b.C"))
    node = tmp_path / "cpu/hitless/edge1"
    assert (node / "cpu.cfs_quota_us").read_text() == "4500\n"
    assert (node / "cpu.cfs_period_us").read_text() == "10000\n"
    assert (node.parent / "cpu.shares").read_text() == "10240\n"
    assert group.budget_cores() == pytest.approx(0.45)
    for controller in ("cpu", "cpuacct"):
        assert (tmp_path / controller / "hitless/edge1/a.b.C").is_dir()
    assert CgroupSettings.of(group).model_dump(mode="json") == {
        "version": 1,
        "paths": {"cpu": str(node), "cpuacct": str(tmp_path / "cpuacct/hitless/edge1")},
    }


def test_v2_budget_on_files(tmp_path: Path) -> None:
    group = tree_v2(tmp_path).create("edge1", 0.5)
    node = tmp_path / "hitless/edge1"
    assert (node / "cpu.max").read_text() == "5000 10000\n"
    assert (node.parent / "cpu.weight").read_text() == "1000\n"
    assert group.budget_cores() == pytest.approx(0.5)
    for folder in (tmp_path, tmp_path / "hitless", node):
        assert (folder / "cgroup.subtree_control").read_text() == "+cpu\n"
    (node / "cpu.stat").write_text("usage_usec 1234\nuser_usec 1000\n")
    assert group.usage().read_ns() == 1_234_000


def test_v2_passes_on_what_components_are_limited_by(tmp_path: Path) -> None:
    tree = tree_v2(tmp_path)
    for folder in (tmp_path, tmp_path / "hitless", tmp_path / "hitless/edge1"):
        (folder / "cgroup.controllers").write_text("cpuset cpu io memory pids\n")
    tree.create("edge1", 0.5)
    assert (tmp_path / "cgroup.subtree_control").read_text() == "+cpu +pids\n", "memory is passed on already"
    assert (tmp_path / "hitless/edge1/cgroup.subtree_control").read_text() == "+cpu +memory +pids\n"


def test_v1_groups_of_memory_and_processes_are_made_with_the_others(tmp_path: Path) -> None:
    for name in ("cpu", "cpuacct", "memory", "pids"):
        (tmp_path / name).mkdir()
    tree = Hierarchy(1, tmp_path, ("memory", "pids"))
    fake_kernel(tree.top)
    fake_kernel(tree.node("edge1"))
    group = tree.create("edge1", 0.5)
    assert (tmp_path / "memory/hitless/edge1/other").is_dir()
    assert (tmp_path / "pids/hitless/edge1/other").is_dir()
    assert CgroupSettings.of(group).group() == group


def test_a_process_joins_every_tree(tmp_path: Path) -> None:
    leaf = tree_v1(tmp_path).create("edge1", 0.5).child(OTHER)
    fake_kernel(leaf)
    leaf.add(4711)
    for controller in ("cpu", "cpuacct"):
        assert (tmp_path / controller / "hitless/edge1/other/cgroup.procs").read_text() == "4711\n"


def test_without_a_quota_the_budget_is_the_machine(tmp_path: Path) -> None:
    assert tree_v1(tmp_path).top.budget_cores() == os.cpu_count()


def test_too_small_a_budget_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CgroupError, match=r"at least 0\.1"):
        tree_v1(tmp_path).create("edge1", 0.01)


def test_usage_formats() -> None:
    assert parse_cpuacct_usage(b"123456789\n") == 123456789
    assert parse_cpu_stat(b"usage_usec 5\nuser_usec 3\n") == 5000
    with pytest.raises(CgroupError):
        parse_cpu_stat(b"user_usec 3\n")


NODE = f"test-cgroups-{os.getpid()}"


@pytest.fixture
def budget() -> Iterator[Group]:
    hierarchy = Hierarchy.detect()
    yield hierarchy.create(NODE, 0.3)
    hierarchy.remove(NODE)


@pytest.mark.root
def test_the_kernel_holds_a_busy_process_to_the_budget(budget: Group) -> None:
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        budget.child(OTHER).add(process.pid)
        time.sleep(0.1)
        with closing(budget.usage()) as usage, closing(budget.child(OTHER).usage()) as leaf_usage:
            share, give_up = 0.0, time.monotonic() + PATIENCE
            # A busy machine leaves it less now and then, but none ever gives it more.
            while share < 0.1:
                assert time.monotonic() < give_up, "it gets nothing near its budget"
                start, used, leaf_used = time.monotonic_ns(), usage.read_ns(), leaf_usage.read_ns()
                time.sleep(0.6)
                leaf_before, whole = leaf_usage.read_ns() - leaf_used, usage.read_ns() - used
                share = whole / (time.monotonic_ns() - start)
                leaf_after = leaf_usage.read_ns() - leaf_used
                assert 0.9 * leaf_before < whole < 1.1 * leaf_after
                assert share < 0.36
    finally:
        process.kill()
        process.wait()
    assert budget.budget_cores() == pytest.approx(0.3)


@pytest.mark.root
def test_removal_ends_what_still_runs_and_can_be_repeated(budget: Group) -> None:
    process = subprocess.Popen(["sleep", "60"])
    budget.child(OTHER).add(process.pid)
    assert budget.child(OTHER).pids() == {process.pid}
    assert NODE in Hierarchy.detect().nodes()
    Hierarchy.detect().remove(NODE)
    assert process.wait(PATIENCE) == -9
    assert not budget.exists()
    assert NODE not in Hierarchy.detect().nodes()
    Hierarchy.detect().remove(NODE)


@pytest.mark.root
def test_a_second_creation_changes_the_budget_only(budget: Group) -> None:
    process = subprocess.Popen(["sleep", "60"])
    try:
        budget.child(OTHER).add(process.pid)
        assert Hierarchy.detect().create(NODE, 0.7) == budget
        assert budget.budget_cores() == pytest.approx(0.7)
        assert budget.child(OTHER).pids() == {process.pid}
    finally:
        process.kill()
        process.wait()
