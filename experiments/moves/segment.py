"""One way in one round: the programs that it takes, each in the network of its host, and their rows."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.moves import bus, launcher, rows
from experiments.moves.bus import CALLER, Bus
from experiments.moves.controller import Told
from experiments.moves.ground import MEMBERS, W_QUEUE, Ground, node, text
from experiments.moves.plan import AFTER_S, INTERVAL_US, WARM_UP_S, Plan, Segment, length_s
from experiments.moves.rows import Done
from experiments.moves.ways import LOOPBACK, WAYS, Way
from experiments.native.lab import CLIENT, REAL_TIME, SERVICE_IDS, SERVICE_PORT
from experiments.peers.proxies import Proxy
from hitless.mqtt.identities import CONTROLLER, client_identity, emitter_identity
from topologies.processes import Process

HERE = Path(__file__).parent
HAPROXY = Proxy("haproxy", (str(HERE / "haproxy.cfg"),), "-f", ("-db",))
POLICY = {"dwell": 0, "evidence": 0}
"""Of the service, whoever decides: the first report beyond the margin moves it."""
START_S = 0.3
"""From the start of nodes and client to the first request."""
READY_S = 20.0
"""Longest that a program takes until it can do its part."""
END_S = 5.0
"""Longest that a program takes to end after its last request."""


@dataclass(frozen=True)
class Programs:
    """What was compiled."""

    node: Path
    client: Path
    http_client: Path


@dataclass(frozen=True)
class Stage:
    """What the segments of a run share."""

    plan: Plan
    folder: Path
    """Of the run."""
    scratch: Path
    """Of what is of no use later, with a short name."""
    programs: Programs
    grounds: dict[str, Ground]
    """By middle."""
    switch: str | None = None
    """Where the switch serves P4Runtime."""
    bus: Bus | None = None


async def run(stage: Stage, one: Segment) -> Done:
    """Do it. Raises RuntimeError where a program fails, PeerMissing."""
    (stage.folder / one.name).mkdir()
    with ExitStack() as running:
        return await _Running(stage, one, running).run()


class _Running:
    def __init__(self, stage: Stage, one: Segment, running: ExitStack) -> None:
        self._stage = stage
        self._one = one
        self._running = running
        self._way: Way = WAYS[one.way]
        self._folder = stage.folder / one.name
        self._scratch = stage.scratch / str(one.number)
        self._watched: list[Process] = []
        """What must not end before the client."""

    def _start(self, name: str, command: Sequence[str], place: str) -> Process:
        ground = self._stage.grounds[self._way.middle]
        process = ground.start(f"{self._one.name}-{name}", [*REAL_TIME, *command], place)
        self._running.callback(ground.stop, process)
        return process

    def _module(self, name: str, told: Any, place: str, *words: str) -> Process:
        """Start a module of this folder, which takes what it is told as a file."""
        file = self._scratch / f"{name}.json"
        file.write_text(json.dumps(dataclasses.asdict(told)))
        module = f"experiments.moves.{type(told).__module__.rpartition('.')[2]}"
        process = self._start(name, [sys.executable, "-m", module, *words, str(file)], place)
        self._watched.append(process)
        return process

    async def run(self) -> Done:
        plan, way, one = self._stage.plan, self._way, self._one
        self._scratch.mkdir()
        await self._prepare()
        length = length_s(plan, way.period_ns)
        first_ns = time.monotonic_ns() + int(START_S * 1e9)
        start_ns = first_ns + int(WARM_UP_S * 1e9)
        last_ns = first_ns + int(length * 1e9)
        for member in range(MEMBERS):
            self._start(node(member), self._node(member, start_ns, last_ns), node(member))
        client = self._start("client", self._client(first_ns, last_ns), "client")
        try:
            code = await asyncio.to_thread(client.handle.wait, START_S + length + END_S)
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"the client did not end in time; see {client.log}") from None
        for process in (*([client] if code else []), *self._watched):
            process.check()
        return Done(one.number, one.round, one.way, one.name, start_ns, way.period_ns, plan.moves)

    async def _prepare(self) -> None:
        """Start what must be there before the first request, and wait until it is."""
        way, launchers = self._way, tuple[str, ...]()
        if way.by_http:
            self._watched.append(self._start("haproxy", HAPROXY.command(self._scratch), "switch"))
        if way.by_gateway:
            launchers = tuple([await self._launcher(member) for member in range(MEMBERS)])
        broker = None
        if way.by_broker:
            assert self._stage.bus is not None, "a run with such a way has one"
            self._watched.append(self._start("broker", self._stage.bus.command, "switch"))
            broker = self._stage.bus.settings(CONTROLLER)
        if way.rule is not None:
            switch, file = self._stage.switch if way.middle == "switch" else None, self._folder / rows.CONTROLLED
            told = Told(self._one.way, POLICY, W_QUEUE, MEMBERS, str(file), switch, broker, self._one.number, launchers)
            place = "controller" if way.middle == "switch" else "switch"
            controller = self._module("controller", told, place)
            await _until(lambda: file.exists() and file.stat().st_size > 0, controller)
        if way.by_broker:
            for member in range(MEMBERS):
                await self._takes_part("publish", emitter_identity(node(member)), node(member))
            await self._takes_part("follow", client_identity(CALLER), "client")

    async def _launcher(self, member: int) -> str:
        folder = self._scratch / str(member)
        folder.mkdir()
        address, service_id = self._way.serves_at(member), SERVICE_IDS + self._way.service
        executions = str(self._folder / rows.EXECUTED.format(member))
        told = launcher.Node(node(member), member, service_id, address, SERVICE_PORT, str(folder), executions)
        process = self._module(f"launcher{member}", told, node(member))
        await _until(Path(told.socket).exists, process)
        return told.socket

    async def _takes_part(self, what: str, name: str, place: str) -> None:
        assert self._stage.bus is not None, "a run with such a way has one"
        ready = self._scratch / f"{name}.ready"
        told = bus.Member(self._stage.bus.settings(name), str(ready), place)
        await _until(ready.exists, self._module(name, told, place, what))

    def _node(self, member: int, start_ns: int, end_ns: int) -> list[str]:
        # Each segment is an epoch: its reports count from 1 again.
        way, number = self._way, self._one.number
        address = LOOPBACK if way.by_gateway else way.serves_at(member)
        words = (member, number, SERVICE_IDS + way.service, address, INTERVAL_US, start_ns, way.period_ns)
        file = self._folder / rows.NODE.format(member)
        ended = end_ns + int(AFTER_S * 1e9)
        return [str(self._stage.programs.node), *map(str, (*words, ended, file)), *way.hearers]

    def _client(self, first_ns: int, last_ns: int) -> list[str]:
        plan, way, programs = self._stage.plan, self._way, self._stage.programs
        program = programs.http_client if way.by_http else programs.client
        seed = plan.seed * 10**6 + self._one.number
        words = (text(CLIENT), way.target(), SERVICE_IDS + way.service, way.rate(plan.rate), seed, first_ns, last_ns)
        return [str(program), *map(str, words), str(self._folder / rows.CLIENT)]


async def _until(ready: Callable[[], bool], process: Process) -> None:
    """Wait until a program can do its part. Raises RuntimeError, ProcessEnded."""
    until = time.monotonic() + READY_S
    while not ready():
        process.check()
        if time.monotonic() > until:
            raise RuntimeError(f"{process.name} does not do its part after {READY_S:g} s; see {process.log}")
        await asyncio.sleep(0.02)
