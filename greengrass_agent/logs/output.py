"""What a component prints: through pipes into a log of bounded size, and the last line at hand for messages."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from greengrass_agent.logs.rotation import Limits
from greengrass_agent.logs.times import StampedFile
from greengrass_agent.logs.writer import BoundedWriter

log = logging.getLogger(__name__)

RATE = 1 << 20
"""Bytes a second that are written in the long run; a component that prints more loses some of it."""
BURST = 8 << 20
"""Bytes that may come at once."""
READ = 1 << 16
"""Bytes of a pipe that are read at a time: all that it holds."""
PAUSE_S = 0.005
"""After a pipe was full. A component that floods it waits so long, and the agent has time for everything else."""
QUOTED = 300
"""Bytes of output that a message quotes at most."""
_MISSING = b"\n(output is missing here)\n"


@dataclass(slots=True)
class Allowance:
    """A bucket of bytes that fills at a rate. Pure: time is passed in, in seconds."""

    rate: float
    burst: float
    _left: float = 0.0
    _at: float | None = None

    def take(self, size: int, now: float) -> bool:
        """Take that many bytes, if they are there."""
        passed = self.burst / self.rate if self._at is None else now - self._at
        self._left = min(self.burst, self._left + passed * self.rate)
        self._at = now
        if size > self._left:
            return False
        self._left -= size
        return True


class Output:
    """The output of one component's scripts, and of whatever they leave behind. Belongs to the running event loop."""

    def __init__(self, path: Path, limits: Limits) -> None:
        self._writer = BoundedWriter(str(path), StampedFile(path, limits), tell=log.warning)
        self._allowance = Allowance(RATE, BURST)
        self._missing = False
        self._tail = b""
        self._pipes: dict[int, asyncio.TimerHandle | None] = {}
        """Ends that are read, and what begins to read them again after a pause."""

    @property
    def dropped(self) -> int:
        """Bytes that were printed and not written."""
        return self._writer.dropped

    @contextlib.contextmanager
    def pipe(self) -> Iterator[int]:
        """A descriptor for a process's output; close to us once the process has it. Raises OSError."""
        read, write = os.pipe2(os.O_CLOEXEC)
        try:
            os.set_blocking(read, False)
            self._listen(read)
            yield write
        finally:
            os.close(write)

    def last_line(self) -> str:
        """The last line that was printed and has text; usually what was wrong. Empty if there is none."""
        for pipe in list(self._pipes):
            self._readable(pipe)
        lines = self._tail.decode(errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "")

    def stop_reading(self) -> None:
        """Close the pipes: what still prints there gets SIGPIPE."""
        for pipe in list(self._pipes):
            self._readable(pipe)
        for pipe in list(self._pipes):
            self._forget(pipe)

    def close(self) -> None:
        """Write what is there, once nothing is read any more. May wait for the disk: for a thread."""
        self._writer.close()

    def _listen(self, pipe: int) -> None:
        self._pipes[pipe] = None
        asyncio.get_running_loop().add_reader(pipe, self._readable, pipe)

    def _forget(self, pipe: int) -> None:
        self._rest(pipe)
        del self._pipes[pipe]
        os.close(pipe)

    def _rest(self, pipe: int) -> None:
        asyncio.get_running_loop().remove_reader(pipe)
        if (timer := self._pipes[pipe]) is not None:
            timer.cancel()

    def _readable(self, pipe: int) -> None:
        try:
            data = os.read(pipe, READ)
        except BlockingIOError:
            return
        if not data:
            self._forget(pipe)
            return
        self._take(data)
        if len(data) == READ:
            self._rest(pipe)
            self._pipes[pipe] = asyncio.get_running_loop().call_later(PAUSE_S, self._listen, pipe)

    def _take(self, data: bytes) -> None:
        self._tail = (self._tail + data[-QUOTED:])[-QUOTED:]
        if not self._allowance.take(len(data), time.monotonic()):
            self._writer.drop(data)
            self._missing = True
        else:
            self._missing = not self._writer.add(_MISSING + data if self._missing else data)
