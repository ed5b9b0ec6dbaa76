"""Runs the cells, one after the other, each with a service of its own on one switch; keeps every request's times."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from controller.switches.p4runtime import Program
from experiments.native.compiling import compile_program
from experiments.native.lab import REAL_TIME, Lab, Network, Service
from experiments.policies import perfect, trace
from experiments.policies.cells import INTERVALS, NODES, POLICIES, UNHEARD_INTERVAL, Cell, cells
from experiments.policies.figures import Estimate, Figures, figures

HERE = Path(__file__).parent
OUTCOME = np.dtype([("sent_ns", "u8"), ("received_ns", "u8"), ("member", "u4"), ("answers", "u4")])
"""`struct outcome` of client.c."""
SMOOTHING = 64
"""As greengrass_agent's ServiceTime: over how many services a node averages."""
STALL = 0.5
"""Service times: a client that sends later than this has been held up by its machine, and the nodes with it."""
BEFORE_STALL, AFTER_STALL = 30.0, 150.0
"""Service times around a stall that are left out: what was waiting then, and until the queues have forgotten it."""
BEGIN_S = 0.3
"""From the start of the nodes to the first request: all have reported by then."""
PATIENCE_S = 60.0
"""For the answers to the last requests: a policy that overloads a node leaves it a long queue."""


@dataclass(frozen=True)
class Options:
    """`service_time_s`: the mean on a node of full speed."""

    target: str
    requests: int
    service_time_s: float
    seed: int


@dataclass(frozen=True)
class Outcome:
    """What became of a cell."""

    cell: Cell
    figures: Figures
    perfect: Figures
    lost: int
    duplicated: int
    late_p99_ms: float
    """How late the client sent, at its 99th percentile."""
    late_max_ms: float
    left_out: int
    """Requests that the figures leave out, here and under perfect knowledge, as the machine stalled."""
    served: tuple[int, ...]
    """Requests that each node answered."""
    load_average: float
    """The machine's, before the cell."""

    def row(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "policy": self.cell.policy,
            "nodes": self.cell.nodes,
            "interval": self.cell.interval,
            **{name: numbers(getattr(self.figures, name)) for name in ("mean", "p99")},
            **{f"perfect_{name}": numbers(getattr(self.perfect, name)) for name in ("mean", "p99")},
            "mean_ratio": round(self.figures.mean.value / self.perfect.mean.value, 3),
            "p99_ratio": round(self.figures.p99.value / self.perfect.p99.value, 3),
            "lost": self.lost,
            "duplicated": self.duplicated,
            "late_p99_ms": round(self.late_p99_ms, 3),
            "late_max_ms": round(self.late_max_ms, 3),
            "left_out": self.left_out,
            "served": list(self.served),
            "load_average": round(self.load_average, 2),
        }


def numbers(estimate: Estimate) -> dict[str, float]:
    """An estimate as JSON has it."""
    return {"value": round(estimate.value, 3), "half_width": round(estimate.half_width, 3)}


async def run(
    wanted: Sequence[Cell], options: Options, folder: Path, tell: Callable[[Outcome], None]
) -> dict[str, Any]:
    """Run the cells; returns and writes the summary. Raises what the lab and its programs raise."""
    folder.mkdir(parents=True)
    programs = {name: compile_program(folder, name, HERE / f"{name}.c") for name in ("client", "servers")}
    for nodes in {cell.nodes: None for cell in wanted}:
        drawn = trace.draw(options.requests, NODES[nodes], options.seed)
        trace.write(drawn, trace_file(folder, nodes), options.service_time_s)
    rows: list[dict[str, Any]] = []
    summary: dict[str, Any] = {
        "target": options.target,
        "program_sha256": hashlib.sha256(Program.compiled().json.read_bytes()).hexdigest(),
        "requests": options.requests,
        "service_time_ms": options.service_time_s * 1000,
        "load": trace.LOAD,
        "seed": options.seed,
        "cells": rows,
    }
    members = len(next(iter(NODES.values())))
    with Network(folder, members) as network:
        async with Lab(options.target, members, network, REAL_TIME) as lab:
            for number, cell in enumerate(wanted, start=1):
                outcome = await run_cell(lab, number, cell, options, programs)
                rows.append(outcome.row())
                (folder / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")
                tell(outcome)
    for program in programs.values():
        program.unlink()
    return summary


async def run_cell(lab: Lab, service: int, cell: Cell, options: Options, programs: dict[str, Path]) -> Outcome:
    """Run one cell on a service that nobody has used."""
    load_average = os.getloadavg()[0]
    policy = POLICIES[cell.policy]
    await lab.write(lab.entries(Service(service, len(NODES[cell.nodes]), policy.policy, policy.w_queue)))
    drawn = trace_file(lab.network.folder, cell.nodes)
    rows = lab.network.folder / f"{cell.name}.outcomes"
    interval = UNHEARD_INTERVAL if cell.interval is None else cell.interval
    report_ns = int(interval * options.service_time_s * 1e9)
    slowdowns = [f"{slowdown * 100:.0f}" for slowdown in NODES[cell.nodes]]
    servers = lab.network.start(
        f"servers-{cell.name}",
        [*REAL_TIME, str(programs["servers"]), str(service), str(report_ns), str(SMOOTHING), str(drawn), *slowdowns],
        "nodes",
    )
    start_ns = time.monotonic_ns() + int((BEGIN_S + 2 * report_ns / 1e9) * 1e9)
    client = lab.network.start(
        f"client-{cell.name}",
        [
            *REAL_TIME,
            str(programs["client"]),
            "c",
            str(service),
            str(start_ns),
            str(int(PATIENCE_S * 1e9)),
            str(drawn),
            str(rows),
        ],
        "client",
    )
    while client.handle.poll() is None:
        servers.check()
        await asyncio.sleep(0.05)
    if client.handle.returncode != 0:
        client.check()
    lab.network.stop(client)
    lab.network.stop(servers)
    return judge(cell, np.fromfile(rows, OUTCOME), options, load_average)


def trace_file(folder: Path, nodes: str) -> Path:
    """Where the trace for these nodes is."""
    return folder / f"{nodes.replace(' ', '-')}.trace"


def judge(cell: Cell, outcomes: Any, options: Options, load_average: float) -> Outcome:
    """From a cell's raw rows to its outcome. Response times count from the intended start; what is lost has none.

    Raises TooFew.
    """
    drawn = trace.draw(options.requests, NODES[cell.nodes], options.seed)
    unit_ns = options.service_time_s * 1e9
    late = outcomes["sent_ns"] / unit_ns - drawn.start
    quiet = calm(drawn.start, late)
    answered = outcomes["answers"] > 0
    times = outcomes["received_ns"] / unit_ns - drawn.start
    return Outcome(
        cell=cell,
        figures=figures(times[answered & quiet]),
        perfect=figures(perfect.responses(drawn, NODES[cell.nodes])[quiet]),
        lost=int(np.sum(~answered)),
        duplicated=int(np.sum(outcomes["answers"] > 1)),
        late_p99_ms=float(np.quantile(late, 0.99)) * unit_ns / 1e6,
        late_max_ms=float(np.max(late)) * unit_ns / 1e6,
        left_out=int(np.sum(~quiet)),
        served=tuple(np.bincount(outcomes["member"][answered], minlength=len(NODES[cell.nodes])).tolist()),
        load_average=load_average,
    )


def calm(start: trace.Times, late: trace.Times) -> Any:
    """Which requests started far from any stall of the machine, by how late the client sent. All in service times."""
    stalled = start[late > STALL]
    if not len(stalled):
        return np.ones(len(start), bool)
    following = np.searchsorted(stalled, start)
    until_next = np.append(stalled, np.inf)[following] - start
    since_last = start - np.append(-np.inf, stalled)[following]
    return (until_next > BEFORE_STALL) & (since_last > AFTER_STALL)


def judged_again(folders: Sequence[Path]) -> dict[str, Any]:
    """The summary of an experiment that was run in several parts with the same options, from their raw rows."""
    parts = [json.loads((folder / "summary.json").read_text()) for folder in folders]
    rows: list[dict[str, Any]] = []
    for folder, part in zip(folders, parts, strict=True):
        options = Options(part["target"], part["requests"], part["service_time_ms"] / 1000, part["seed"])
        for row in part["cells"]:
            cell = Cell(row["policy"], row["nodes"], row["interval"])
            outcomes = np.fromfile(folder / f"{cell.name}.outcomes", OUTCOME)
            rows.append(judge(cell, outcomes, options, row["load_average"]).row())
    differing = [name for name in parts[0] if name != "cells" and len({str(part[name]) for part in parts}) > 1]
    if differing:
        raise ValueError(f"not parts of one experiment: they differ in {', '.join(differing)}")
    order = list(cells(list(POLICIES), INTERVALS))
    rows.sort(key=lambda row: order.index(Cell(row["policy"], row["nodes"], row["interval"])))
    return {**parts[0], "cells": rows}
