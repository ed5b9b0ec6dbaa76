"""Doing what `kinds` describes, and undoing it.

Each cause is a context: entering it prepares, what it gives begins the disturbance and says when that was (ns), and
leaving it undoes everything, whatever has happened meanwhile.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from experiments.chaos import processes
from experiments.chaos.load import Configuration, Target
from experiments.chaos.processes import frozen
from experiments.detection import ground
from experiments.detection.ground import DATA, Ground, replaced
from experiments.detection.kinds import (
    BACK,
    FRONT,
    HERE,
    NEIGHBOUR,
    THERE,
    Burn,
    Call,
    Cause,
    Fill,
    SlowDisk,
    Stop,
    Throttle,
    Transfer,
    Work,
)
from greengrass_agent.host.cgroup import Group, remove_folder
from hitless.files import write_atomic
from topologies.processes import Process

Begin = Callable[[], Awaitable[int]]
BESIDE = "beside"
"""The group outside of the node's budget, and how much more than a node it weighs with the scheduler."""
BESIDE_SHARES, BESIDE_WEIGHT = 8 * 1024, 8 * 100
PERIOD_US = 100_000
"""Of the lowered quota: the kernel takes none below 1 ms."""
LEAST_QUOTA_US = 1000
MEMORY_ROOM = 64 << 20
"""Bytes between what a node uses and its limit."""
GET_READY_S = 20.0
PATIENCE_S = 5.0


class CauseError(Exception):
    """A disturbance that cannot be made; the message says why."""


@asynccontextmanager
async def prepared(cause: Cause, stage: Ground) -> AsyncIterator[Begin]:
    """A disturbance that is ready to begin. Raises CauseError, OSError."""
    async with AsyncExitStack() as undo:
        match cause:
            case Burn():
                yield await _burn(cause, stage, undo)
            case Fill():
                yield await _fill(stage, undo)
            case Transfer():
                words = ("disk", "--processes", str(cause.processes), "--data", str(DATA))
                yield partial(_continue, [await _hog(stage, undo, HERE, words, stage.bed.competing(HERE))])
            case Throttle():
                yield partial(_now, undo, partial(_throttled, stage, cause.of_need))
            case Stop():
                yield partial(_now, undo, partial(_stopped, stage))
            case SlowDisk():
                yield partial(_now, undo, partial(_slow_disk, stage, cause.of_need))
            case Call():
                yield partial(_call, cause, stage, undo)
            case Work():
                needed = cause.budget * stage.bed.hierarchy.node(HERE).budget_cores() / stage.need_cores(BACK)
                rounds = f"{ground.ROUNDS * max(1.0, needed):.0f}\n"
                yield partial(_now, undo, partial(_longer, DATA / HERE / "rounds", rounds))


async def _now(undo: AsyncExitStack, context: Callable[[], Any]) -> int:
    """Enter a context."""
    began_ns = time.monotonic_ns()
    undo.enter_context(context())
    return began_ns


# Processes of our own


async def _hog(
    stage: Ground, undo: AsyncExitStack, node: str, words: tuple[str, ...], join: list[Path], core: int | None = None
) -> Process:
    """A process that is ready and waits."""
    command = [sys.executable, "-m", "experiments.detection.hog", *words]
    command += [word for path in join for word in ("--join", str(path))]
    command += [] if core is None else ["--core", str(core)]
    hog = stage.bed.start(f"hog-{node}", command, host=node)
    undo.callback(_end, stage, hog)
    deadline = time.monotonic() + GET_READY_S
    while _state(hog.pid) != "T":
        hog.check()
        if time.monotonic() > deadline:
            raise CauseError(f"the process that disturbs is not ready after {GET_READY_S:.0f} s; see {hog.log}")
        await asyncio.sleep(0.01)
    return hog


async def _continue(hogs: list[Process]) -> int:
    began_ns = time.monotonic_ns()
    for hog in hogs:
        hog.signal(signal.SIGCONT)
    return began_ns


def _end(stage: Ground, hog: Process) -> None:
    hog.signal(signal.SIGCONT)
    stage.bed.stop(hog)


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


async def _burn(cause: Burn, stage: Ground, undo: AsyncExitStack) -> Begin:
    hogs = []
    for node in (HERE, THERE) if cause.both else (HERE,):
        join = stage.bed.competing(node) if cause.inside else undo.enter_context(_beside(stage))
        words = ("cpu", "--processes", str(cause.processes))
        hogs.append(await _hog(stage, undo, node, words, join, stage.cores[node]))
    return partial(_continue, hogs)


@contextmanager
def _beside(stage: Ground) -> Any:
    """A group that has nothing to do with the node's, and that the scheduler prefers to it."""
    group = stage.bed.hierarchy.create(BESIDE, 1.0, leaves=())
    try:
        name, weight = ("cpu.shares", BESIDE_SHARES) if group.version == 1 else ("cpu.weight", BESIDE_WEIGHT)
        (group.paths["cpu" if group.version == 1 else "unified"] / name).write_text(f"{weight}\n")
        yield list(group.paths.values())
    finally:
        group.remove()


async def _fill(stage: Ground, undo: AsyncExitStack) -> Begin:
    group = stage.bed.hierarchy.node(HERE)
    folder = group.paths["memory" if group.version == 1 else "unified"]
    used, limit = (
        ("memory.usage_in_bytes", "memory.limit_in_bytes") if group.version == 1 else ("memory.current", "memory.max")
    )
    wanted = int((folder / used).read_text()) + MEMORY_ROOM
    undo.enter_context(replaced(folder / limit, f"{wanted}\n"))
    words = ("memory", "--limit", str(folder), "--data", str(DATA))
    return partial(_continue, [await _hog(stage, undo, HERE, words, stage.bed.competing(HERE))])


# The function's own limits


@contextmanager
def _throttled(stage: Ground, of_need: float) -> Any:
    group = stage.group(HERE, FRONT)
    quota = max(LEAST_QUOTA_US, int(stage.need_cores(FRONT) * of_need * PERIOD_US))
    with ExitStack() as undo:
        if group.version == 1:
            folder = group.paths["cpu"]
            undo.enter_context(replaced(folder / "cpu.cfs_period_us", f"{PERIOD_US}\n"))
            undo.enter_context(replaced(folder / "cpu.cfs_quota_us", f"{quota}\n"))
        else:
            undo.enter_context(replaced(group.paths["unified"] / "cpu.max", f"{quota} {PERIOD_US}\n"))
        yield


@contextmanager
def _slow_disk(stage: Ground, of_need: float) -> Any:
    hierarchy, disk = stage.bed.hierarchy, ground.device(DATA)
    reads = max(1, int(stage.per_second * of_need))
    group = stage.group(HERE, FRONT)
    if hierarchy.version == 2:
        for folder in reversed([group.paths["unified"].parent, *_below(hierarchy.root, group)]):
            (folder / "cgroup.subtree_control").write_text("+io\n")
        with replaced(group.paths["unified"] / "io.max", f"{disk} riops={reads}\n", f"{disk} riops=max\n"):
            yield
        return
    tree, workers = hierarchy.root / ground.BLKIO, _workers(stage, FRONT)
    before, slow = {worker: tree / _place(worker, ground.BLKIO) for worker in workers}, tree / "hitless-detection"
    slow.mkdir(exist_ok=True)
    try:
        (slow / ground.READS).write_text(f"{disk} {reads}\n")
        for worker in workers:
            (slow / "cgroup.procs").write_text(f"{worker}\n")
        yield
    finally:
        for worker, folder in before.items():
            with suppress(OSError):
                (folder / "cgroup.procs").write_text(f"{worker}\n")
        remove_folder(slow)


def _place(pid: int, tree: str) -> str:
    """The control group of a process in a tree of cgroup v1, below the tree's root."""
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, names, path = line.split(":", 2)
        if tree in names.split(","):
            return path.lstrip("/")
    return ""


def _below(root: Path, group: Group) -> list[Path]:
    """The folders between a group's parent and the root, which is among them."""
    return [folder for folder in group.paths["unified"].parent.parents if folder == root or root in folder.parents]


@contextmanager
def _stopped(stage: Ground) -> Any:
    with ExitStack() as undo:
        for worker in _workers(stage, FRONT):
            undo.enter_context(frozen(worker))
        yield


@contextmanager
def _longer(file: Path, rounds: str) -> Any:
    """Another text in a file that somebody reads at any time."""
    before = file.read_bytes()
    write_atomic(file, rounds.encode(), mode=0o644)
    try:
        yield
    finally:
        write_atomic(file, before, mode=0o644)


def _workers(stage: Ground, service: str) -> list[int]:
    found = processes.workers(stage.parts(HERE), stage.bed.fabric.services[service].component)
    if not found:
        raise CauseError(f"there is no worker of {service} on {HERE}")
    return [one.pid for one in found]


# Other services


async def _call(cause: Call, stage: Ground, undo: AsyncExitStack) -> int:
    """Call the neighbour; it begins when the neighbour first uses the CPU."""
    budget = stage.bed.hierarchy.node(HERE).budget_cores()
    rate = cause.budget * budget * 1e9 / stage.cost_ns[NEIGHBOUR]
    rows = stage.bed.logs / "neighbour.csv"
    with closing(stage.group(HERE, NEIGHBOUR).usage()) as usage:
        before, deadline = usage.read_ns(), time.monotonic() + GET_READY_S
        load = start_load(stage, NEIGHBOUR, rate, rows, seed=os.getpid())
        undo.callback(stage.bed.stop, load)
        while usage.read_ns() <= before:
            load.check()
            if time.monotonic() > deadline:
                raise CauseError(f"the neighbour was not called within {GET_READY_S:.0f} s; see {load.log}")
            await asyncio.sleep(0.001)
    return time.monotonic_ns()


def start_load(stage: Ground, service: str, per_second: float, rows: Path, seed: int) -> Process:
    """Call a service at random times, so often on average, until SIGTERM; a row for each request in `rows`."""
    spec = stage.bed.fabric.services[service]
    target = Target(service, spec.service_id, str(spec.address), spec.port, per_second)
    none = dataclasses.replace(target, per_second=0.0)  # nothing over HTTP
    told = Configuration(str(rows), str(rows.with_suffix(".versions")), seed, PATIENCE_S, target, none)
    file = rows.with_suffix(".json")
    file.write_text(json.dumps(dataclasses.asdict(told), indent=1))
    command = [sys.executable, "-m", "experiments.chaos.load", str(file)]
    return stage.bed.start(rows.stem, command, host="client", nice=-10)
