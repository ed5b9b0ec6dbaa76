"""What machine an experiment ran on, and how busy it was: a row beside its others."""

from __future__ import annotations

import os
import platform
from contextlib import suppress
from pathlib import Path
from typing import Any

from experiments.chaos.scenario import commit


def machine() -> dict[str, Any]:
    """Commit, kernel, processor, cores, load average, and the kernel's pressure where it tells."""
    facts: dict[str, Any] = {
        "commit": commit(),
        "kernel": platform.release(),
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)),
        "load_average": [round(one, 2) for one in os.getloadavg()],
    }
    for name in ("cpu", "memory", "io"):
        with suppress(OSError):
            facts[f"pressure_{name}"] = Path(f"/proc/pressure/{name}").read_text().splitlines()[0]
    return facts


def processor() -> str:
    """The processor's name."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.machine()
