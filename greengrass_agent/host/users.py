"""Who scripts run as: an unprivileged user of its own for each component, or the one that the node's owner names."""

from __future__ import annotations

import grp
import hashlib
import os
import pwd
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hitless.files import JsonFile, StateError

FIRST: Final = 61184
LAST: Final = 65519
"""User ids that need no entry in /etc/passwd: systemd's range for the same purpose (DynamicUser=)."""


@dataclass(frozen=True, slots=True)
class User:
    """A user and its group."""

    uid: int
    gid: int
    name: str
    """What LOGNAME says; there need not be an entry of that name anywhere."""


@dataclass(frozen=True, slots=True)
class _Document:
    uids: dict[str, int]
    """By component."""


class Users:
    """The users of a node's components. One that was given is kept, since the component's files are its own."""

    def __init__(self, file: Path, node: str, run_as: str | None) -> None:
        """`run_as` names one user for all. A file that cannot be used is set aside."""
        self._node = node
        self._all = _named(run_as) if run_as is not None else None
        self._file = JsonFile(
            file,
            _Document,
            version=1,
            what="the users of the node's components",
            unreadable="users are given anew, and what is the components' gets new owners",
            unwritable="make room or let it be written there",
        )
        document = self._file.load_or_set_aside()
        self._uids = document.uids if document is not None else {}

    def of(self, owner: str, wanted: str | None = None) -> User | None:
        """The user of a component; None: whom the agent runs as. Raises StateError.

        `wanted`: `user` or `user:group` of this machine, whom the deployment wants instead of its own.
        """
        if os.geteuid() != 0:
            return None
        if wanted is not None:
            user = _named(*wanted.split(":"))
            return user if user.uid != 0 else None
        if self._all is not None:
            return self._all if self._all.uid != 0 else None
        if owner not in self._uids:
            uids = {**self._uids, owner: free_uid(f"{self._node}/{owner}", set(self._uids.values()))}
            self._file.save(_Document(uids))
            self._uids = uids
        uid = self._uids[owner]
        return User(uid, uid, f"hitless-{uid}")


def free_uid(owner: str, taken: set[int]) -> int:
    """A user id that nobody has: by the owner's name, so that nodes on one machine seldom meet. Raises StateError."""
    start = int.from_bytes(hashlib.sha256(owner.encode()).digest()[:8], "big")
    for step in range(LAST - FIRST + 1):
        uid = FIRST + (start + step) % (LAST - FIRST + 1)
        if uid not in taken and not _known(uid):
            return uid
    raise StateError(f"user ids {FIRST} to {LAST} are all taken: name one with run_as in the agent's configuration")


def _known(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def _named(name: str, group: str | None = None) -> User:
    try:
        entry = pwd.getpwnam(name)
        return User(entry.pw_uid, entry.pw_gid if group is None else grp.getgrnam(group).gr_gid, entry.pw_name)
    except KeyError:
        raise StateError(f"expected a user and a group of this machine, got {name}:{group or name}") from None
