"""When the lines of a component's output were written: stamps beside the log, since what prints it has no clock.

`<log>.times` has rows of three big-endian numbers of 64 bits: the inode of a file of the log, an offset in it, and the
time in ms since 1970 at which what stands there was written. There is at most one a second, and so many of each file.
"""

from __future__ import annotations

import contextlib
import os
import struct
import time
from collections.abc import Callable
from pathlib import Path

from greengrass_agent.logs.cursor import Part, Stamp
from greengrass_agent.logs.rotation import Limits, RotatedFile, old_file

_ROW = struct.Struct(">QQQ")
_Row = tuple[int, int, int]
APART_MS = 1000
"""Between two stamps of a file."""
ROWS = 4096
"""Stamps of a file at most: of a log that covers a long time the older ones are thinned out, again and again."""


class StampedFile:
    """A sink of a BoundedWriter: a rotated file, and the stamps of what is written to it."""

    def __init__(self, path: Path, limits: Limits, *, clock: Callable[[], float] = time.time) -> None:
        """`clock` says the time in seconds, as the file system does."""
        self._file = RotatedFile(path, limits, clock=clock)
        self._path = path
        self._limits = limits
        self._clock = clock
        self._stamped: int | None = None
        """The inode that the last stamp is of."""
        self._rows = 0
        """Its stamps."""
        self._last_ms = 0

    def write(self, data: bytes) -> int:
        """Write data, or a beginning of it. Raises OSError; for want of a stamp it does not."""
        done = self._file.write(data)
        with contextlib.suppress(OSError):
            self._stamp(done)
        return done

    def close(self) -> None:
        """Close the file; the next write opens it again."""
        self._file.close()

    def _stamp(self, done: int) -> None:
        inode, size = self._file.place
        now = int(self._clock() * 1000)
        begin = size - done
        if inode == self._stamped and abs(now - self._last_ms) < APART_MS:
            return
        self._last_ms = now
        if inode == self._stamped and self._rows < ROWS:
            with times_of(self._path).open("ab") as file:
                file.write(_ROW.pack(inode, begin, now))
            self._rows += 1
            return
        rows = list(_ROW.iter_unpack(_whole(times_of(self._path))))
        own = [row for row in rows if row[0] == inode and row[1] <= begin] if begin else []
        # Stamps of files that have gone would be taken for those of a new one with the same inode.
        there = {file.stat().st_ino for file in old_files(self._path, self._limits.files) if file.exists()}
        others = [row for row in rows if row[0] in there - {inode}]
        own = [*_thinned(own), (inode, begin, now)]
        _write_whole(times_of(self._path), b"".join(_ROW.pack(*row) for row in (*others, *own)))
        self._stamped, self._rows = inode, len(own)


def _thinned(rows: list[_Row]) -> list[_Row]:
    """The stamps of a file, without most of the older ones if they are many: what is left tells of a line when it was
    written as exactly as a small part of its age.

    One stays of each slot of time. Slots of older stamps are longer, by powers of two, so that they are made of shorter
    ones and what stays of them has stayed before.
    """
    if len(rows) < ROWS:
        return rows
    kept, last = rows[:1], (0, 0)
    for row in rows[1:]:
        part = abs(rows[-1][2] - row[2]) * 32 // ROWS
        width = 1 << max(0, part.bit_length() - 1)
        if (slot := (width, row[2] // width)) != last:
            kept.append(row)
            last = slot
    return kept


def _write_whole(path: Path, data: bytes) -> None:
    """Replace a file at once. Raises OSError."""
    fresh = path.with_suffix(".new")
    fresh.write_bytes(data)
    fresh.replace(path)


def times_of(path: Path) -> Path:
    """Where the stamps of a log are."""
    return path.with_name(f"{path.name}.times")


def old_files(path: Path, files: int) -> list[Path]:
    """The files that a log may have made way for, oldest first."""
    return [old_file(path, number) for number in range(files - 1, 0, -1)]


def opened(path: Path, files: int) -> list[tuple[int, Part]]:
    """The files of a log, oldest first: opened, so that they stay what they are, and what is known of each.

    Who asks closes them.
    """
    rows: dict[int, list[Stamp]] = {}
    for inode, offset, time_ms in _ROW.iter_unpack(_whole(times_of(path))):
        rows.setdefault(inode, []).append(Stamp(offset, time_ms))
    found: list[tuple[int, Part]] = []
    # From the newest: a file that makes way meanwhile is met once more under its next name, and known by its inode.
    for file in (path, *reversed(old_files(path, files))):
        try:
            descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            continue
        status = os.fstat(descriptor)
        if any(status.st_ino == part.inode for _, part in found):
            os.close(descriptor)
            continue
        stamps = tuple(sorted(rows.get(status.st_ino, ()), key=lambda stamp: stamp.offset))
        began = stamps[0].time_ms if stamps else int(status.st_mtime * 1000)
        found.append((descriptor, Part(status.st_ino, began, status.st_size, stamps)))
    return found[::-1]


def _whole(path: Path) -> bytes:
    """The whole rows of a file of stamps; nothing where there is none."""
    try:
        data = path.read_bytes()
    except OSError:
        return b""
    return data[: len(data) // _ROW.size * _ROW.size]
