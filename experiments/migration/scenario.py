"""One run: the fabric up, the application under load, its node disturbed again and again, everything written down."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from controller.fabric.file import load as load_fabric
from experiments.machine import Facts
from experiments.machine import facts as facts_of_machine
from experiments.migration import fabric, folder, machine, records, samples, validity
from experiments.migration.calibration import SHARE, WARM_S, costs, fitting_rate
from experiments.migration.disturbance import Competition
from experiments.migration.figures import samples_for
from experiments.migration.generator import LOAD_IDENTITY, end_load, start_load
from experiments.migration.live import Live
from experiments.migration.options import APPLICATION, SAID, UNSTEERED, Options
from experiments.migration.plan import HEADLINE, WINDOW_S, Plan, needed_s, plan
from experiments.migration.rounds import Rounds, place
from experiments.migration.sampler import Sampler
from topologies.testbed import Testbed, testbed

SPARE_S = 120.0
"""How much longer than planned the load could go on: it is ended when the rounds are over."""
FIRST_ROWS_S = 20.0


async def run(options: Options, results: Path, console: Console) -> dict[str, Any]:
    """Run, measure, and write everything to ``results``; returns the summary. Raises what ``testbed`` raises."""
    started = time.monotonic()
    facts = facts_of_machine()
    look(facts, console)
    target = None if options.bridged else options.target
    logs = results / "logs"
    logs.mkdir(parents=True)
    dwell_s = fabric.write(options.fabric, load_fabric(options.fabric), results / "fabric.yaml")
    console.print(f"bringing up {options.fabric.name} with {target or 'a learning bridge'}")
    async with testbed(
        results / "fabric.yaml",
        logs,
        target=target,
        clients=[LOAD_IDENTITY],
        components=options.apps,
        evidence=True,
        either_mode=len(options.ways) > 1,
    ) as bed:
        point_latest(results)
        await bed.ready(lambda text: console.print(f"  {text}"))
        first = next(iter(bed.fabric.nodes))
        await place(bed, first, hold=True)
        warm = options.frames_per_second is None
        if warm:
            options = replace(options, frames_per_second=await calibrate(options, bed, results, console))
        assert options.frames_per_second is not None
        planned = plan(options.ways, options.duration_s, options.frames_per_second * options.cameras, dwell_s)
        console.print(f"up after {time.monotonic() - started:.1f} s; everything starts on {first}")
        announce(options, planned, console)
        await measure(options, planned, bed, results, console, facts, warm=warm)
    return folder.judge(results)


def look(facts: Facts, console: Console) -> None:
    """Say what machine this is, and why its figures would not count as it is now."""
    before = machine.sample()
    time.sleep(machine.LOOK_S)
    used = validity.use([before, machine.sample()])
    assert used is not None
    pressure = "" if used.pressure is None else f", CPU pressure {used.pressure:.0%}"
    console.print(f"machine: {facts.cores} cores, {1 - used.idle:.0%} busy, {used.steal:.0%} stolen{pressure}")
    for cause in validity.machine_causes(facts.cores, used):
        console.print(f"the result will be INVALID: {cause}", style="bold red")
    idle = used.idle * facts.cores
    if idle < validity.NEEDED:
        console.print(
            f"the result may be INVALID: a run needs {validity.NEEDED:g} idle cores, there are {idle:.1f}",
            style="bold red",
        )


def announce(options: Options, planned: Plan, console: Console) -> None:
    """Say what will be done, and what it will be enough for."""
    rate = (options.frames_per_second or 0) * options.cameras
    if not options.disturb:
        console.print(f"no disturbance: {', '.join(options.ways)}, {options.duration_s:g} s in all")
        return
    each = planned.cycles // len(options.ways)
    console.print(f"{planned.cycles} disturbances, {each} for each of: {', '.join(options.ways)}")
    if each * rate * WINDOW_S < samples_for(HEADLINE):
        needed = needed_s(options.ways, rate, planned.dwell_s)
        console.print(f"(too few for a 99th percentile, which needs DURATION={needed:.0f} at this rate)")


def point_latest(results: Path) -> None:
    """Let ``latest`` beside a run's results name them."""
    link = results.parent / "latest"
    link.unlink(missing_ok=True)
    link.symlink_to(results.name)


async def calibrate(options: Options, bed: Testbed, results: Path, console: Console) -> float:
    """The frames a second of each camera that suit this machine; says how it came to them."""
    found = await costs(options, bed, results / "trial.csv")
    cores = bed.hierarchy.node(next(iter(bed.fabric.nodes))).budget_cores()
    rate = fitting_rate(found, cores, options.cameras, options.http_per_second)
    console.print(
        f"a frame takes {found.frame / 1e6:.1f} ms of CPU here, a thumbnail {found.call / 1e6:.1f} ms: with {rate:g} "
        f"frames a second, {options.cameras} cameras and {options.http_per_second:g} thumbnails use {SHARE:.0%} of a "
        f"node's {cores:g} cores"
    )
    return rate


async def measure(
    options: Options, planned: Plan, bed: Testbed, results: Path, console: Console, facts: Facts, *, warm: bool
) -> None:
    """Put the load on, carry the plan out, and write the rows. Functions that are not ``warm`` get a while first."""
    rows = results / "load.csv"
    sampler = Sampler(bed)
    with competitions(bed, options.disturb) as disturbances:
        for one in disturbances.values():
            await one.up()
        start_ns = time.monotonic_ns()
        load = start_load("load", replace(options, duration_s=options.duration_s + SPARE_S), bed, rows)
        live = Live(
            console, rows, bed.logs / "nodes", APPLICATION, next(iter(bed.fabric.nodes)), planned.cycles, start_ns
        )
        rounds = Rounds(
            bed,
            planned if options.disturb else replace(planned, rounds=tuple((way, 1) for way in options.ways)),
            disturbances,
            random.Random(options.seed),
            sampler.hosts,
            bed.check,
            lambda what: live.mark(time.monotonic_ns(), what),
            live.cycle,
            options.duration_s / len(options.ways),
        )
        live.cycles = rounds.plan.cycles
        sampling = asyncio.create_task(sampler.run())
        try:
            await first_rows(bed, rows)
            await asyncio.sleep(0 if warm else WARM_S)
            live.announce()
            await rounds.run()
        finally:
            sampling.cancel()
            with suppress(asyncio.CancelledError):
                await sampling
            await end_load(bed, load)
    folder.write_run(results, what_was_asked(options, bed, facts, start_ns))
    samples.write(results / folder.CYCLES, samples.Cycle, rounds.cycles)
    samples.write(results / folder.RANKS, samples.RankSample, sampler.ranks)
    samples.write(results / folder.MACHINE, samples.MachineSample, sampler.machine)
    records.write_requests(results / folder.REQUESTS, records.read_requests(rows))
    for scratch in results.glob("*.csv"):
        if scratch.stem in ("load", "trial"):
            scratch.unlink()
            scratch.with_suffix(".json").unlink(missing_ok=True)


@contextmanager
def competitions(bed: Testbed, wanted: bool) -> Iterator[dict[str, Competition]]:
    """A competing computation on each node, standing still; none unless ``wanted``."""
    made = {node: Competition(bed, node) for node in bed.fabric.nodes} if wanted else {}
    try:
        yield made
    finally:
        for one in made.values():
            one.kill()


async def first_rows(bed: Testbed, rows: Path) -> None:
    """Wait until the load is served. Raises RuntimeError, ProcessEnded."""
    deadline = time.monotonic() + FIRST_ROWS_S
    while not (rows.exists() and rows.stat().st_size > 1000):
        bed.check()
        if time.monotonic() > deadline:
            raise RuntimeError(f"the load is not served; see {bed.logs / 'load.log'}")
        await asyncio.sleep(0.05)


def what_was_asked(options: Options, bed: Testbed, facts: Facts, start_ns: int) -> dict[str, Any]:
    """run.json: with the other rows, all that a run's figures are made from."""
    return {
        "target": "bridge" if options.bridged else options.target,
        "fabric": options.fabric.name,
        "ways": [way for way in SAID if way in options.ways],
        "steering": "off" if options.ways == (UNSTEERED,) else "on",
        "disturb": "cpu" if options.disturb else "none",
        "duration_s": options.duration_s,
        "seed": options.seed,
        "cameras": options.cameras,
        "frames_per_second": options.frames_per_second,
        "http_per_second": options.http_per_second,
        "budget_cores": bed.hierarchy.node(next(iter(bed.fabric.nodes))).budget_cores(),
        "first_node": next(iter(bed.fabric.nodes)),
        "start_ns": start_ns,
        "machine": facts.as_row(),
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
