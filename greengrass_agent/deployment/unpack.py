"""Unpacks archives of artefacts: bounded, nothing outside its folder, and the folder is there only when it is whole."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
import zipfile
from pathlib import Path, PurePosixPath

from greengrass_agent.deployment.store import PARTIAL
from greengrass_agent.deployment.transfer import DownloadError, free_bytes, size

MAX_ENTRIES = 100_000
MAX_BYTES = 4 << 30
_CHUNK = 1 << 18
_PERMITTED = 0o755
"""Bits of permission that an archive may give: only the owner writes, nothing runs as somebody else. All may read."""


def unpack(archive: Path, folder: Path) -> None:
    """Have `folder` hold what is in the archive. Raises DownloadError, and then there is no such folder.

    A folder that is there has been unpacked whole, from an archive of the same content, for its path has the digest.
    """
    if folder.is_dir():
        return
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=PARTIAL, dir=folder.parent))
        try:
            temporary.chmod(0o755)
            with zipfile.ZipFile(archive) as opened:
                _check(opened.infolist(), archive, free_bytes(folder.parent))
                for entry in opened.infolist():
                    _extract(opened, entry, temporary)
            os.sync()
            temporary.rename(folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error) or type(error).__name__
        raise DownloadError(f"{archive}: cannot be unpacked: {reason}") from error


def _check(entries: list[zipfile.ZipInfo], archive: Path, free: int) -> None:
    if len(entries) > MAX_ENTRIES:
        raise DownloadError(f"{archive}: has {len(entries)} entries, expected {MAX_ENTRIES} at most")
    total = sum(entry.file_size for entry in entries)
    if total > MAX_BYTES:
        raise DownloadError(f"{archive}: unpacks to {size(total)}, expected {size(MAX_BYTES)} at most")
    if total > free:
        raise DownloadError(f"{archive}: unpacks to {size(total)}, but there is room for {size(free)}: make room")
    for entry in entries:
        path = PurePosixPath(entry.filename)
        kind = stat.S_IFMT(entry.external_attr >> 16)
        if path.is_absolute() or ".." in path.parts or "\\" in entry.filename or not path.parts:
            raise DownloadError(f"{archive}: entry {entry.filename!r} lies outside the folder")
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise DownloadError(f"{archive}: entry {entry.filename!r} is neither file nor folder")


def _extract(opened: zipfile.ZipFile, entry: zipfile.ZipInfo, folder: Path) -> None:
    place = folder / entry.filename
    if entry.is_dir():
        place.mkdir(parents=True, exist_ok=True)
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    # Never more than the directory of the archive says, whatever the data would make: zipfile stops there.
    with opened.open(entry) as packed, place.open("wb") as file:
        shutil.copyfileobj(packed, file, _CHUNK)
    place.chmod(entry.external_attr >> 16 & _PERMITTED | 0o644)
