"""The experiment itself: the fabric up, the load on, one disturbance after the other, then the rests."""

from __future__ import annotations

import asyncio
import csv
import random
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager, closing
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from controller.observe.events import DigestEvent, EventError, decode
from controller.operator.client import NoControllerError, RefusedError
from experiments import scenario
from experiments.detection import ground, rows
from experiments.detection.causes import CauseError, prepared, start_load
from experiments.detection.ground import Ground
from experiments.detection.kinds import FRONT, HERE, KINDS, MEASURED, NEIGHBOUR, THERE, Call, Need, impossible
from experiments.detection.loop import loop
from experiments.detection.rows import Ran, Rested
from experiments.detection.schedule import Plan, Rest, Run, seconds, steps
from experiments.detection.variants import VARIANTS, dwell_s, written
from experiments.migration import records
from experiments.migration.live import Tail
from experiments.migration.records import OK
from greengrass_agent.emitter.instance import COLUMNS
from greengrass_agent.host.cgroup import CgroupError
from greengrass_agent.logs.evidence import REPORTS
from topologies.processes import Process
from topologies.testbed import Testbed, testbed

FABRIC = Path(__file__).with_name("fabric.yaml")
COMPONENTS = Path(__file__).with_name("components")
TRIAL_S, TRIAL_PER_SECOND = 4.0, 20.0
"""The trial that tells the CPU time of a request."""
FOUND_S = 0.3
"""A disturbance goes on for so long after the switch has moved: the first requests elsewhere are part of the run."""
TRIES = 3
"""A run is repeated where the service has moved before the disturbance, and left out after so many times."""
CALM_S, CALM_DEPTH = 0.3, 2
"""So long no report may tell of more requests at an instance before all counts as well again."""
DEPTH, EMITTED = COLUMNS.index("queue_depth"), COLUMNS.index("emitted_ns")
PATIENCE_S = 30.0
POLL_S = 0.01
ANSWERED_S = 15.0
"""Until a load that was told to end has its last answers, or has given them up."""
LEFT_S, AT_MOST_S = 30.0, 120.0
"""A rest begins when no service has moved for so long: two that share a node are not where the switch would put them.
It begins after so long anyway."""
STARTED_S = 1.5
"""Until a load that was started has sent its first requests, and a rate that has changed has settled."""


@dataclass(frozen=True, slots=True)
class Options:
    """What to do. `load`: of a node's budget, in percent, during the runs; `bound_s`: a disturbance lasts at most so
    long."""

    plan: Plan
    target: str
    load: int
    bound_s: float


async def run(options: Options, folder: Path, console: Console) -> None:
    """Do all of it, or as much as there is time for; rows lie in `folder` at any time. Raises what `testbed` raises."""
    folder.mkdir(parents=True)
    fabric = folder / "fabric.yaml"
    fabric.write_text(written(FABRIC.read_text(), VARIANTS[options.plan.variants[0]]))
    console.print(f"bringing up {FABRIC.name} with {options.target}")
    async with testbed(
        fabric, folder / "logs", target=options.target, clients=[], components=[COMPONENTS], evidence=True
    ) as bed:
        # From here on no other experiment runs, so the files are ours.
        with ground.files(bed.fabric.nodes) as data:
            plan = _possible(options, ground.possibilities(bed.hierarchy, data), folder, console)
            await bed.ready(lambda text: console.print(f"  {text}"))
            await _Experiment(options, plan, folder, Ground(bed), console).run()


def _possible(options: Options, there: frozenset[Need], folder: Path, console: Console) -> Plan:
    """The plan without what this machine cannot do; says and notes what that is, and what machine it is."""
    plan, left_out = options.plan, dict(impossible({name: KINDS[name] for name in options.plan.kinds}, there))
    for kind, reason in left_out.items():
        console.print(f"{kind} is left out here: {reason}")
    kinds = tuple(kind for kind in plan.kinds if kind not in left_out)
    scenario.begin(
        folder / rows.ROWS,
        rows.KINDS,
        {
            "target": options.target,
            "load": options.load,
            "bound_s": options.bound_s,
            "seed": plan.seed,
            "variants": plan.variants,
            "kinds": kinds,
            "runs": plan.runs,
            "loads": plan.loads,
            "rest_s": plan.rest_s,
            "left_out": left_out,
        },
    )
    return replace(plan, kinds=kinds)


class _ElsewhereError(Exception):
    """A service has not yet gone where it was asked to go."""


class _Experiment:
    def __init__(self, options: Options, plan: Plan, folder: Path, stage: Ground, console: Console) -> None:
        self.options, self.plan, self.folder, self.stage, self.console = options, plan, folder, stage, console
        self.bed: Testbed = stage.bed
        self.variant = plan.variants[0]
        self.loads = 0
        self.moves = Moves(stage.bed.logs / "events.ndjson")
        self.calm = Calm(stage.bed.logs / "nodes")
        self._phase = random.Random(plan.seed)
        self._loop: asyncio.Task[None] | None = None
        """What moves the services in the switch's place, between their release and the next time that all settles."""

    async def run(self) -> None:
        """Every step of the plan."""
        try:
            await self._run()
        finally:
            await self._end_loop()

    async def _run(self) -> None:
        self.stage.pin()
        for service in MEASURED:
            await self._place(service)
        await self._calibrate()
        self.stage.per_second = self._rate(self.options.load)
        todo = list(steps(self.plan))
        waits = {name: dwell_s(VARIANTS[name]) + (VARIANTS[name].loop_s or 0.0) for name in self.plan.variants}
        self.console.print(
            f"{self.stage.per_second:.0f} requests a second are {self.options.load} % of a node's budget"
        )
        scenario.estimate(self.console, f"{len(todo)} steps", seconds(self.plan, waits))
        runs = [step for step in todo if isinstance(step, Run)]
        if runs:
            async with self._load(self.stage.per_second):
                for step in runs:
                    await self._switch(step.variant)
                    for _ in range(TRIES):
                        ran = await self._one(step)
                        rows.add(self.folder, ran)
                        self._tell(step, len(todo), ran)
                        if not self._early(ran):
                            break
        for rest in (step for step in todo if isinstance(step, Rest)):
            await self._switch(rest.variant)
            async with self._load(self._rate(rest.load)):
                rested = await self._rest(rest)
                rows.add(self.folder, rested)
            self.console.print(
                f"{rest.number:5}/{len(todo)}  {rest.variant:<12} at rest, {rest.load} % ({rested.used:.0f} % used): "
                f"{self.moves.since(rested.began_ns)} moves in {rest.seconds:.0f} s"
            )

    def _rate(self, load: int) -> float:
        """Requests a second that use so many percent of a node's budget."""
        budget = self.bed.hierarchy.node(HERE).budget_cores()
        return load / 100 * budget * 1e9 / sum(self.stage.cost_ns[name] for name in MEASURED)

    async def _calibrate(self) -> None:
        """Find out what a request costs in each service."""
        if any(isinstance(KINDS[kind].cause, Call) for kind in self.plan.kinds):
            await self._trial(NEIGHBOUR, (NEIGHBOUR,), TRIAL_PER_SECOND)
        await self._trial(FRONT, MEASURED, TRIAL_PER_SECOND)
        # At twenty a second a request does not cost quite what it does at the rate of the runs.
        await self._trial(FRONT, MEASURED, self._rate(self.options.load))
        scenario.append(self.folder / rows.ROWS, "cost", **{name: round(ns) for name, ns in self.stage.cost_ns.items()})

    async def _trial(self, called: str, used: tuple[str, ...], per_second: float) -> None:
        """Call a service for some seconds, and note what a request takes in those that it passes."""
        trial = self.bed.logs / f"trial-{called}.csv"
        with ExitStack() as open_files:
            usages = {name: open_files.enter_context(closing(self.stage.group(HERE, name).usage())) for name in used}
            before = {name: usage.read_ns() for name, usage in usages.items()}
            load = start_load(self.stage, called, per_second, trial, self.plan.seed)
            await asyncio.sleep(TRIAL_S)
            await asyncio.to_thread(self.bed.stop, load)
            served = sum(one.outcome == OK for one in records.read_requests(trial))
            if not served:
                raise RuntimeError(f"no request of the trial was served; see {load.log}")
            self.stage.cost_ns |= {name: (usage.read_ns() - before[name]) / served for name, usage in usages.items()}

    @asynccontextmanager
    async def _load(self, per_second: float) -> AsyncIterator[Process]:
        """The load, for the time of the block; it gets the answers to what it has sent."""
        self.loads += 1
        rows_file = self.folder / f"load-{self.loads:04}.csv"
        load = start_load(self.stage, FRONT, per_second, rows_file, self.plan.seed + self.loads)
        try:
            await asyncio.sleep(STARTED_S)
            load.check()
            yield load
            load.signal(signal.SIGTERM)
            try:
                await asyncio.to_thread(load.handle.wait, ANSWERED_S)
            except subprocess.TimeoutExpired:
                raise RuntimeError(f"the load did not end within {ANSWERED_S:.0f} s; see {load.log}") from None
        finally:
            self.bed.stop(load)
            for scratch in (".json", ".versions"):
                rows_file.with_suffix(scratch).unlink(missing_ok=True)

    async def _switch(self, variant: str) -> None:
        """Have the switch judge by another variant: the controller starts again with another fabric file."""
        if variant == self.variant:
            return
        self.bed.stop(self.bed.process("controller"))
        self.bed.fabric_path.write_text(written(FABRIC.read_text(), VARIANTS[variant]))
        self.bed.start_controller()
        await self.bed.ready(lambda _: None)
        self.variant = variant

    async def _place(self, service: str) -> None:
        """Put a service on the node that is going to be disturbed, and keep it there.

        By way of the other one: a dwell that was doubled, since the service came back there by itself, is restored by
        a move that an operator asks for.
        """
        for node in (THERE, HERE):
            await self._ask(lambda to=node: self.bed.controller(timeout_s=5.0).migrate(service, to, hold=True))
            await self._ask(lambda at=node: self._hosted(service, at))

    def _hosted(self, service: str, node: str) -> None:
        host = self.bed.controller(timeout_s=5.0).status().services[service].host
        if host != node:
            raise _ElsewhereError(f"{service} is on {host}, not on {node}")

    async def _ask(self, call: object) -> None:
        """Ask the controller for something until it does it."""
        assert callable(call)
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                await asyncio.to_thread(call)
                return
            except (RefusedError, NoControllerError, _ElsewhereError) as error:
                if time.monotonic() > deadline:
                    raise RuntimeError(f"the controller does not do what it should: {error}") from error
                await asyncio.sleep(0.2)

    async def _settled(self) -> None:
        """Have all as it was: both services kept on their node, nothing waits, and the dwell is over."""
        await self._end_loop()
        for service in MEASURED:
            await self._place(service)
        placed = time.monotonic()
        await self.calm.wait(PATIENCE_S)
        self.steady_ns = time.monotonic_ns()
        await asyncio.sleep(max(0.0, placed + dwell_s(VARIANTS[self.variant]) - time.monotonic()))

    async def _release(self) -> int:
        """Let the services go where the switch, or the loop in its place, wants them. When that was, in ns."""
        period_s = VARIANTS[self.variant].loop_s
        if period_s is not None:
            # No disturbance knows when an orchestrator is going to look.
            first_s = self._phase.uniform(0, period_s)
            looking = loop(lambda: self.bed.controller(timeout_s=5.0), MEASURED, period_s, first_s)
            self._loop = asyncio.create_task(looking)
            return time.monotonic_ns()
        for service in MEASURED:
            await self._ask(lambda name=service: self.bed.controller(timeout_s=5.0).release(name))
        return time.monotonic_ns()

    async def _end_loop(self) -> None:
        ended, self._loop = self._loop, None
        if ended is not None:
            ended.cancel()
            await asyncio.gather(ended, return_exceptions=True)

    async def _one(self, step: Run) -> Ran:
        """One disturbance, from the settling on."""
        kind, note = KINDS[step.kind], ""
        self.bed.check()
        self.steady_ns = released_ns = began_ns = time.monotonic_ns()
        try:
            # What disturbs starts before all settles: its start is no part of what is steady.
            async with prepared(kind.cause, self.stage) as begin:
                await self._settled()
                released_ns = await self._release()
                await asyncio.sleep(step.lead_s)
                if self.moves.since(released_ns, kind.services):
                    await asyncio.sleep(FOUND_S)
                    began_ns = ended_ns = time.monotonic_ns()
                    return Ran(step.number, step.variant, step.kind, self.steady_ns, released_ns, began_ns, ended_ns)
                began_ns = await begin()
                await self._watch(began_ns, kind.services, stays=kind.stays)
                ended_ns = time.monotonic_ns()
        except (CauseError, CgroupError, OSError) as error:
            note, ended_ns = str(error), time.monotonic_ns()
        return Ran(step.number, step.variant, step.kind, self.steady_ns, released_ns, began_ns, ended_ns, note)

    async def _watch(self, began_ns: int, services: Sequence[str], *, stays: bool) -> None:
        """Wait until new work of one of the services has gone elsewhere, and a little more; or for the whole bound."""
        deadline = time.monotonic() + self.options.bound_s
        while time.monotonic() < deadline:
            if not stays and self.moves.since(began_ns, services):
                await asyncio.sleep(FOUND_S)
                return
            await asyncio.sleep(POLL_S)

    async def _rest(self, rest: Rest) -> Rested:
        """A stretch at rest, from where the switch leaves the services."""
        await self._settled()
        released_ns = began_ns = await self._release()
        while time.monotonic_ns() - began_ns < LEFT_S * 1e9:
            await asyncio.sleep(1.0)
            if self.moves.since(began_ns) and began_ns - released_ns < AT_MOST_S * 1e9:
                began_ns = time.monotonic_ns()
        with ExitStack() as open_files:
            usages = [
                open_files.enter_context(closing(self.stage.group(node, name).usage()))
                for node in (HERE, THERE)
                for name in MEASURED
            ]
            began_ns, before_ns = time.monotonic_ns(), sum(usage.read_ns() for usage in usages)
            await asyncio.sleep(rest.seconds)
            ended_ns, used_ns = time.monotonic_ns(), sum(usage.read_ns() for usage in usages) - before_ns
        used = 100 * used_ns / (ended_ns - began_ns) / self.bed.hierarchy.node(HERE).budget_cores()
        return Rested(rest.number, rest.variant, rest.load, released_ns, began_ns, ended_ns, round(used, 1))

    def _early(self, ran: Ran) -> bool:
        """Whether one of the services moved before the disturbance."""
        first = self.moves.first(ran.released_ns, KINDS[ran.kind].services)
        return first is not None and first < ran.began_ns

    def _tell(self, step: Run, of: int, ran: Ran) -> None:
        told = self.moves.first(ran.began_ns, KINDS[step.kind].services)
        if ran.note:
            what = ran.note
        elif self._early(ran):
            what = "moved before anything happened"
        elif told is None or told > ran.ended_ns:
            what = "stays"
        else:
            what = f"moved after {(told - ran.began_ns) / 1e6:.0f} ms"
        self.console.print(f"{step.number:5}/{of}  {step.variant:<12} {step.kind:<12} {what}")


class Moves:
    """The moves that the switch has told of, from the controller's event log as it grows."""

    def __init__(self, log: Path) -> None:
        self._tail = Tail(log)
        self._known: list[tuple[int, str]] = []

    def _look(self) -> list[tuple[int, str]]:
        for line in self._tail.lines():
            try:
                event = decode(line)
            except EventError:
                continue
            if isinstance(event, DigestEvent) and event.to_node and event.service in MEASURED and event.to_node != HERE:
                self._known.append((event.time_ns, event.service))
        return self._known

    def since(self, time_ns: int, services: Sequence[str] = MEASURED) -> int:
        """How many there were."""
        return sum(at >= time_ns and name in services for at, name in self._look())

    def first(self, time_ns: int, services: Sequence[str]) -> int | None:
        """When the first was."""
        return min((at for at, name in self._look() if at >= time_ns and name in services), default=None)


class Calm:
    """Whether requests wait anywhere, from the nodes' reports as they are written down."""

    def __init__(self, nodes: Path, services: Sequence[str] = MEASURED) -> None:
        self._nodes = nodes
        self._services = services
        self._tails: dict[Path, Tail] = {}
        self._busy_ns = 0

    def _look(self) -> int:
        """When a report last told of requests that wait, in ns."""
        for _, service, path in REPORTS.found(self._nodes):
            if service not in self._services:
                continue
            tail = self._tails.setdefault(path, Tail(path))
            for row in csv.reader(tail.lines()):
                if len(row) == len(COLUMNS) and row[DEPTH].isdecimal() and int(row[DEPTH]) > CALM_DEPTH:
                    self._busy_ns = max(self._busy_ns, int(row[EMITTED]))
        return self._busy_ns

    async def wait(self, within_s: float) -> None:
        """Wait until nobody has waited for a while; for so long at most."""
        deadline = time.monotonic() + within_s
        # Rows are written every half second.
        await asyncio.sleep(0.6)
        while time.monotonic() < deadline:
            if time.monotonic_ns() - self._look() > (0.6 + CALM_S) * 1e9:
                return
            await asyncio.sleep(0.05)
