"""What machine an experiment ran on, and how busy it was: a row beside its others."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from experiments.machine import facts


def machine() -> dict[str, Any]:
    """Commit, kernel, processor, cores, load average, and the kernel's pressure where it tells."""
    found = facts().as_row() | {"load_average": [round(one, 2) for one in os.getloadavg()]}
    for name in ("cpu", "memory", "io"):
        with suppress(OSError):
            found[f"pressure_{name}"] = Path(f"/proc/pressure/{name}").read_text().splitlines()[0]
    return found
