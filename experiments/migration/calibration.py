"""How many frames a second keep a node half busy on this machine: told by having it serve some.

A run shows a migration for load only where the functions alone are no reason to move, and how fast they are differs
between machines, and on a shared one from hour to hour.
"""

from __future__ import annotations

import asyncio
import subprocess
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

from experiments.migration import records
from experiments.migration.generator import LOSS_TIMEOUT_S, start_load
from experiments.migration.options import Options
from experiments.migration.records import OK
from topologies.testbed import Testbed

SHARE = 0.5
"""Of a node's budget, for the application."""
TRIAL_RATE = 5.0
"""Frames a second of each camera in the trial."""
TRIAL_S = 2.0
LOWEST, HIGHEST = 1.0, 30.0
"""Frames a second of a camera."""


def fitting_rate(frame_ns: float, budget_cores: float, cameras: int) -> float:
    """Frames a second of each camera, in tenths, with which ``frame_ns`` of CPU time a frame use ``SHARE``."""
    rate = SHARE * budget_cores * 1e9 / frame_ns / cameras
    return min(HIGHEST, max(LOWEST, int(rate * 10) / 10))


async def frame_cost_ns(options: Options, bed: Testbed, rows: Path) -> float:
    """CPU time on all nodes for a frame, in ns, from a trial. Raises RuntimeError if the trial fails."""
    trial = replace(options, duration_s=TRIAL_S, frames_per_second=TRIAL_RATE, http_per_second=0)
    with ExitStack() as open_files:
        usages = [open_files.enter_context(closing(bed.hierarchy.node(node).usage())) for node in bed.fabric.nodes]
        before = sum(usage.read_ns() for usage in usages)
        load = start_load("trial", trial, bed, rows)
        try:
            await asyncio.to_thread(load.handle.wait, TRIAL_S + LOSS_TIMEOUT_S + 20)
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"the trial load did not end in time; see {load.log}") from None
        finally:
            bed.stop(load)
        used = sum(usage.read_ns() for usage in usages) - before
    served = sum(one.outcome == OK for one in records.read_requests(rows)) if load.handle.returncode == 0 else 0
    if served == 0:
        raise RuntimeError(f"no frame of the trial load was served; see {load.log}")
    for scratch in (rows, rows.with_suffix(".json")):
        scratch.unlink()
    return used / served
