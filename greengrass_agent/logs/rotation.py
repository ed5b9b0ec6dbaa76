"""A file that is never larger or older than its limits: it makes way to a new one, and few of the old are kept."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

DAY_S = 86_400
_LONGEST_ROW = 1 << 16


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of a log stays on disk."""

    size: int
    """Bytes of a file at most."""
    files: int = 3
    """The file and those before it, which have `.1`, `.2` and so on behind their names."""
    age_s: float = 7 * DAY_S
    """A file that was begun so long ago makes way when something is written."""


class RotatedFile:
    """A sink of a BoundedWriter: appends to a file, which is opened when something is written, again after an error."""

    def __init__(
        self, path: Path, limits: Limits, *, heading: bytes = b"", clock: Callable[[], float] = time.time
    ) -> None:
        """`heading` begins each file, and says that the file has rows: one that was cut off is taken out again.

        `clock` says the time in seconds, as the file system does.
        """
        self._path = path
        self._limits = limits
        self._heading = heading
        self._clock = clock
        self._file: int | None = None
        self._size = 0
        self._began = 0.0

    def write(self, data: bytes) -> int:
        """Write data, or the rows at its beginning for which there was room. Raises OSError when there was for none."""
        file = self._opened()
        if self._size and (self._size + len(data) > self._limits.size or self._too_old()):
            self._rotate()
            file = self._opened()
        heading = b"" if self._size else self._heading
        return self._append(file, heading + data, len(heading)) - len(heading)

    @property
    def place(self) -> tuple[int, int]:
        """The inode of the file that was written to, and its size. Raises OSError when none is open."""
        if self._file is None:
            raise FileNotFoundError(str(self._path))
        return os.fstat(self._file).st_ino, self._size

    def close(self) -> None:
        """Close the file; the next write opens it again."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                os.close(self._file)
            self._file = None

    def _append(self, file: int, data: bytes, least: int) -> int:
        """Append data or some of it; its length, more than `least`. Raises OSError."""
        done = 0
        try:
            while done < len(data):
                done += os.write(file, memoryview(data)[done:])
        except OSError:
            whole = data.rfind(b"\n", 0, done) + 1 if self._heading else done
            # Closed, so that what cannot be cut off now is cut off when the file is opened again.
            with contextlib.suppress(OSError):
                os.ftruncate(file, self._size + whole)
            self.close()
            if whole <= least:
                raise
            return whole
        self._size += done
        return done

    def _opened(self) -> int:
        """The file; a new one where somebody has taken it away."""
        if self._file is not None:
            try:
                there = self._path.stat().st_ino == os.fstat(self._file).st_ino
            except FileNotFoundError:
                there = False
            if there:
                return self._file
            self.close()
        self._path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            status = os.fstat(file)
            self._size = self._without_half_row(file, status.st_size) if self._heading else status.st_size
        except OSError:
            os.close(file)
            raise
        # When it was begun is not known: at the last write it was there.
        self._began = status.st_mtime if self._size else self._clock()
        self._file = file
        return file

    def _without_half_row(self, file: int, size: int) -> int:
        """Cut off the row that a process which was killed, or a full disk, has left half written; the new size."""
        begin = max(0, size - _LONGEST_ROW)
        whole = begin + os.pread(file, size - begin, begin).rfind(b"\n") + 1
        if whole < size:
            os.ftruncate(file, whole)
        return whole

    def _too_old(self) -> bool:
        return self._clock() - self._began > self._limits.age_s

    def _rotate(self) -> None:
        self.close()
        names = [self._path, *(old_file(self._path, number) for number in range(1, self._limits.files))]
        for older, newer in zip(reversed(names[1:]), reversed(names[:-1]), strict=True):
            with contextlib.suppress(FileNotFoundError):
                newer.replace(older)
        if len(names) == 1:
            self._path.unlink(missing_ok=True)


def old_file(path: Path, number: int) -> Path:
    """The file that the one at `path` made way for `number` times ago."""
    return path.with_name(f"{path.name}.{number}")
