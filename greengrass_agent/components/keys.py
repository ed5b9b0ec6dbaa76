"""The keys that a node's instances tag their reports with: on disk, since reports go on when the controller is away."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hitless.files import JsonFile
from hitless.saved_key import SavedKey
from hitless.wire.report import Key

FORMAT = 1


@dataclass(frozen=True, slots=True)
class _Document:
    keys: dict[str, SavedKey]
    """By component."""


class Keys:
    """Keys by component. Only the owner may read the file."""

    def __init__(self, path: Path) -> None:
        """A file that cannot be used is set aside."""
        self._file = JsonFile(
            path,
            _Document,
            version=FORMAT,
            what="a key file of the agent",
            unreadable="reports have no tag until the controller sends the keys again",
            unwritable="make room or let it be written there",
            mode=0o600,
        )
        document = self._file.load_or_set_aside()
        self._keys = {name: one.key() for name, one in document.keys.items()} if document is not None else {}

    def get(self, component: str) -> Key | None:
        """A component's key; None: its reports are not tagged."""
        return self._keys.get(component)

    def set(self, component: str, key: Key | None) -> bool:
        """Take a component's key, and wait until it is on disk; whether it is another one. Raises StateError."""
        if self._keys.get(component) == key:
            return False
        keys = {name: one for name, one in {**self._keys, component: key}.items() if one is not None}
        self._file.save(_Document({name: SavedKey.of(one) for name, one in keys.items()}))
        self._keys = keys
        return True
