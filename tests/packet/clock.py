"""A switch's clock that a test can set: BMv2's is the system's, which nobody can step in a namespace of its own."""

from __future__ import annotations

import os
import struct
import subprocess
from pathlib import Path

SHIM = Path(__file__).with_name("step.c")
CALLERS = {"bmv2": "libstdc++", "softswitch": "/softswitch/"}
"""Part of the path of the object that asks for the time of packets, by target."""


class Clock:
    """How far one switch's clock is from the true time. `folder` must outlive the switch. Needs gcc."""

    def __init__(self, target: str, folder: Path) -> None:
        library = folder / "step.so"
        subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", library, SHIM, "-ldl"], check=True)
        self._file = folder / "step"
        self._seconds = 0.0
        self.step(0)
        self.environment = {
            "LD_PRELOAD": str(library),
            "STEP_FILE": str(self._file),
            "STEP_CALLER": CALLERS[target],
        }
        """What the switch must be started with."""

    def step(self, seconds: float) -> None:
        """Set the clock back (negative) or forward."""
        self._seconds += seconds
        # In one write of the file's 8 bytes: the switch reads them at any time.
        descriptor = os.open(self._file, os.O_RDWR | os.O_CREAT)
        try:
            os.pwrite(descriptor, struct.pack("=q", int(self._seconds * 1e9)), 0)
        finally:
            os.close(descriptor)
