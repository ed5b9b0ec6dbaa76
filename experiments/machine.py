"""What machine an experiment runs on, and which commit of this repository."""

from __future__ import annotations

import contextlib
import os
import platform
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from topologies.testbed import REPOSITORY_ROOT


@dataclass(frozen=True)
class Facts:
    """What does not change in a run."""

    cores: int
    """That the run may use."""
    cpu: str
    kernel: str
    python: str
    commit: str
    """`commit()`."""

    def as_row(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def facts() -> Facts:
    """Of the machine that this runs on."""
    model = ""
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return Facts(
        len(os.sched_getaffinity(0)),
        model or platform.machine(),
        platform.release(),
        platform.python_version(),
        commit(),
    )


def as_it_is() -> dict[str, Any]:
    """The facts, the load average, and the kernel's pressure where it tells: a row beside an experiment's others."""
    found = facts().as_row() | {"load_average": [round(one, 2) for one in os.getloadavg()]}
    for name in ("cpu", "memory", "io"):
        with contextlib.suppress(OSError):
            found[f"pressure_{name}"] = Path(f"/proc/pressure/{name}").read_text().splitlines()[0]
    return found


def commit() -> str:
    """The commit that runs; with `+` if files differ from it; empty if it is none."""

    def git(*words: str) -> str:
        command = ["git", "-c", f"safe.directory={REPOSITORY_ROOT}", "-C", str(REPOSITORY_ROOT), *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else ""

    try:
        found = git("rev-parse", "HEAD")
        return f"{found}+" if found and git("status", "--porcelain", "--untracked-files=no") else found
    except FileNotFoundError:
        return ""
