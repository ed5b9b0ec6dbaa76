"""Unpacks archives of artefacts: bounded by what is written, nothing outside its folder, and whole or not there.

What an archive says of itself is only good for refusing it early. What counts is the data as it comes.
"""

from __future__ import annotations

import io
import os
import shutil
import stat
import struct
import tempfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from greengrass_agent.config import ArchiveSettings
from greengrass_agent.deployment.store import PARTIAL
from greengrass_agent.deployment.transfer import DownloadError, free_bytes, size

RATIO_COUNTS_FROM = 16 << 20
"""Bytes up to which nobody minds how well an archive is packed: a file of zeros shrinks to a thousandth."""
_CHUNK = 1 << 18
_PERMITTED = 0o755
"""Bits of permission that an archive may give: only the owner writes, nothing runs as somebody else. All may read."""
_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
"""Of the others, zipfile unpacks a chunk into memory at whatever length it has."""
_ENCRYPTED = 1
"""Bit of the flags of an entry (APPNOTE.TXT, 4.4.4)."""
_ENTRY_BYTES = 46
"""An entry of the directory without its name (APPNOTE.TXT, 4.3.12)."""
_SHOWN = 120
"""Characters of a name that a message has room for."""
_SPARE = 1 << 17
"""More than zipfile reads to find the directory."""


def unpack(archive: Path, folder: Path, limits: ArchiveSettings, mode: int | None = None) -> None:
    """Have `folder` hold what is in the archive. Raises DownloadError, and then there is no such folder.

    `mode`: permissions of all files; None: those that the archive gives, and everybody may read.

    A folder that is there has been unpacked whole, from an archive of the same content, for its path has the digest.
    """
    if folder.is_dir():
        return
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=PARTIAL, dir=folder.parent))
        try:
            temporary.chmod(0o755)
            _Unpacking(archive, temporary, limits, mode).run()
            os.sync()
            temporary.rename(folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except OSError as error:
        raise DownloadError(f"{archive}: cannot be unpacked: {error.strerror or error}") from error


class _RefusedError(Exception):
    """What is wrong with an archive, or with the entry that it is raised for."""


_DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    NotImplementedError,
    RuntimeError,
    EOFError,
    ValueError,
    OverflowError,
    OSError,
)
"""What zipfile raises over archives that are not what they should be, and the disk."""


class _Unpacking:
    """One archive on its way into a folder."""

    def __init__(self, archive: Path, folder: Path, limits: ArchiveSettings, mode: int | None) -> None:
        self._mode = mode
        self._archive = archive
        self._folder = folder
        self._limits = limits
        self._written = 0
        packed = archive.stat().st_size
        self._most = min(limits.bytes, max(limits.ratio * packed, RATIO_COUNTS_FROM))

    def run(self) -> None:
        try:
            with _open(self._archive, self._limits) as opened:
                entries = opened.infolist()
                self._check_claims(entries)
                for entry in entries:
                    self._entry(opened, entry)
        except _RefusedError as error:
            raise DownloadError(f"{self._archive}: {error}") from error
        except _DAMAGED as error:
            raise DownloadError(f"{self._archive}: cannot be unpacked: {_reason(error)}") from error

    def _check_claims(self, entries: list[zipfile.ZipInfo]) -> None:
        if len(entries) > self._limits.files:
            raise _RefusedError(f"has {len(entries)} entries, expected {self._limits.files} at most")
        claimed = sum(entry.file_size for entry in entries)
        self._check_size(claimed)
        if claimed > (free := free_bytes(self._folder)):
            raise _RefusedError(f"unpacks to {size(claimed)}, but there is room for {size(free)}: make room")

    def _check_size(self, count: int) -> None:
        if count > self._limits.bytes:
            raise _RefusedError(f"unpacks to {size(count)}, expected {size(self._limits.bytes)} at most")
        if count > self._most:
            packed = size(self._archive.stat().st_size)
            raise _RefusedError(
                f"unpacks to {size(count)} from {packed}, expected {self._limits.ratio} times as much at most"
            )

    def _entry(self, opened: zipfile.ZipFile, entry: zipfile.ZipInfo) -> None:
        try:
            self._check(entry)
            self._extract(opened, entry)
        except _RefusedError as error:
            raise _RefusedError(f"{_name(entry)} {error}") from error
        except FileExistsError as error:
            raise _RefusedError(f"{_name(entry)} has the place of another one") from error
        except _DAMAGED as error:
            raise _RefusedError(f"{_name(entry)} cannot be unpacked: {_reason(error)}") from error

    def _check(self, entry: zipfile.ZipInfo) -> None:
        path = PurePosixPath(entry.filename)
        kind = stat.S_IFMT(entry.external_attr >> 16)
        if len(os.fsencode(entry.filename)) > self._limits.name_bytes:
            raise _RefusedError(f"has a name of more than {self._limits.name_bytes} bytes")
        if path.is_absolute() or ".." in path.parts or "\\" in entry.filename or not path.parts:
            raise _RefusedError("lies outside the folder")
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise _RefusedError("is neither file nor folder")
        if entry.flag_bits & _ENCRYPTED:
            raise _RefusedError("is encrypted: publish the archive without a password")
        if entry.compress_type not in _METHODS:
            raise _RefusedError(f"is packed by method {entry.compress_type}, expected stored (0) or deflated (8)")

    def _extract(self, opened: zipfile.ZipFile, entry: zipfile.ZipInfo) -> None:
        place = self._folder / entry.filename
        if entry.is_dir():
            place.mkdir(parents=True, exist_ok=True)
            return
        place.parent.mkdir(parents=True, exist_ok=True)
        with opened.open(entry) as packed, place.open("xb") as file:
            while chunk := packed.read(_CHUNK):
                self._written += len(chunk)
                self._check_size(self._written)
                file.write(chunk)
        given = entry.external_attr >> 16 & _PERMITTED | 0o644
        place.chmod(given if self._mode is None else self._mode)


class _Directory(io.BufferedReader):
    """An archive's file, of which nobody reads more at once than a directory of the permitted length."""

    def __init__(self, archive: Path, limits: ArchiveSettings) -> None:
        super().__init__(io.FileIO(archive))
        self._most = limits.files * (_ENTRY_BYTES + limits.name_bytes) + _SPARE

    def read(self, count: int | None = -1, /) -> bytes:
        if count is not None and count > self._most:
            raise _RefusedError(f"has a directory of {size(count)}, expected {size(self._most)} at most")
        return super().read(count)


def _open(archive: Path, limits: ArchiveSettings) -> zipfile.ZipFile:
    return zipfile.ZipFile(_Directory(archive, limits))


def _name(entry: zipfile.ZipInfo) -> str:
    name = entry.filename
    return f"entry {name!r}" if len(name) <= _SHOWN else f"entry {name[:_SHOWN]!r}…"


def _reason(error: Exception) -> str:
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error) or type(error).__name__
