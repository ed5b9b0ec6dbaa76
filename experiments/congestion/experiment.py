"""The experiment itself: the fabric up, then one segment after the other, each with a load of its own."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from controller.fabric.file import load as load_fabric
from experiments import scenario
from experiments.chaos.load import Configuration, Target
from experiments.congestion import rows
from experiments.congestion.following import Queues, Said
from experiments.congestion.judge import PATIENCE_MS, latency_ms
from experiments.congestion.rows import Answer, Done, Window
from experiments.congestion.schedule import DISTURBED_S, WINDOW_S, Plan, Segment, seconds, segments
from experiments.congestion.ways import STEERED, WAYS, WORK, Way, written
from experiments.detection.causes import CauseError, prepared
from experiments.detection.experiment import Calm
from experiments.detection.ground import Ground
from experiments.detection.kinds import HERE, KINDS, THERE
from experiments.machine import as_it_is
from experiments.migration import machine
from experiments.migration.records import LOST, OK, read_requests
from experiments.migration.rounds import ask
from experiments.migration.validity import use
from experiments.peers import agent, proxies
from experiments.peers.proxies import PROXIES
from greengrass_agent.host.cgroup import CgroupError
from hitless.mqtt.identities import CONTROLLER
from hitless.steering.policies import Single
from topologies.processes import Process, in_namespace
from topologies.testbed import Testbed, testbed

FABRIC = Path(__file__).with_name("fabric.yaml")
COMPONENTS = Path(__file__).with_name("components")
CLIENT, PROXY, AGENT_HOST = "client", "proxy", "ctrl"
"""Hosts: of the load, of a load balancer, of the agent."""
AGENT = "agent-checks"
"""The agent's name at the broker."""
TRIAL_S, TRIAL_PER_SECOND = 4.0, 20.0
"""The trials that tell the CPU time of a request."""
PATIENCE_S = 30.0
STARTED_S = 1.5
"""Until a load that was started has sent its first requests."""
ANSWERED_S = 15.0
"""Until a load that was told to end has its last answers, or has given them up."""
POLL_S = 0.005
REPORTS_LAG_S = 0.6
"""Until a report is in its file: rows are written twice a second."""


@dataclass(frozen=True, slots=True)
class Options:
    """What to do. `load`: of a node's budget, in percent."""

    plan: Plan
    target: str
    load: int

    @property
    def proxies(self) -> list[str]:
        """The load balancers that the plan needs."""
        return [proxy for name in self.plan.ways if (proxy := WAYS[name].proxy) is not None]


async def run(options: Options, folder: Path, console: Console) -> None:
    """Do all of it, or go on with what an earlier run has left in `folder`; rows lie there at any time.

    Raises what `testbed` raises, RuntimeError, PeerMissing, ValueError where `folder` has another plan.
    """
    peers = proxies.versions(options.proxies)
    done = _begun(options, folder, peers)
    todo = list(segments(options.plan))[len(done) :]
    total = len(done) + len(todo)
    each_s = seconds(options.plan) / total
    scenario.estimate(console, f"{len(todo)} segments of {options.plan.windows} disturbances each", each_s * len(todo))
    if not todo:
        return
    if done:
        scenario.append(folder / rows.RUN, "machine", **as_it_is())
    fabric = folder / "fabric.yaml"
    fabric.write_text(written(FABRIC.read_text(), WAYS[STEERED]))
    console.print(f"bringing up {FABRIC.name} with {options.target}")
    async with testbed(
        fabric,
        folder / "logs",
        target=options.target,
        clients=[],
        controllers=(CONTROLLER, AGENT),
        components=[COMPONENTS],
        evidence=True,
        either_mode=True,
    ) as bed:
        await bed.ready(lambda text: console.print(f"  {text}"))
        experiment = _Experiment(options, folder, bed, sum(len(one.windows) for one in done))
        await experiment.prepare()
        began = time.monotonic()
        for at, one in enumerate(todo, 1):
            with console.status(f"{one.way}, {one.kind}", spinner="line") as status:
                found = await experiment.segment(one, status.update)
            told = scenario.left((time.monotonic() - began) / at * (len(todo) - at))
            console.print(f"{one.number:5}/{total}  {one.way:<14} {one.kind:<11} {found}{told}", soft_wrap=True)


def _begun(options: Options, folder: Path, peers: dict[str, str]) -> list[Done]:
    """The segments that are done; begins the folder if it is new, and takes away what was not ended."""
    wanted = {**dataclasses.asdict(options.plan), "target": options.target, "load": options.load}
    if scenario.begin(folder / rows.RUN, rows.KINDS, wanted):
        scenario.append(folder / rows.RUN, "peers", **peers)
        return []
    _, done = rows.read_done(folder)
    rows.cut(folder, done)
    return done


class _Experiment:
    def __init__(self, options: Options, folder: Path, bed: Testbed, windows: int) -> None:
        self._options, self._folder, self._bed = options, folder, bed
        self._stage = Ground(bed)
        self._windows = windows
        self._calm = Calm(bed.logs / "nodes", (WORK,))
        self._queues = Queues(bed.logs / "nodes")
        self._said = Said(bed.logs / "agent-checks.csv")
        self._fabric = bed.fabric_path.read_text()
        self._per_second = 0.0
        self._switches = [one.process.pid for one in bed.network.switches if getattr(one, "process", None)]

    async def prepare(self) -> None:
        """Start the agent, and find out how many requests a second are the load."""
        bed = self._bed
        told = agent.Configuration(
            bed.broker_settings(AGENT).model_dump(mode="json"),
            WORK,
            str(bed.fabric.hosts[AGENT_HOST].address),
            proxies.AGENT_PORTS,
            str(self._said.log),
        )
        self._said.log.unlink(missing_ok=True)
        file = bed.logs / "agent-checks.json"
        file.write_text(json.dumps(dataclasses.asdict(told)))
        command = [sys.executable, "-m", "experiments.peers.agent", str(file)]
        process = bed.start(AGENT, command, host=AGENT_HOST, nice=-10)
        await self._until(self._said.begun, "the agent to hear reports", process)
        self._stage.pin()
        cost_ns, _ = rows.read_done(self._folder)
        if cost_ns is None:
            cost_ns = await self._cost_ns(TRIAL_PER_SECOND)
            # At twenty a second a request does not cost quite what it does at the rate of the windows.
            cost_ns = await self._cost_ns(self._rate(cost_ns))
            scenario.append(self._folder / rows.RUN, "cost", ns=round(cost_ns))
        self._per_second = self._rate(cost_ns)

    def _rate(self, cost_ns: float) -> float:
        """Requests a second that use the load's share of a node's budget."""
        return self._options.load / 100 * self._bed.hierarchy.node(HERE).budget_cores() * 1e9 / cost_ns

    async def _cost_ns(self, per_second: float) -> float:
        """Call the service for some seconds; the CPU time that a request takes."""
        trial = self._bed.logs / "trial.csv"
        with ExitStack() as open_files:
            usages = [
                open_files.enter_context(closing(self._stage.group(node, WORK).usage()))
                for node in self._bed.fabric.services[WORK].instances
            ]
            before = sum(usage.read_ns() for usage in usages)
            async with self._load(self._service(), per_second, trial, self._options.plan.seed):
                await asyncio.sleep(TRIAL_S)
            used = sum(usage.read_ns() for usage in usages) - before
        served = sum(one.outcome == OK for one in read_requests(trial))
        if not served:
            raise RuntimeError(f"no request of the trial was served; see {self._bed.logs / 'trial.log'}")
        return used / served

    def _service(self) -> tuple[str, int]:
        service = self._bed.fabric.services[WORK]
        return str(service.address), service.port

    @asynccontextmanager
    async def _load(self, to: tuple[str, int], per_second: float, file: Path, seed: int) -> AsyncIterator[None]:
        """Requests to an address, for the time of the block; the load gets the answers to what it has sent."""
        target = Target(WORK, self._bed.fabric.services[WORK].service_id, *to, per_second)
        none = dataclasses.replace(target, per_second=0.0)  # nothing over UDP
        versions = str(file.with_suffix(".versions"))
        told = Configuration(str(file), versions, seed, PATIENCE_MS / 1000, none, target, connections=0)
        configuration = file.with_suffix(".json")
        configuration.write_text(json.dumps(dataclasses.asdict(told), indent=1))
        command = [sys.executable, "-m", "experiments.chaos.load", str(configuration)]
        load = self._bed.start(file.stem, command, host=CLIENT, nice=-10)
        try:
            await asyncio.sleep(STARTED_S)
            load.check()
            yield
            load.signal(signal.SIGTERM)
            try:
                await asyncio.to_thread(load.handle.wait, ANSWERED_S)
            except subprocess.TimeoutExpired:
                raise RuntimeError(f"the load did not end within {ANSWERED_S:.0f} s; see {load.log}") from None
        finally:
            self._bed.stop(load)

    @contextmanager
    def _proxy(self, name: str) -> Iterator[Process]:
        """A load balancer, for the time of the block."""
        with tempfile.TemporaryDirectory(prefix=f"congestion-{name}-") as scratch:
            process = self._bed.start(name, PROXIES[name].command(Path(scratch)), host=PROXY, nice=-10)
            try:
                yield process
            finally:
                self._bed.stop(process)

    async def segment(self, one: Segment, tell: Callable[[str], None]) -> str:
        """One way in one round; what it came to, for people, who are told meanwhile where it is."""
        way, file = WAYS[one.way], self._bed.logs / f"load-{one.number:04}.csv"
        await self._write_fabric(way.nodes, way)
        samples = [machine.sample(self._switches)]
        windows = []
        with ExitStack() as running:
            to = self._service()
            if way.proxy is not None:
                process, to = running.enter_context(self._proxy(way.proxy)), (proxies.ADDRESS, proxies.PORT)
                await self._until(lambda: self._serves(to), f"{way.proxy} to serve", process)
            async with self._load(to, self._per_second, file, self._options.plan.seed * 10**6 + one.round):
                for number, lead_s in enumerate(one.leads_s, 1):
                    tell(f"{one.way}, {one.kind}: disturbance {number} of {len(one.leads_s)}")
                    windows.append(await self._window(one, way, lead_s))
                # Requests of the last window may still be under way, and reports of it are not yet written.
                await asyncio.sleep(REPORTS_LAG_S)
        samples.append(machine.sample(self._switches))
        used = use(samples)
        requests = read_requests(file)
        found = {window.number: list(rows.answers(window, requests)) for window in windows}
        queues = self._queues.of(windows)
        steal, pressure, wait = (used.steal, used.pressure, used.switch_wait) if used is not None else (0.0, None, None)
        done = Done(one.number, one.round, one.way, one.kind, tuple(windows), steal, pressure, wait, (0, 0))
        rows.add(self._folder, done, found, queues)
        for suffix in (".csv", ".json", ".versions"):
            file.with_suffix(suffix).unlink(missing_ok=True)
        return _said_of(windows, found)

    def _serves(self, to: tuple[str, int]) -> bool:
        command = ["curl", "-sf", "-m", "1", "-o", "/dev/null", f"http://{to[0]}:{to[1]}/"]
        line = in_namespace(self._bed.namespace(CLIENT), command)
        return subprocess.run(line, check=False).returncode == 0

    async def _until(self, holds: Callable[[], bool], what: str, process: Process) -> None:
        """Wait until something holds. Raises RuntimeError, and ProcessEnded if a process ends meanwhile."""
        deadline = time.monotonic() + PATIENCE_S
        while not await asyncio.to_thread(holds):
            process.check()
            if time.monotonic() > deadline:
                raise RuntimeError(f"waited {PATIENCE_S:.0f} s for {what}; see {process.log}")
            await asyncio.sleep(0.05)

    async def _change_fabric(self, text: str) -> None:
        """Have the controller start again with another fabric file, as an operator does who has changed it."""
        await asyncio.to_thread(self._bed.stop, self._bed.process("controller"))
        self._bed.fabric_path.write_text(text)
        self._bed.start_controller()
        self._fabric = text

    async def _write_fabric(self, nodes: tuple[str, ...], way: Way) -> None:
        """Have the service as a way has it, with instances on some nodes; wait until they are there."""
        text = written(FABRIC.read_text(), way, nodes)
        if text == self._fabric:
            return
        await self._change_fabric(text)
        self._bed.fabric = load_fabric(self._bed.fabric_path)
        await self._bed.ready(lambda _: None)

    async def _settled(self, way: Way) -> None:
        """Have all as it was: the service on its node, nothing waits, nobody is congested, and the dwell is over."""
        await self._write_fabric(way.nodes, way)
        self._stage.pin()
        if way is WAYS[STEERED]:
            await ask(self._bed.controller(timeout_s=5.0).migrate, WORK, HERE, hold=True)
        placed = time.monotonic()
        await self._calm.wait(PATIENCE_S)
        # Of a node without an instance nobody hears anything.
        mine = frozenset(way.nodes)
        await self._until(lambda: not self._said.congested() & mine, "all nodes to be calm", self._bed.process(AGENT))
        await asyncio.sleep(max(0.0, placed + Single().dwell / 1e6 - time.monotonic()))
        if way is WAYS[STEERED]:
            await ask(self._bed.controller(timeout_s=5.0).release, WORK)

    async def _window(self, one: Segment, way: Way, lead_s: float) -> Window:
        """One disturbance, from the settling on."""
        self._bed.check()
        self._windows += 1
        began_ns = ended_ns = time.monotonic_ns()
        acting: asyncio.Task[int | None] | None = None
        acted_ns, note = None, ""
        try:
            # What disturbs starts before all settles: its start is no part of what is steady.
            async with prepared(KINDS[one.kind].cause, self._stage) as begin:
                await self._settled(way)
                await asyncio.sleep(lead_s)
                began_ns = await begin()
                if way.redeploys:
                    acting = asyncio.create_task(self._redeploy(way, began_ns))
                await _sleep_until(began_ns, DISTURBED_S)
            ended_ns = time.monotonic_ns()
            await _sleep_until(began_ns, WINDOW_S)
            acted_ns = None if acting is None else await acting
        except (CauseError, CgroupError, OSError, RuntimeError) as error:
            note, ended_ns = str(error), time.monotonic_ns()
        finally:
            if acting is not None:
                acting.cancel()
        return Window(self._windows, began_ns, ended_ns, acted_ns, note)

    async def _redeploy(self, way: Way, since_ns: int) -> int | None:
        """When its node is congested, have the instance on the other one; when that was, None if it never was."""
        while time.monotonic_ns() < since_ns + WINDOW_S * 1e9:
            if HERE in self._said.congested():
                acted_ns = time.monotonic_ns()
                await self._change_fabric(written(FABRIC.read_text(), way, (THERE,)))
                return acted_ns
            await asyncio.sleep(POLL_S)
        return None


async def _sleep_until(since_ns: int, after_s: float) -> None:
    await asyncio.sleep(max(0.0, since_ns / 1e9 + after_s - time.monotonic()))


def _said_of(windows: list[Window], found: dict[int, list[Answer]]) -> str:
    inside = [one for some in found.values() for one in some if one.at_us >= 0]
    times = sorted(map(latency_ms, inside))
    lost = sum(one.outcome == LOST for one in inside)
    failed = sum(one.outcome not in (OK, LOST) for one in inside)
    noted = "; ".join(window.note for window in windows if window.note)
    if not times:
        return noted or "no request"
    tail = f"; {noted}" if noted else ""
    return f"p50 {times[len(times) // 2]:.0f} ms, longest {times[-1]:.0f} ms, {lost} lost, {failed} failed{tail}"
