"""Invocations on disk: a folder each, which is moved as a whole, so that a crash leaves it in one place or the other.

Below the queue's folder: `pending` has those under way, `results` those whose result is kept for who asks, `dead` the
dead letters, `retry` those of them that the operator has had tried again. In each folder of an invocation:
`invocation.json` (what was accepted), `payload`, `state.json` (how far it is, and why), and `result` once somebody has
answered.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from pydantic import ValidationError

from controller.invocations.queue import Invocation, Place, State
from hitless.files import write_atomic

log = logging.getLogger(__name__)

INVOCATION, PAYLOAD, STATE, RESULT = "invocation.json", "payload", "state.json", "result"
PENDING, DEAD, RETRY, NEW, TRASH, UNREADABLE = "pending", "dead", "retry", "new", "trash", "unreadable"
_FOLDERS = (PENDING, Place.RESULTS.value, DEAD, RETRY, NEW, TRASH)
_PRIVATE = 0o700
Write = Callable[[Path, bytes], None]
Move = Callable[[Path, Path], None]
Entry = tuple[Invocation, State]


class StoreError(Exception):
    """A folder that cannot be used; the message says why and what to do."""


def write_durably(path: Path, content: bytes) -> None:
    """Write a file so that it is there or not, whole, whatever happens. Raises OSError."""
    write_atomic(path, content, mode=0o600)


def move_durably(source: Path, target: Path) -> None:
    """Move a folder, and wait until that is on disk. Raises OSError."""
    source.rename(target)
    for folder in {source.parent, target.parent}:
        _sync(folder)


class Store:
    """The folder of one queue. Every call may raise OSError; what it had done by then is whole."""

    def __init__(self, root: Path, *, write: Write = write_durably, move: Move = move_durably) -> None:
        """Takes the folder for this process alone, and clears away what was never accepted. Raises StoreError."""
        self._root = root
        self._write = write
        self._move = move
        try:
            root.mkdir(parents=True, exist_ok=True, mode=_PRIVATE)
            for name in _FOLDERS:
                (root / name).mkdir(exist_ok=True, mode=_PRIVATE)
            self._lock = os.open(root / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise StoreError(f"queue {root}: {error.strerror}: name another folder as queue") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            raise StoreError(f"queue {root}: another process works on it: end that one") from error
        for name in (NEW, TRASH):
            for folder in (root / name).iterdir():
                shutil.rmtree(folder, ignore_errors=True)

    def close(self) -> None:
        """Let another process have the folder."""
        os.close(self._lock)

    def accept(self, invocation: Invocation, payload: bytes, state: State) -> None:
        """Have an invocation on disk: once this returns, it is not lost."""
        folder = self._root / NEW / invocation.id
        folder.mkdir(mode=_PRIVATE)
        self._write(folder / INVOCATION, _encoded(invocation))
        self._write(folder / PAYLOAD, payload)
        self._write(folder / STATE, _encoded(state))
        self._move(folder, self._root / PENDING / invocation.id)

    def payload(self, number: str) -> bytes:
        """What an invocation under way is to be called with."""
        return (self._root / PENDING / number / PAYLOAD).read_bytes()

    def answered(self, number: str, result: bytes) -> None:
        """Keep what a call was answered with. The state that says so comes after it."""
        self._write(self._root / PENDING / number / RESULT, result)

    def save(self, number: str, state: State) -> None:
        """Replace the state of an invocation under way."""
        self._write(self._root / PENDING / number / STATE, _encoded(state))

    def settle(self, number: str, place: Place) -> None:
        """Move an invocation to where it stays, or away."""
        source = self._root / PENDING / number
        if place is Place.NOWHERE:
            self._remove(source)
        else:
            self._move(source, self._root / place.value / number)

    def pending(self) -> list[Entry]:
        """All that are under way, the oldest first. One that cannot be read is set aside, and the log says so."""
        entries = [entry for folder in (self._root / PENDING).iterdir() if (entry := self._entry(folder)) is not None]
        return sorted(entries, key=lambda entry: entry[0].accepted_at)

    def to_retry(self, revive: Callable[[State], State]) -> Iterator[Entry]:
        """The dead letters that the operator has had tried again: each is pending from here on, in its new state."""
        for folder in sorted((self._root / RETRY).iterdir()):
            entry = self._entry(folder)
            if entry is not None:
                invocation, state = entry[0], revive(entry[1])
                self._write(folder / STATE, _encoded(state))
                self._move(folder, self._root / PENDING / folder.name)
                yield invocation, state

    def find(self, number: str) -> Entry | None:
        """One that is settled and not gone, by its id."""
        for name in (Place.RESULTS.value, DEAD):
            folder = self._root / name / number
            if folder.is_dir():
                return self._entry(folder)
        return None

    def result(self, number: str) -> bytes | None:
        """What the last call was answered with, wherever the invocation is; None if nothing."""
        for name in (PENDING, Place.RESULTS.value, DEAD):
            try:
                return (self._root / name / number / RESULT).read_bytes()
            except FileNotFoundError:
                continue
        return None

    def forget_results(self, before: float) -> None:
        """Remove results of invocations that ended before a time."""
        for folder in (self._root / Place.RESULTS.value).iterdir():
            entry = self._entry(folder)
            if entry is not None and (entry[1].end is None or entry[1].end.at < before):
                self._remove(folder)

    def _remove(self, folder: Path) -> None:
        """First out of sight as a whole, then away."""
        trash = self._root / TRASH / folder.name
        shutil.rmtree(trash, ignore_errors=True)
        self._move(folder, trash)
        shutil.rmtree(trash, ignore_errors=True)

    def _entry(self, folder: Path) -> Entry | None:
        try:
            return read_entry(folder)
        except FileNotFoundError:
            if not folder.exists():
                return None  # it has just been moved
            problem = "a file is missing"
        except (OSError, ValidationError) as error:
            problem = f"it cannot be read ({type(error).__name__})"
        aside = self._root / UNREADABLE
        aside.mkdir(exist_ok=True, mode=_PRIVATE)
        folder.rename(aside / folder.name)
        log.error("invocation %s: %s: it is kept as %s and not executed", folder.name, problem, aside / folder.name)
        return None


def read_entry(folder: Path) -> Entry:
    """What the folder of an invocation says. Raises OSError and ValidationError."""
    invocation = Invocation.model_validate_json((folder / INVOCATION).read_bytes())
    return invocation, State.model_validate_json((folder / STATE).read_bytes())


class DeadLetters:
    """The dead letters of a queue, for the operator, whether a process works on it or not."""

    def __init__(self, root: Path) -> None:
        """Raises StoreError if that is no queue's folder, or not ours to read."""
        self._root = root
        try:
            missing = not (root / DEAD).is_dir() or not (root / RETRY).is_dir()
        except OSError as error:
            raise StoreError(f"{root}: {error.strerror}: run hitless as the user of the queue") from error
        if missing:
            raise StoreError(f"{root}: no queue of invocations: name the folder that is `queue` in the configuration")

    def all(self) -> list[Entry]:
        """Those that nobody has had tried again, the oldest first. One that cannot be read is left out."""
        found = []
        for folder in (self._root / DEAD).iterdir():
            try:
                found.append(read_entry(folder))
            except (OSError, ValidationError):
                log.error("dead letter %s cannot be read: look into its folder", folder)
        return sorted(found, key=lambda entry: entry[0].accepted_at)

    def retry(self, number: str) -> bool:
        """Have one tried again: by the process that works on the queue, within a second, or by the next one.

        Returns whether there is such a dead letter. Raises OSError.
        """
        return self._moved(number, RETRY)

    def discard(self, number: str) -> bool:
        """Give one up for good. Returns whether there is such a dead letter. Raises OSError."""
        if not self._moved(number, TRASH):
            return False
        shutil.rmtree(self._root / TRASH / number, ignore_errors=True)
        return True

    def _moved(self, number: str, where: str) -> bool:
        if "/" in number or number in ("", ".", ".."):
            return False
        try:
            move_durably(self._root / DEAD / number, self._root / where / number)
        except FileNotFoundError:
            return False
        return True


def _encoded(document: Invocation | State) -> bytes:
    return (document.model_dump_json(indent=1) + "\n").encode()


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
