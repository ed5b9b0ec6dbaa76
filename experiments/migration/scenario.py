"""One run: the fabric up, the application under load, the serving node disturbed, everything written down."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from controller.operator.client import NoControllerError, RefusedError
from controller.operator.documents import Status
from experiments.migration import measure, picture, records
from experiments.migration.calibration import SHARE, fitting_rate, frame_cost_ns
from experiments.migration.generator import LOAD_IDENTITY, LOSS_TIMEOUT_S, start_load
from experiments.migration.live import Live
from experiments.migration.options import APPLICATION, SHOWN, Options
from hitless.modes import IN_NETWORK
from topologies.testbed import Testbed, testbed

TRIGGER_SHARE = 0.48
"""When the competing computation starts, of the whole time: both halves have requests enough for a 99th percentile."""


async def run(options: Options, results: Path, console: Console) -> dict[str, Any]:
    """Run, measure, and write everything to ``results``; returns the summary. Raises what ``testbed`` raises."""
    started = time.monotonic()
    target = options.target if options.mode == IN_NETWORK else None
    logs = results / "logs"
    console.print(f"bringing up {options.fabric.name} with {target or 'a learning bridge'}", highlight=False)
    async with testbed(
        options.fabric, logs, target=target, clients=[LOAD_IDENTITY], components=options.apps, evidence=True
    ) as bed:
        point_latest(results)
        await bed.ready(lambda text: console.print(f"  {text}", highlight=False))
        if options.frames_per_second is None:
            options = replace(options, frames_per_second=await calibrate(options, bed, results, console))
        first = next(iter(bed.fabric.nodes))
        for service in bed.fabric.services:
            await place(bed, service, first, hold=not options.steering)
        console.print(f"up after {time.monotonic() - started:.1f} s; everything starts on {first}", highlight=False)
        start_ns = time.monotonic_ns()
        trigger_ns = await load_and_disturb(options, start_ns, bed, results, console)
    return write_results(options, results, start_ns, trigger_ns)


def point_latest(results: Path) -> None:
    """Let ``latest`` beside a run's results name them."""
    link = results.parent / "latest"
    link.unlink(missing_ok=True)
    link.symlink_to(results.name)


async def calibrate(options: Options, bed: Testbed, results: Path, console: Console) -> float:
    """The frames a second of each camera that suit this machine; says how it came to them."""
    cost_ns = await frame_cost_ns(options, bed, results / "trial.csv")
    cores = bed.hierarchy.node(next(iter(bed.fabric.nodes))).budget_cores()
    rate = fitting_rate(cost_ns, cores, options.cameras)
    console.print(
        f"a frame takes {cost_ns / 1e6:.1f} ms of CPU here: with {rate:g} a second, {options.cameras} cameras use "
        f"{SHARE:.0%} of a node's {cores:g} cores",
        highlight=False,
    )
    return rate


async def place(bed: Testbed, service: str, node: str, *, hold: bool) -> None:
    """Have the controller put a service on a node, for good (``hold``) or until the reports decide otherwise."""
    try:
        await asyncio.to_thread(bed.controller().migrate, service, node, hold=hold)
    except RefusedError as error:
        raise RuntimeError(f"the controller refused to put {service} on {node}: {error}") from error
    except NoControllerError as error:
        raise RuntimeError(str(error)) from error


async def load_and_disturb(
    options: Options, start_ns: int, bed: Testbed, results: Path, console: Console
) -> int | None:
    """Put the load on, the competing computation at its time, and show what happens; returns when it began, in ns."""
    rows = results / "load.csv"
    load = start_load("load", options, bed, rows)
    live = Live(console, rows, bed.logs / "nodes", SHOWN, start_ns)
    live.announce()
    trigger_at = start_ns + int(options.duration_s * TRIGGER_SHARE * 1e9) if options.disturb else None
    trigger_ns = None
    last_ns = start_ns + int((options.duration_s + LOSS_TIMEOUT_S + 10) * 1e9)
    tick = 0
    while load.handle.poll() is None:
        tick += 1
        due = start_ns + tick * 1_000_000_000
        await asyncio.sleep(max(0.0, (due - time.monotonic_ns()) / 1e9))
        status = await controller_status(bed)
        live.tick(time.monotonic_ns(), status)
        bed.check(but=load)
        if trigger_at is not None and trigger_ns is None and time.monotonic_ns() >= trigger_at:
            node = live.host.get(APPLICATION) or next(iter(bed.fabric.nodes))
            trigger_ns = disturb(bed, node)
            live.mark(trigger_ns, f"a competing computation starts on {node}")
        if time.monotonic_ns() > last_ns:
            raise RuntimeError(f"the load did not end in time; see {load.log}")
    if load.handle.returncode != 0:
        load.check()
    return trigger_ns


def disturb(bed: Testbed, node: str, processes: int = 1) -> int:
    """Start the competing computation inside a node's CPU budget; returns the time, in ns."""
    command = [sys.executable, "-m", "experiments.migration.compete", "--processes", str(processes)]
    for path in bed.competing(node):
        command += ["--join", str(path)]
    trigger_ns = time.monotonic_ns()
    bed.start(f"compete-{node}", command, host=node)
    return trigger_ns


async def controller_status(bed: Testbed) -> Status | None:
    """The controller's status, None if it does not answer: a run goes on without it."""
    try:
        return await asyncio.to_thread(bed.controller(timeout_s=0.5).status)
    except (NoControllerError, RefusedError):
        return None


def write_results(options: Options, results: Path, start_ns: int, trigger_ns: int | None) -> dict[str, Any]:
    """Measure the raw rows since ``start_ns`` and write summary.json, requests.csv and the picture."""
    nodes = results / "logs" / "nodes"
    executions = [one for one in records.read_executions(nodes) if one.received_ns >= start_ns]
    requests = measure.serving_nodes(records.read_requests(results / "load.csv"), executions)
    summary: dict[str, Any] = {
        "target": options.target if options.mode == IN_NETWORK else "bridge",
        "mode": options.mode,
        "steering": "on" if options.steering else "off",
        "disturb": "cpu" if options.disturb else "none",
        "duration_s": options.duration_s,
        "seed": options.seed,
        "cameras": options.cameras,
        "frames_per_second": options.frames_per_second,
        "cores": os.cpu_count(),
        **measure.summarise(
            requests,
            executions,
            records.read_decisions(results / "logs" / "events.ndjson"),
            records.read_emissions(nodes),
            trigger_ns,
            APPLICATION,
        ),
    }
    records.write_requests(results / "requests.csv", requests)
    (results / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")
    picture.draw(results / "latency.png", requests, summary, APPLICATION)
    for scratch in ("load.csv", "load.json"):
        (results / scratch).unlink()
    return summary
