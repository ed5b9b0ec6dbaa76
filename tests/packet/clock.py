"""A switch's clock that a test can set: BMv2's is the system's, which nobody can step in a namespace of its own."""

from __future__ import annotations

import os
import struct
import subprocess
from pathlib import Path

SHIM = Path(__file__).with_name("step.c")
CALLERS = {"bmv2": "12SimpleSwitchC:12SimpleSwitch6get_ts:12SimpleSwitch8receive_", "softswitch": "/softswitch/"}
"""Parts of the names of the functions, or of the path of the object, that ask for the time of packets, by target."""
BEGINNING_US = 10**12
"""What it shows when the switch starts, so that there is a past to set it to."""


class Clock:
    """One switch's clock, which stands still where it is set. `folder` must outlive the switch. Needs gcc."""

    def __init__(self, target: str, folder: Path) -> None:
        library = folder / "step.so"
        subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-Wall", "-o", library, SHIM, "-ldl"], check=True)
        self._file = os.open(folder / "clock", os.O_RDWR | os.O_CREAT, 0o600)
        self._ns = BEGINNING_US * 1000
        self._write()
        self.environment = {
            "LD_PRELOAD": str(library),
            "CLOCK_FILE": str(folder / "clock"),
            "CLOCK_CALLERS": CALLERS[target],
        }
        """What the switch must be started with."""

    def step(self, seconds: float) -> None:
        """Set the clock back (negative) or forward, to the microsecond."""
        self._ns += round(seconds * 1e6) * 1000
        self._write()

    def set(self, microseconds: int) -> None:
        """Let it show that so much time has passed since the switch's start."""
        self._ns = (BEGINNING_US + microseconds) * 1000
        self._write()

    def _write(self) -> None:
        # In one write of the file's 8 bytes: the switch reads them at any time.
        os.pwrite(self._file, struct.pack("=q", self._ns), 0)
