"""The queue numbers that a gateway shares with the emitter: one small file, mapped by both.

Each side writes only its own half. The gateway writes into the slot that is not in force and then puts it in force, so
the emitter finds whole numbers at any time, also when it runs in the middle of a write and will not let it go on.

Numbers alone do not say that there is still somebody behind them. So the gateway's loop says, with each of its
heartbeats, until when what stands here may be believed; a gateway that stands still says nothing more.
"""

from __future__ import annotations

import mmap
import os
import struct
import sys
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

SIZE = 4096
_SEQUENCE = struct.Struct("=Q")
_NUMBERS = struct.Struct("=IIIBBxxQQQ")
_SLOT = struct.Struct(_NUMBERS.format + "Q")
"""The numbers, and until when they hold."""
_UNTIL = struct.Struct("=Q")
_LOWEST = 0 if sys.byteorder == "little" else 7
"""Of a sequence's bytes."""
_SLOTS_AT = (64, 192)
_REPORTED_AT = 2048
_REPORTED = struct.Struct("=IB")
WAKING_GROWTH = 4
"""Requests by which the queue must have grown beyond the last report for the emitter to be woken."""


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
                # Not only a size: a page without a place on disk ends who writes to it (SIGBUS) when the disk is full.
                os.posix_fallocate(file, 0, SIZE)
            self._map = mmap.mmap(file, SIZE)
        finally:
            os.close(file)
        self._count = 0
        self._packed = b""
        """The numbers that were written last."""
        self._slot = b""
        """Read last."""
        self._numbers = QueueNumbers()
        self._holds_until_ns = 0
        if create:
            _SEQUENCE.pack_into(self._map, 0, 0)
            self.write(QueueNumbers())
            self.report(0)

    def write(self, numbers: QueueNumbers) -> bool:
        """Gateway: publish the numbers. Whether the emitter should be woken, as they cannot wait until it looks."""
        packed = _NUMBERS.pack(
            numbers.queue_depth,
            numbers.in_flight,
            numbers.concurrency,
            numbers.ready,
            numbers.draining,
            numbers.service_time_ns,
            numbers.oldest_start_ns,
            numbers.received,
        )
        changed, self._packed = packed != self._packed, packed
        self._put()
        reported, resting = _REPORTED.unpack_from(self._map, _REPORTED_AT)
        return numbers.queue_depth >= reported + WAKING_GROWTH or bool(resting and changed)

    def hold(self, until_ns: int) -> None:
        """Gateway: what stands here holds until then (time.monotonic_ns), also what is published meanwhile."""
        self._holds_until_ns = until_ns
        self._put()

    @property
    def holds_until_ns(self) -> int:
        """Emitter: until when what was read last may be believed; 0 before the gateway's first heartbeat."""
        return self._holds_until_ns

    def read(self) -> QueueNumbers:
        """Emitter: the numbers as last published; the same object as before where they are the same."""
        while True:
            before = self._map[:8]
            begin = _SLOTS_AT[before[_LOWEST] & 1]
            slot = self._map[begin : begin + _SLOT.size]
            # Only a writer that has moved on since can have come back to this slot.
            if before == self._map[:8]:
                break
        if slot != self._slot:
            depth, in_flight, concurrency, ready, draining, *times, self._holds_until_ns = _SLOT.unpack(slot)
            numbers = QueueNumbers(depth, in_flight, concurrency, bool(ready), bool(draining), *times)
            if numbers != self._numbers:
                self._numbers = numbers
            self._slot = slot
        return self._numbers

    def report(self, queue_depth: int, *, resting: bool = False) -> None:
        """Emitter: say which queue depth the last report told; `resting`: it looks seldom and wants to be woken."""
        _REPORTED.pack_into(self._map, _REPORTED_AT, queue_depth, resting)

    def reported(self) -> int:
        """Gateway: the queue depth that the last report told."""
        depth, _ = _REPORTED.unpack_from(self._map, _REPORTED_AT)
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

    def _put(self) -> None:
        self._count += 1
        begin = _SLOTS_AT[self._count & 1]
        self._map[begin : begin + _NUMBERS.size] = self._packed
        _UNTIL.pack_into(self._map, begin + _NUMBERS.size, self._holds_until_ns)
        _SEQUENCE.pack_into(self._map, 0, self._count)
