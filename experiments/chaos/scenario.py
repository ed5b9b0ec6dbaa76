"""One chaos run: the fabric up, the load on, one fault after the other, everything written down."""

from __future__ import annotations

import asyncio
import csv
import dataclasses
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from controller.fabric.file import load as load_fabric
from experiments import wrk
from experiments.chaos import table, verdict
from experiments.chaos.faults import FAULTS
from experiments.chaos.kinds import KINDS, Cost
from experiments.chaos.load import CHANGES, Configuration, Target
from experiments.chaos.releases import Releases
from experiments.chaos.schedule import Planned, plan
from experiments.chaos.stand import CLIENT, JOBS, NothingToHitError, Stand
from experiments.chaos.updates import Change, compare
from experiments.chaos.verdict import Fault
from experiments.machine import commit
from experiments.migration import measure, records
from experiments.migration.live import Tail
from hitless.mqtt.identities import CONTROLLER
from topologies.processes import Process
from topologies.testbed import testbed

PATIENCE_S = 5.0
"""A request without an answer for so long is lost."""
BUDGET_CORES = 1.0
"""Of a node: a new version starts beside the one that serves."""
WARM_S = 2.0
"""Load before the first fault, and after the last."""
DISK_MB, DISK_MB_A_MINUTE = 32, 4


@dataclass(frozen=True, slots=True)
class Options:
    """What to do."""

    fabric: Path
    target: str
    seed: int
    kinds: tuple[str, ...]
    minutes: float | None
    """Faults begin for so long; None: until there were `count`."""
    count: int | None
    udp_per_second: float
    http_per_second: float
    wrk: bool
    """Whether wrk calls the HTTP service all the time, over four connections."""
    rest_s: float = 0.0
    """Without a fault between two, beside the pause that the plan has."""

    @property
    def longest_minutes(self) -> float:
        """About how long the run takes."""
        return self.minutes if self.minutes is not None else (self.count or 1) * 10 / 60


async def run(options: Options, results: Path, console: Console) -> dict[str, Any]:
    """Run, and write everything to `results`; returns the summary. Raises what `testbed` raises."""
    results.mkdir(parents=True)
    scratch = results / "versions"
    started = time.monotonic()
    console.print(f"bringing up {options.fabric.name} with {options.target}")
    logs = results / "logs"
    releases = Releases(load_fabric(options.fabric), scratch)
    releases.begin()
    async with testbed(
        options.fabric,
        logs,
        target=options.target,
        clients=[],
        controllers=(CONTROLLER, JOBS),
        budget_cores=BUDGET_CORES,
        components=[releases.initial],
        evidence=True,
    ) as bed:
        disk_mb = DISK_MB + int(DISK_MB_A_MINUTE * options.longest_minutes)
        stand = Stand(bed, releases, disk_mb)
        stand.give_disks()
        try:
            stand.start_jobs()
            await bed.ready(lambda text: console.print(f"  {text}"))
            console.print(f"up after {time.monotonic() - started:.1f} s")
            load = start_load(options, stand, results)
            closed_loop = start_wrk(stand) if options.wrk else None
            faults = await make_faults(options, stand, load, results, console)
            for process in filter(None, (load, closed_loop)):
                # wrk prints its report when it is interrupted.
                process.signal(signal.SIGINT if process is closed_loop else signal.SIGTERM)
                await asyncio.to_thread(process.handle.wait, PATIENCE_S + 10)
        finally:
            for node in stand.nodes:
                with suppress(KeyError):
                    bed.stop(bed.process(f"agent-{node}"))
            stand.keep_logs()
    shutil.rmtree(scratch)
    return write_results(options, results, faults)


def start_load(options: Options, stand: Stand, results: Path) -> Process:
    """Start the load on the client's host."""
    udp, http = (
        Target(name, spec.service_id, str(spec.address), spec.port, rate)
        for protocol, rate in (("udp", options.udp_per_second), ("tcp", options.http_per_second))
        for name in stand.services(protocol)
        for spec in (stand.service(name),)
    )
    rows, changes = str(results / "load.csv"), str(results / "changes.csv")
    configuration = Configuration(rows, changes, options.seed, PATIENCE_S, udp, http)
    file = results / "load.json"
    file.write_text(json.dumps(dataclasses.asdict(configuration), indent=1))
    return stand.bed.start("load", [sys.executable, "-m", "experiments.chaos.load", str(file)], host=CLIENT, nice=-10)


def start_wrk(stand: Stand) -> Process:
    """Start wrk on the client's host."""
    (name,) = stand.services("tcp")
    spec = stand.service(name)
    return stand.bed.start("wrk", [*wrk.COMMAND, f"http://{spec.address}:{spec.port}/"], host=CLIENT)


async def make_faults(options: Options, stand: Stand, load: Process, results: Path, console: Console) -> list[Fault]:
    """One fault after the other, for as long as asked; a line for each."""
    start, faults = time.monotonic(), []
    progress = Progress(results / "load.csv")
    await asyncio.sleep(WARM_S)
    await stand.recovered(WARM_S)
    for planned in itertools.islice(plan(options.seed, options.kinds), options.count):
        if options.minutes is not None and time.monotonic() - start >= 60 * options.minutes:
            break
        await asyncio.sleep(planned.pause_s + options.rest_s)
        fault = await one_fault(planned, stand)
        faults.append(fault)
        (results / "faults.json").write_text(json.dumps([dataclasses.asdict(one) for one in faults], indent=1))
        load.check()
        console.print(table.line(time.monotonic() - start, fault, *progress.counts()), soft_wrap=True)
    await asyncio.sleep(WARM_S + options.rest_s)
    return faults


async def one_fault(planned: Planned, stand: Stand) -> Fault:
    """Make a fault and wait until everything is as it was, or for long enough."""
    fault = Fault(planned.number, planned.kind, "", "", 0)
    try:
        async with FAULTS[planned.kind](stand, planned, fault):
            await asyncio.sleep(planned.hold_s)
    except (NothingToHitError, OSError, subprocess.CalledProcessError) as error:
        fault.wrong.append(str(error))
    now_ns = time.monotonic_ns()
    fault.began_ns, fault.ended_ns = fault.began_ns or now_ns, fault.ended_ns or now_ns
    fault.recovered_ns, missing = await stand.recovered(KINDS[planned.kind].recovery_s)
    if fault.recovered_ns is None:
        fault.wrong.append(f"not recovered after {KINDS[planned.kind].recovery_s:g} s: {missing}")
        await stand.repair()
    return fault


class Progress:
    """What became of the requests so far."""

    def __init__(self, rows: Path) -> None:
        self._tail = Tail(rows)
        self._requests = self._lost = self._failed = 0

    def counts(self) -> tuple[int, int, int]:
        """Requests, lost, failed."""
        for row in csv.reader(self._tail.lines()):
            if row[0] != "id":
                request = records.parse_request(row)
                self._requests += 1
                self._lost += request.outcome == records.LOST
                self._failed += request.outcome == records.FAILED
        return self._requests, self._lost, self._failed


def write_results(options: Options, results: Path, faults: Sequence[Fault]) -> dict[str, Any]:
    """Measure the raw rows and write requests.csv and summary.json."""
    requests = records.read_requests(results / "load.csv")
    clients = {one.client for one in requests}
    # Requests of other clients have no number but the gateway's own count, which begins anew with each gateway.
    executions = [one for one in records.read_executions(results / "logs" / "nodes") if one.client_id in clients]
    requests = measure.serving_nodes(requests, executions)
    patience_ns = int(PATIENCE_S * 1e9)
    troubles = verdict.troubles(requests, executions, faults, patience_ns)
    rows = verdict.rows(requests, troubles, faults, patience_ns)
    with (results / "changes.csv").open(newline="") as file:
        changes = [Change(row[CHANGES[0]], row[CHANGES[1]], int(row[CHANGES[2]])) for row in csv.DictReader(file)]
    # The first versions that answered are no change.
    seen: set[str] = set()
    later = [one for one in changes if one.service in seen or seen.add(one.service)]  # type: ignore[func-returns-value]
    compared = [compare(name, requests, later) for name in sorted({one.service for one in later})]
    late_ms = measure.late_p99_ms(requests)
    closed_loop = wrk.read_wrk((results / "logs" / "wrk.log").read_text()) if options.wrk else None
    # wrk does not say when: its errors tell something only where nothing is killed.
    costly = any(KINDS[name].cost is not Cost.NOTHING for name in options.kinds)
    summary: dict[str, Any] = {
        "fabric": options.fabric.name,
        "target": options.target,
        "seed": options.seed,
        "kinds": options.kinds,
        "commit": commit(),
        "cores": os.cpu_count(),
        "requests": len(requests),
        "lost": measure.count(requests, records.LOST),
        "failed": measure.count(requests, records.FAILED),
        "duplicated": measure.duplicated(requests, executions),
        "executions": len(executions),
        "evidence_rows_missing": measure.rows_missing(
            requests, executions, records.read_emissions(results / "logs" / "nodes")
        ),
        "faults": len(faults),
        "by_kind": [verdict.document(row) for row in rows],
        "wrong": [text for fault in faults for text in verdict.described(fault)],
        "troubles": [
            {
                "id": one.request.id,
                "client": one.request.client,
                "service": one.request.service,
                "sent_ns": one.request.sent_ns,
                "what": one.what,
                "fault": one.fault,
                "explained": one.explained,
            }
            for one in troubles
        ],
        "updates": [dataclasses.asdict(one) | {"ratio": one.ratio} for one in compared],
        "wrk": None if closed_loop is None else dataclasses.asdict(closed_loop),
        "generator_late_p99_ms": late_ms,
        "noisy": late_ms > measure.NOISY_LATE_MS,
        "passed": verdict.passed(rows) and (closed_loop is None or not closed_loop.errors or costly),
    }
    records.write_requests(results / "requests.csv", requests)
    (results / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")
    for scratch in ("load.csv", "load.json"):
        (results / scratch).unlink()
    return summary | {"rows": rows, "compared": compared}
