"""The node's secrets on disk: written by its owner's command, read by the agent.

<root>/secrets.json    names, versions and labels, and the values encrypted
secrets.key            the key, beside the agent's certificate where it has one
"""

from __future__ import annotations

import fcntl
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from greengrass_agent.secrets.sealing import SealingKey
from greengrass_agent.secrets.secret import CURRENT, Kind, Secret, SecretError, Version, arn_of
from hitless.files import JsonFile, StateError

FORMAT: Final = 1


@dataclass(frozen=True, slots=True)
class _Saved:
    secrets: dict[str, Secret]
    """By name."""


@dataclass(frozen=True, slots=True)
class Value:
    """A version of a secret, decrypted."""

    secret: Secret
    version: Version
    value: bytes


class SecretStore:
    """The secrets of a node."""

    def __init__(self, root: Path, key: Path) -> None:
        """`root` is the agent's folder, `key` the file of the key."""
        self._root = root
        self._key = key
        self._file = JsonFile(
            root / "secrets.json",
            _Saved,
            version=FORMAT,
            what="the node's secrets",
            unreadable="components get no secret until it is mended, or moved away and the secrets put again",
            unwritable="make room or let it be written there",
            mode=0o600,
        )
        self._known: Mapping[str, Secret] = {}
        self._seen: tuple[int, int, int] | None = None
        """What the file system said of the file when it was read last."""

    def all(self, *, afresh: bool = False) -> Mapping[str, Secret]:
        """The secrets by name; read anew if the file has changed, or `afresh`. Raises StateError."""
        seen = self._look()
        if afresh or seen != self._seen:
            saved = self._file.load()
            self._known = saved.secrets if saved is not None else {}
            self._seen = seen
        return self._known

    def find(self, secret_id: str, *, afresh: bool = False) -> tuple[str, Secret] | None:
        """Name and secret, by its name or its ARN; None: there is none. Raises StateError."""
        known = self.all(afresh=afresh)
        if secret_id in known:
            return secret_id, known[secret_id]
        return next(((name, one) for name, one in known.items() if one.arn == secret_id), None)

    def read(self, secret_id: str, version_id: str | None, stage: str | None, *, afresh: bool = False) -> Value:
        """Decrypt a version of a secret. Raises SecretError if there is none, StateError."""
        found = self.find(secret_id, afresh=afresh)
        if found is None:
            raise SecretError(f"Secret not found {secret_id}")
        name, secret = found
        version = secret.find(version_id, stage)
        if version is None:
            which = f"Version Id {version_id}" if version_id is not None else f"Version stage {stage or CURRENT}"
            raise SecretError(f"{which} not found for secret {secret_id}")
        key = SealingKey.load(self._key)
        if key is None:
            raise self._without_key()
        return Value(secret, version, key.open(version.sealed, _label(name, version.id, version.kind)))

    def put(self, name: str, value: bytes, kind: Kind, *, arn: str | None, stage: str, now: int) -> Version:
        """Keep a value as the secret's newest version. Raises SecretError, StateError.

        `arn` None: the one that the secret has, or that its name makes.
        """
        with self._alone():
            known = dict(self.all(afresh=True))
            secret = known.get(name) or Secret(arn_of(name))
            if arn is not None:
                secret = Secret(arn, secret.versions)
            if other := next((one for one, has in known.items() if has.arn == secret.arn and one != name), None):
                raise SecretError(f"{secret.arn} is the ARN of {other} already")
            key = SealingKey.load(self._key)
            if key is None:
                if known:
                    raise self._without_key()
                key = SealingKey.make(self._key)
            version_id = str(uuid.uuid4())
            version = Version(version_id, kind, key.seal(value, _label(name, version_id, kind)), now, ())
            known[name] = secret.put(version, stage)
            self._file.save(_Saved(known))
            return known[name].versions[-1]

    def remove(self, name: str) -> None:
        """Forget a secret and all its versions. Raises SecretError, StateError."""
        with self._alone():
            known = dict(self.all(afresh=True))
            if known.pop(name, None) is None:
                raise SecretError(f"there is no secret {name}; there are: {', '.join(sorted(known)) or 'none'}")
            self._file.save(_Saved(known))

    def _look(self) -> tuple[int, int, int] | None:
        try:
            status = self._file.path.stat()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StateError(f"{self._file.path}: {error.strerror}: components get no secret") from error
        return status.st_ino, status.st_mtime_ns, status.st_size

    def _without_key(self) -> StateError:
        text = "there is no key, and without it the secrets cannot be read: put it back, or move"
        return StateError(f"{self._key}: {text} {self._file.path} away and put the secrets again")

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Two commands at once would each keep what only it has put."""
        try:
            self._root.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = os.open(self._root / "secrets.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StateError(f"{self._root}: {error.strerror}: the secrets lie there") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)


def _label(name: str, version_id: str, kind: Kind) -> bytes:
    """What a value belongs to, so that one cannot be taken for another by exchanging them on disk."""
    return "\0".join((name, version_id, kind)).encode()
