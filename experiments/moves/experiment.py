"""The experiment itself: both middles up, then one segment after the other, each with programs of its own."""

from __future__ import annotations

import dataclasses
import tempfile
from contextlib import AsyncExitStack
from math import ceil
from pathlib import Path

from rich.console import Console

from experiments import machine, scenario
from experiments.moves import rows, segment
from experiments.moves.bus import Bus
from experiments.moves.ground import Ground, Router, switch
from experiments.moves.plan import INTERVAL_US, Plan, seconds, segments
from experiments.moves.segment import HAPROXY, HERE, POLICY, Programs, Stage
from experiments.moves.ways import WAYS
from experiments.native.compiling import compile_program
from hitless.steering.policies import Single


async def run(plan: Plan, target: str, folder: Path, console: Console) -> None:
    """Do all of it, or go on with what an earlier run has left in `folder`; rows lie there at any time.

    Raises RuntimeError, OSError, CompilationFailed, TargetMissing, PeerMissing, ValueError where `folder` has another
    plan.
    """
    ways = [WAYS[name] for name in plan.ways]
    versions = {"haproxy": HAPROXY.version()} if any(way.by_http for way in ways) else {}
    done = _begun(plan, target, versions, folder)
    todo = [one for one in segments(plan) if one.number not in done]
    if done and todo:
        scenario.append(folder / rows.RUN, "machine", **machine.as_it_is())
    periods = {name: WAYS[name].period_ns for name in plan.ways}
    left = sum(seconds(plan, periods[one.way]) for one in todo)
    scenario.estimate(console, f"{len(todo)} segments of {plan.moves} moves each", left)
    async with AsyncExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="moves-")))
        programs = Programs(
            compile_program(scratch, "node", HERE / "node.c"),
            *(compile_program(scratch, name, HERE / f"{name}.c", flags=("-lm",)) for name in ("client", "http_client")),
        )
        logs = folder / "logs"
        logs.mkdir(exist_ok=True)
        grounds: dict[str, Ground] = {}
        address, bus = None, None
        if any(way.middle == "switch" for way in ways):
            grounds["switch"], lab = await stack.enter_async_context(switch(target, logs, Single(**POLICY)))
            address = lab.address
        if any(way.middle == "router" for way in ways):
            grounds["router"] = stack.enter_context(Router(logs))
        if any(way.by_broker for way in ways):
            bus = Bus(scratch)
        stage = Stage(plan, folder, scratch, programs, grounds, address, bus)
        for one in todo:
            rows.add(folder, await segment.run(stage, one))
            left -= seconds(plan, periods[one.way])
            total, minutes = len(done) + len(todo), ceil(max(0.0, left) / 60)
            console.print(f"{one.number:5}/{total}  round {one.round:3}  {one.way:<12} {minutes:3} min left")


def _begun(plan: Plan, target: str, versions: dict[str, str], folder: Path) -> set[int]:
    """The numbers of the segments that are done; begins the folder if it is new."""
    options = {**dataclasses.asdict(plan), "ways": list(plan.ways), "target": target, "versions": versions}
    if scenario.begin(folder / rows.RUN, rows.KINDS, {**options, "interval_us": INTERVAL_US}):
        return set()
    _, _, done = rows.read(folder)
    names = {one.name for one in done}
    for left in folder.iterdir():
        if left.is_dir() and left.name != "logs" and left.name not in names:
            for file in left.iterdir():
                file.unlink()
            left.rmdir()
    return {one.number for one in done}
