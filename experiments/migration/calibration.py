"""How many frames a second keep a node half busy on this machine: told by having it serve some.

A run shows a migration for load only where the functions alone are no reason to move, and how fast they are differs
between machines, and on a shared one from hour to hour. The first seconds of the trial warm the functions up.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path

from experiments.migration import records
from experiments.migration.generator import end_load, start_load
from experiments.migration.options import APPLICATION, HTTP, Options
from experiments.migration.records import OK
from topologies.testbed import Testbed

SHARE = 0.5
"""Of a node's budget, for all functions."""
TRIAL_RATE = 5.0
"""Frames a second of each camera in the trial."""
WARM_S = 2.0
TRIAL_S = 2.0
FIRST_S = 20.0
"""Longest until the load begins."""
LOWEST, HIGHEST = 1.0, 30.0
"""Frames a second of a camera."""


@dataclass(frozen=True)
class Costs:
    """CPU time in ns of what the load sends."""

    frame: float
    call: float
    """Over HTTP."""


def fitting_rate(costs: Costs, budget_cores: float, cameras: int, calls: float) -> float:
    """Frames a second of each camera, in tenths, with which they and ``calls`` a second use ``SHARE`` of a budget."""
    left = SHARE * budget_cores * 1e9 - calls * costs.call
    rate = left / costs.frame / cameras
    return min(HIGHEST, max(LOWEST, int(rate * 10) / 10))


async def costs(options: Options, bed: Testbed, rows: Path) -> Costs:
    """What a frame and a call cost on all nodes, from a trial. Raises RuntimeError if the trial fails."""
    trial = replace(options, duration_s=WARM_S + TRIAL_S + FIRST_S, frames_per_second=TRIAL_RATE)
    with ExitStack() as open_files:
        usages = {
            service: [
                open_files.enter_context(closing(bed.hierarchy.node(node).child(spec.component).usage()))
                for node in spec.instances
            ]
            for service, spec in bed.fabric.services.items()
        }

        def used() -> dict[str, int]:
            return {service: sum(usage.read_ns() for usage in group) for service, group in usages.items()}

        load = start_load("trial", trial, bed, rows)
        try:
            deadline = time.monotonic() + FIRST_S
            while not (rows.exists() and rows.stat().st_size > 1000):
                if time.monotonic() > deadline or load.end() is not None:
                    raise RuntimeError(f"the trial load was not served; see {load.log}")
                await asyncio.sleep(0.05)
            await asyncio.sleep(WARM_S)
            since_ns, before = time.monotonic_ns(), used()
            await asyncio.sleep(TRIAL_S)
            until_ns, after = time.monotonic_ns(), used()
        finally:
            await end_load(bed, load)
    served = [
        one.service
        for one in records.read_requests(rows)
        if one.outcome == OK and since_ns <= (one.received_ns or 0) < until_ns
    ]
    frames, calls = served.count(APPLICATION), served.count(HTTP)
    if frames == 0:
        raise RuntimeError(f"no frame of the trial load was served; see {load.log}")
    spent = {service: after[service] - before[service] for service in after}
    call = spent.pop(HTTP)
    return Costs(sum(spent.values()) / frames, call / calls if calls else 0.0)
