"""What of the file system a confined script sees: folders that are covered, and what shows through the covers.

All paths stay what they are outside. The agent's folder is covered, and so is every folder that the script's user could
not pass (a clone below root's home, say): the parts that the script needs are mounted there again.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from greengrass_agent.host.users import User


@dataclass(frozen=True, slots=True)
class View:
    """Mounts of a private mount namespace."""

    covered: tuple[Path, ...] = ()
    """Folders that become empty; none lies in another."""
    shown: tuple[tuple[Path, bool], ...] = ()
    """Files and folders below covered ones that are there all the same, and whether they can be written to."""


def view(user: User, *, readable: Iterable[Path], writable: Iterable[Path], hidden: Iterable[Path]) -> View:
    """The view of `user` in which `hidden` folders are covered and the other paths can be reached. Reads folder modes.

    What does not exist is left out. A path that is reached by a symbolic link is shown at its real place too.
    """
    wanted: dict[Path, bool] = {}
    for paths, write in ((readable, False), (writable, True)):
        for path in paths:
            if path.exists():
                wanted[path] = wanted[path.resolve()] = write
    covers = {path.resolve() for path in hidden if path.is_dir()}
    for path in wanted:
        if (closed := _closed(user, path)) is not None:
            covers.add(closed)
    outer = sorted(path for path in covers if covers.isdisjoint(path.parents))
    shown = sorted((path, write) for path, write in wanted.items() if not set(path.parents).isdisjoint(outer))
    return View(tuple(outer), tuple(shown))


def own(path: Path, user: User) -> None:
    """Make a folder and all in it the user's, unless it is already. Follows no links. Raises OSError."""
    if path.stat().st_uid == user.uid:
        return
    for _, folders, files, descriptor in os.fwalk(path):
        for name in folders + files:
            os.chown(name, user.uid, user.gid, dir_fd=descriptor, follow_symlinks=False)
    os.chown(path, user.uid, user.gid)  # last, so that what was broken off is repeated


def _closed(user: User, path: Path) -> Path | None:
    """The first folder on the way to `path` that the user may not pass."""
    for folder in reversed(path.parents):
        status = folder.stat()
        if status.st_uid == user.uid:
            needed = stat.S_IXUSR
        else:
            needed = stat.S_IXGRP if status.st_gid == user.gid else stat.S_IXOTH
        if not status.st_mode & needed:
            return folder
    return None
