"""The keys of reports on disk: a controller that starts anew must know what the switches accept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from controller.keys.ring import Binding, BindingKeys
from hitless.files import JsonFile
from hitless.saved_key import SavedKey

FORMAT = 1


@dataclass(frozen=True, slots=True)
class _SavedKeys:
    service: str
    node: str
    current: SavedKey
    next: SavedKey | None


@dataclass(frozen=True, slots=True)
class _Document:
    keys: list[_SavedKeys]


class KeyFile:
    """Loads and saves the keys; only the owner may read the file."""

    def __init__(self, path: Path) -> None:
        self._file = JsonFile(
            path,
            _Document,
            version=FORMAT,
            what="a key file of the controller",
            unreadable="move it away",
            unwritable="choose another place with --state",
            mode=0o600,
        )

    @property
    def path(self) -> Path:
        """Where it is."""
        return self._file.path

    def load(self) -> dict[Binding, BindingKeys]:
        """The saved keys; none when there is no file. Raises StateError when the file is not ours."""
        document = self._file.load()
        return {
            (one.service, one.node): BindingKeys(one.current.key(), one.next.key() if one.next else None)
            for one in (document.keys if document is not None else ())
        }

    def save(self, keys: Mapping[Binding, BindingKeys]) -> None:
        """Write the keys and wait until they are on disk. Raises StateError."""
        if not keys and not self.path.exists():
            return
        saved = [
            _SavedKeys(service, node, SavedKey.of(one.current), SavedKey.of(one.next) if one.next else None)
            for (service, node), one in sorted(keys.items(), key=lambda item: item[0])
        ]
        self._file.save(_Document(saved))
