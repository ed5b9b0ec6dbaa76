"""Files that are never half written, the JSON documents that programs keep in them, and counters of starts."""

from __future__ import annotations

import json
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Generic, TypeVar

from pydantic import Field, TypeAdapter, ValidationError

from hitless.faults import faults

log = logging.getLogger(__name__)

_U32 = 1 << 32
Document = TypeVar("Document")


class StateError(Exception):
    """A file of a program's state that cannot be read or written; says which, what was expected, and what to do."""


def write_atomic(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Replace a file by `content` and wait until it is on disk: a crash leaves the old or the new. Raises OSError."""
    _make_folder(path.parent)
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    _sync(path.parent)


class JsonFile(Generic[Document]):
    """A JSON document that survives its program, as one type: a dataclass or a pydantic model.

    Beside the document's fields stands `format`, which changes when an older program could no longer read the file.
    """

    def __init__(
        self,
        path: Path,
        document: type[Document],
        *,
        version: int,
        what: str,
        unreadable: str,
        unwritable: str,
        mode: int = 0o644,
    ) -> None:
        """`what` says for messages what the file should be, `unreadable` and `unwritable` what to do if it is not."""
        self.path = path
        self._type = TypeAdapter(document)
        self._version = version
        self._what = what
        self._unreadable = unreadable
        self._unwritable = unwritable
        self._mode = mode

    def load(self) -> Document | None:
        """What was saved; None when there is no file. Raises StateError, which shows nothing of the content."""
        try:
            fields = json.loads(self.path.read_bytes())
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StateError(f"{self.path}: {error.strerror}: {self._unreadable}") from error
        except ValueError:  # its text would show the content
            raise self._unexpected("this is not JSON") from None
        if not isinstance(fields, dict):
            raise self._unexpected("this is not a JSON object")
        if (version := fields.pop("format", None)) != self._version:
            raise self._unexpected(f"this has format {version}" if version is not None else "this has no format")
        try:
            return self._type.validate_python(fields)
        except ValidationError as error:
            raise self._unexpected(faults(error, "document", quoted=False)) from None

    def load_or_set_aside(self) -> Document | None:
        """What was saved; None when there is no file, or none that can be used: that one is kept as `<name>.broken`.

        For what can be made anew without harm. `unreadable` says what that means, and stands in the log.
        """
        try:
            return self.load()
        except StateError as error:
            aside = self.path.with_name(f"{self.path.name}.broken")
            try:
                self.path.replace(aside)
            except OSError as problem:
                log.error("%s (it cannot be set aside: %s)", error, problem.strerror)
            else:
                log.error("%s (the file is kept as %s)", error, aside)
            return None

    def save(self, document: Document) -> None:
        """Replace what was saved, and wait until it is on disk. Raises StateError."""
        fields = {"format": self._version, **self._type.dump_python(document, mode="json")}
        try:
            write_atomic(self.path, (json.dumps(fields, indent=1) + "\n").encode(), mode=self._mode)
        except OSError as error:
            raise StateError(f"{self.path}: {error.strerror}: {self._unwritable}") from error

    def _unexpected(self, found: str) -> StateError:
        return StateError(f"{self.path}: expected {self._what}, format {self._version}; {found}: {self._unreadable}")


@dataclass(frozen=True, slots=True)
class _Starts:
    starts: Annotated[int, Field(ge=0, lt=_U32)]


class Starts:
    """A counter of starts on disk."""

    def __init__(self, path: Path) -> None:
        self._file = JsonFile(
            path,
            _Starts,
            version=1,
            what="a counter of starts",
            unreadable="counts go on from the time of day",
            unwritable="let it be written there, for starts that are not counted look like old ones",
        )

    def load(self) -> int | None:
        """The last start's number, 0 if there was none; None if the file cannot tell: then it is set aside."""
        if not self._file.path.exists():
            return 0
        last = self._file.load_or_set_aside()
        return last.starts if last is not None else None

    def save(self, start: int) -> None:
        """Keep a start's number, and wait until it is on disk. Raises StateError."""
        self._file.save(_Starts(start))


def _make_folder(folder: Path) -> None:
    """Make a folder and those above it that are missing, each on disk."""
    if not folder.is_dir():
        _make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        _sync(folder.parent)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
