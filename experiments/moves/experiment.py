"""The experiment itself: both middles up, then one segment after the other, each with programs of its own."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from experiments import machine, scenario
from experiments.moves import rows
from experiments.moves.controller import Told
from experiments.moves.ground import MEMBERS, W_QUEUE, Ground, Router, node, switch, text
from experiments.moves.plan import (
    AFTER_S,
    INTERVAL_US,
    PERIOD_NS,
    WARM_UP_S,
    Plan,
    Segment,
    length_s,
    seconds,
    segments,
)
from experiments.moves.rows import Done
from experiments.moves.ways import WAYS, Way
from experiments.native.compiling import compile_program
from experiments.native.lab import CLIENT, REAL_TIME, SERVICE_IDS, Lab
from hitless.steering.policies import Single
from topologies.processes import Process

HERE = Path(__file__).parent
POLICY = {"dwell": 0, "evidence": 0}
"""Of the service, whoever decides: the first report beyond the margin moves it."""
CONTROLLED = "controller.csv"
START_S = 0.3
"""From the start of nodes and client to the first request."""
LISTENS_S = 20.0
"""Longest that a controller takes until it hears reports."""
END_S = 5.0
"""Longest that a program takes to end after its last request."""


@dataclass(frozen=True)
class Programs:
    """What was compiled."""

    node: Path
    client: Path


class Experiment:
    """The middles and what runs between them."""

    def __init__(
        self, plan: Plan, folder: Path, programs: Programs, grounds: dict[str, Ground], lab: Lab | None
    ) -> None:
        self._plan = plan
        self._folder = folder
        self._programs = programs
        self._grounds = grounds
        self._lab = lab

    async def segment(self, one: Segment) -> None:
        """One way in one round. Raises RuntimeError where a program fails."""
        way, folder = WAYS[one.way], self._folder / one.name
        folder.mkdir()
        ground = self._grounds[way.middle]
        with ExitStack() as running:

            def start(name: str, command: Sequence[str], place: str) -> Process:
                process = ground.start(f"{one.name}-{name}", [*REAL_TIME, *command], place)
                running.callback(ground.stop, process)
                return process

            controller: Process | None = None
            if way.rule is not None:
                controller = start("controller", self._controller(one.way, way, folder), self._beside(way))
                await _listens(controller, folder / CONTROLLED)
            first_ns = time.monotonic_ns() + int(START_S * 1e9)
            start_ns = first_ns + int(WARM_UP_S * 1e9)
            last_ns = first_ns + int(length_s(self._plan) * 1e9)
            for member in range(MEMBERS):
                start(node(member), self._node(member, one, folder, start_ns, last_ns), node(member))
            client = start("client", self._client(way, folder, one.number, first_ns, last_ns), "client")
            try:
                code = await asyncio.to_thread(client.handle.wait, START_S + length_s(self._plan) + END_S)
            except subprocess.TimeoutExpired:
                raise RuntimeError(f"the client did not end in time; see {client.log}") from None
            for process in (client if code else None, controller):
                if process is not None:
                    process.check()
        rows.add(self._folder, Done(one.number, one.round, one.way, one.name, start_ns, PERIOD_NS, self._plan.moves))

    def _beside(self, way: Way) -> str:
        return "controller" if way.middle == "switch" else "switch"

    def _controller(self, name: str, way: Way, folder: Path) -> list[str]:
        address = self._lab.address if self._lab is not None and way.middle == "switch" else None
        told = Told(name, POLICY, W_QUEUE, MEMBERS, address, str(folder / CONTROLLED))
        file = folder / "controller.json"
        file.write_text(json.dumps(dataclasses.asdict(told)))
        return [sys.executable, "-m", "experiments.moves.controller", str(file)]

    def _node(self, member: int, one: Segment, folder: Path, start_ns: int, end_ns: int) -> list[str]:
        # Each segment is an epoch: its reports count from 1 again.
        way = WAYS[one.way]
        words = (member, one.number, SERVICE_IDS + way.service, way.serves_at(member), INTERVAL_US, start_ns, PERIOD_NS)
        ended = end_ns + int(AFTER_S * 1e9)
        return [str(self._programs.node), *map(str, words), str(ended), str(folder / f"node{member}.csv"), *way.hearers]

    def _client(self, way: Way, folder: Path, number: int, first_ns: int, last_ns: int) -> list[str]:
        words = (
            text(CLIENT),
            way.target(),
            SERVICE_IDS + way.service,
            self._plan.rate,
            self._plan.seed * 10**6 + number,
        )
        return [str(self._programs.client), *map(str, (*words, first_ns, last_ns)), str(folder / "client.csv")]


async def _listens(controller: Process, rows: Path) -> None:
    """Wait until a controller has begun its rows: it hears reports then. Raises RuntimeError, ProcessEnded."""
    until = time.monotonic() + LISTENS_S
    while not rows.exists() or not rows.stat().st_size:
        controller.check()
        if time.monotonic() > until:
            raise RuntimeError(f"the controller does not listen after {LISTENS_S:g} s; see {controller.log}")
        await asyncio.sleep(0.02)


async def run(plan: Plan, target: str, folder: Path, console: Console) -> None:
    """Do all of it, or go on with what an earlier run has left in `folder`; rows lie there at any time.

    Raises RuntimeError, OSError, CompilationFailed, TargetMissing, ValueError where `folder` has another plan.
    """
    done = _begun(plan, target, folder)
    todo = [one for one in segments(plan) if one.number not in done]
    total = len(done) + len(todo)
    if done and todo:
        scenario.append(folder / rows.RUN, "machine", **machine.as_it_is())
    scenario.estimate(console, f"{len(todo)} segments of {plan.moves} moves each", seconds(plan) * len(todo) / total)
    async with AsyncExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="moves-")))
        programs = Programs(
            compile_program(scratch, "node", HERE / "node.c"),
            compile_program(scratch, "client", HERE / "client.c", flags=("-lm",)),
        )
        logs = folder / "logs"
        logs.mkdir(exist_ok=True)
        grounds: dict[str, Ground] = {}
        lab: Lab | None = None
        if any(WAYS[name].middle == "switch" for name in plan.ways):
            grounds["switch"], lab = await stack.enter_async_context(switch(target, logs, Single(**POLICY)))
        if any(WAYS[name].middle == "router" for name in plan.ways):
            grounds["router"] = stack.enter_context(Router(logs))
        experiment = Experiment(plan, folder, programs, grounds, lab)
        for one in todo:
            await experiment.segment(one)
            console.print(f"{one.number:5}/{total}  round {one.round:3}  {one.way}")


def _begun(plan: Plan, target: str, folder: Path) -> set[int]:
    """The numbers of the segments that are done; begins the folder if it is new."""
    options = {**dataclasses.asdict(plan), "ways": list(plan.ways), "target": target}
    options |= {"interval_us": INTERVAL_US, "period_ns": PERIOD_NS}
    if scenario.begin(folder / rows.RUN, rows.KINDS, options):
        return set()
    _, _, done = rows.read(folder)
    names = {one.name for one in done}
    for left in folder.iterdir():
        if left.is_dir() and left.name != "logs" and left.name not in names:
            for file in left.iterdir():
                file.unlink()
            left.rmdir()
    return {one.number for one in done}
