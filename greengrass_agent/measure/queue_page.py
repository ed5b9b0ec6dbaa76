"""The queue numbers that a gateway shares with the emitter: one small file, mapped by both.

Each side writes only its own half. The gateway writes into the slot that is not in force and then puts it in force, so
the emitter finds whole numbers at any time, also when it runs in the middle of a write and will not let it go on.
"""

from __future__ import annotations

import mmap
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

SIZE = 4096
_SEQUENCE = struct.Struct("=Q")
_NUMBERS = struct.Struct("=IIIBBxxQQQ")
_SLOTS_AT = (64, 192)
_REPORTED_AT = 2048
_REPORTED = struct.Struct("=I")


@dataclass(frozen=True, slots=True)
class QueueNumbers:
    """What a gateway knows of its queue."""

    queue_depth: int = 0
    """Requests waiting for a worker."""
    in_flight: int = 0
    """Requests being executed."""
    concurrency: int = 0
    """Requests that are executed at a time: the workers in use."""
    ready: bool = False
    """Whether there is a worker to execute a request."""
    draining: bool = False
    """Whether new work should go elsewhere."""
    service_time_ns: int = 0
    """EWMA of the time that a request takes in a worker; 0 before the first."""
    oldest_start_ns: int = 0
    """time.monotonic_ns at which the oldest request in flight was given to its worker; 0 for none."""
    received: int = 0
    """Pieces of new work since the gateway began: requests, or TCP connections."""


class Page:
    """One instance's shared numbers. The gateway creates it, agent and emitter open it."""

    def __init__(self, path: Path, *, create: bool = False) -> None:
        """Raises OSError."""
        flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0)
        file = os.open(path, flags, 0o600)
        try:
            if create:
                os.ftruncate(file, SIZE)
            self._map = mmap.mmap(file, SIZE)
        finally:
            os.close(file)
        self._count = 0
        if create:
            _SEQUENCE.pack_into(self._map, 0, 0)
            self.write(QueueNumbers())
            self.report(0)

    def write(self, numbers: QueueNumbers) -> None:
        """Gateway: publish the numbers."""
        self._count += 1
        _NUMBERS.pack_into(
            self._map,
            _SLOTS_AT[self._count & 1],
            numbers.queue_depth,
            numbers.in_flight,
            numbers.concurrency,
            numbers.ready,
            numbers.draining,
            numbers.service_time_ns,
            numbers.oldest_start_ns,
            numbers.received,
        )
        _SEQUENCE.pack_into(self._map, 0, self._count)

    def read(self) -> QueueNumbers:
        """Emitter: the numbers as last published."""
        while True:
            (before,) = _SEQUENCE.unpack_from(self._map, 0)
            fields = _NUMBERS.unpack_from(self._map, _SLOTS_AT[before & 1])
            (after,) = _SEQUENCE.unpack_from(self._map, 0)
            # Only a writer that has moved on since can have come back to this slot.
            if before == after:
                depth, in_flight, concurrency, ready, draining, *times = fields
                return QueueNumbers(depth, in_flight, concurrency, bool(ready), bool(draining), *times)

    def report(self, queue_depth: int) -> None:
        """Emitter: say which queue depth the last report told."""
        _REPORTED.pack_into(self._map, _REPORTED_AT, queue_depth)

    def reported(self) -> int:
        """Gateway: the queue depth that the last report told."""
        (depth,) = _REPORTED.unpack_from(self._map, _REPORTED_AT)
        return int(depth)

    def close(self) -> None:
        """Unmap; the file stays."""
        self._map.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
