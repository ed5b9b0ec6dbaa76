"""When the lines of a component's output were written: stamps beside the log, since what prints it has no clock.

`<log>.times` has rows of three big-endian numbers of 64 bits: the inode of a file of the log, an offset in it, and the
time in ms since 1970 at which what stands there was written. There is at most one a second.
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
APART_MS = 1000
"""Between two stamps of a file."""


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
        row = _ROW.pack(inode, size - done, now)
        if inode != self._stamped:
            # The file is new, or the agent is. Stamps of files that have gone would be taken for those of new ones.
            status = self._path.stat()
            kept = {file.stat().st_ino for file in old_files(self._path, self._limits.files) if file.exists()}
            rows = [
                one
                for one in _ROW.iter_unpack(_whole(times_of(self._path)))
                if one[0] in kept or (one[0] == status.st_ino and one[1] <= size - done and size > done)
            ]
            fresh = times_of(self._path).with_suffix(".new")
            fresh.write_bytes(b"".join(_ROW.pack(*one) for one in rows) + row)
            fresh.replace(times_of(self._path))
            self._stamped, self._last_ms = inode, now
        elif abs(now - self._last_ms) >= APART_MS:
            with times_of(self._path).open("ab") as file:
                file.write(row)
            self._last_ms = now


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
