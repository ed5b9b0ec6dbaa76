"""The load generator's process: what it is told, and its start on the client's host."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from experiments.migration.options import APPLICATION, HTTP, Options
from hitless.mqtt.identities import client_identity
from topologies.processes import Process
from topologies.testbed import Testbed

CLIENT_HOST = "client"
LOAD_IDENTITY = "load"
LOSS_TIMEOUT_S = 5.0
END_S = 20.0
"""Longest that the load takes to end, beside what it waits for answers."""


def start_load(name: str, options: Options, bed: Testbed, rows: Path) -> Process:
    """Start the load, its rate known; it writes a row for each request to ``rows``, beside its configuration."""
    file = rows.with_suffix(".json")
    file.write_text(json.dumps(_configuration(options, bed, rows), indent=1))
    return bed.start(name, [sys.executable, "-m", "experiments.migration.load", str(file)], host=CLIENT_HOST, nice=-10)


async def end_load(bed: Testbed, load: Process) -> None:
    """Have the load send nothing more, and wait until every request is answered or lost. Raises RuntimeError."""
    load.signal(signal.SIGTERM)
    try:
        await asyncio.to_thread(load.handle.wait, LOSS_TIMEOUT_S + END_S)
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"the load did not end in time; see {load.log}") from None
    finally:
        bed.stop(load)


def _configuration(options: Options, bed: Testbed, rows: Path) -> dict[str, Any]:
    fabric = bed.fabric
    return {
        "rows": str(rows),
        "duration_s": options.duration_s,
        "seed": options.seed,
        "cameras": options.cameras,
        "frames_per_second": options.frames_per_second,
        "http_per_second": options.http_per_second,
        "loss_timeout_s": LOSS_TIMEOUT_S,
        "application": {"name": APPLICATION, "service_id": fabric.services[APPLICATION].service_id},
        "http": {"name": HTTP, "service_id": fabric.services[HTTP].service_id},
        "broker": bed.broker_settings(client_identity(LOAD_IDENTITY)).model_dump(mode="json"),
    }
