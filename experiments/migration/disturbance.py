"""The competing computation: its start and end inside a node's CPU budget."""

from __future__ import annotations

import asyncio
import signal
import sys
import time

from topologies.processes import Process
from topologies.testbed import Testbed

UP_S = 30.0


def disturb(bed: Testbed, node: str, processes: int = 1) -> int:
    """Start the competing computation inside a node's CPU budget for good; returns the time, in ns."""
    trigger_ns = time.monotonic_ns()
    start(bed, node, processes)
    return trigger_ns


def start(bed: Testbed, node: str, processes: int = 1) -> Process:
    """Start its processes."""
    command = [sys.executable, "-m", "experiments.migration.compete", "--processes", str(processes)]
    for path in bed.competing(node):
        command += ["--join", str(path)]
    return bed.start(f"compete-{node}", command, host=node)


class Competition:
    """A competing computation that comes and goes at once: it is stopped and continued rather than started."""

    def __init__(self, bed: Testbed, node: str) -> None:
        self._process = start(bed, node)

    async def up(self) -> None:
        """Wait until it computes, and stop it. Raises ProcessEnded, and RuntimeError when it does not begin."""
        deadline = time.monotonic() + UP_S
        while not self._process.log.read_text():
            self._process.check()
            if time.monotonic() > deadline:
                raise RuntimeError(f"the competing computation does not begin; see {self._process.log}")
            await asyncio.sleep(0.05)
        self.end()

    def begin(self) -> int:
        """Let it compute; returns the time, in ns."""
        now = time.monotonic_ns()
        self._process.signal(signal.SIGCONT)
        return now

    def end(self) -> int:
        """Let it stand still; returns the time, in ns."""
        self._process.signal(signal.SIGSTOP)
        return time.monotonic_ns()

    def kill(self) -> None:
        """End it for good: while it stands still, nothing else would."""
        self._process.signal(signal.SIGKILL)
        self._process.handle.wait()
