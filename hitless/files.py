"""Files that are never half written, and counters that survive in them."""

from __future__ import annotations

import os
from pathlib import Path

_U32 = 1 << 32


class StateError(Exception):
    """A file of the agent's state that cannot be read or written; the message says what to do."""


def write_atomic(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Replace a file by `content` and wait until it is on disk: a crash leaves the old or the new. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def next_epoch(path: Path) -> int:
    """Count one start more than the file knows: 1 the first time, after 2^32 - 1 comes 0. Raises StateError."""
    try:
        last = int(path.read_text())
    except FileNotFoundError:
        last = 0
    except (OSError, ValueError) as error:
        raise StateError(
            f"{path}: not a start counter ({error}): remove it and raise the node's generation in the fabric file"
        ) from error
    epoch = (last + 1) % _U32
    try:
        write_atomic(path, f"{epoch}\n".encode())
    except OSError as error:
        raise StateError(f"{path}: {error.strerror}") from error
    return epoch
