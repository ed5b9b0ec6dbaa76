"""Shadows on disk, each a file of its own, so that a crash costs none but an update that nobody was told of.

<folder>/<thing>/classic.json
<folder>/<thing>/named/<name>.json
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from greengrass_agent.shadows.document import SHADOW_NAME, THING_NAME, Deleted, Document, Kept, Key
from hitless.files import JsonFile, StateError

FORMAT: Final = 1
MOST: Final = 200
"""Shadows of a node, deleted ones that are remembered among them."""


@dataclass(frozen=True, slots=True)
class _Saved:
    version: int
    state: dict[str, Any]
    metadata: dict[str, Any]
    deleted: int | None
    """When, in seconds since 1970; None: it is there."""


class FullError(Exception):
    """There is no room for one more shadow; says what can be done."""


class ShadowStore:
    """The shadows of a node. Which there are is known by heart; what they hold is read when it is asked for."""

    def __init__(self, folder: Path) -> None:
        """Files that cannot be used are set aside."""
        self._folder = folder
        self._files: dict[Key, JsonFile[_Saved]] = {}
        self._deleted: dict[Key, int] = {}
        """When each was deleted."""
        for key in _found(folder):
            file = self._file(key)
            saved = file.load_or_set_aside()
            if saved is None:
                continue
            self._files[key] = file
            if saved.deleted is not None:
                self._deleted[key] = saved.deleted

    def names(self, thing: str) -> list[str]:
        """The named shadows of a thing, sorted."""
        return sorted(key.name for key in self.there() if key.thing == thing and key.name)

    def there(self) -> list[Key]:
        """All that are there."""
        return [key for key in self._files if key not in self._deleted]

    def deleted(self) -> list[Key]:
        """Those that are remembered only."""
        return list(self._deleted)

    def load(self, key: Key) -> Kept | None:
        """What is kept of a shadow. Raises StateError."""
        if key not in self._files:
            return None
        saved = self._files[key].load()
        if saved is None:
            return None
        if saved.deleted is not None:
            return Deleted(saved.version, saved.deleted)
        return Document(saved.version, saved.state, saved.metadata)

    async def save(self, key: Key, kept: Kept) -> None:
        """Keep a shadow, and wait until it is on disk. One at a time. Raises StateError, FullError."""
        if key not in self._files and len(self._files) >= MOST:
            self._make_room()
        file = self._files.get(key) or self._file(key)
        if isinstance(kept, Deleted):
            await asyncio.to_thread(file.save, _Saved(kept.version, {}, {}, kept.at))
            self._deleted[key] = kept.at
        else:
            await asyncio.to_thread(file.save, _Saved(kept.version, kept.state, kept.metadata, None))
            self._deleted.pop(key, None)
        self._files[key] = file

    def _make_room(self) -> None:
        if not self._deleted:
            raise FullError(f"this node keeps {MOST} shadows at most: delete one")
        oldest = min(self._deleted, key=lambda key: self._deleted[key])
        try:
            self._files[oldest].path.unlink(missing_ok=True)
        except OSError as error:
            raise StateError(f"{self._files[oldest].path}: {error.strerror}: let it be deleted") from error
        del self._files[oldest], self._deleted[oldest]

    def _file(self, key: Key) -> JsonFile[_Saved]:
        folder = self._folder / key.thing
        return JsonFile(
            folder / "named" / f"{key.name}.json" if key.name else folder / "classic.json",
            _Saved,
            version=FORMAT,
            what="a shadow",
            unreadable="it is as if there were none",
            unwritable="make room or let it be written there",
            mode=0o600,
        )


def _found(folder: Path) -> list[Key]:
    """The shadows that have a file, in no order."""
    places = [(path.parent.name, "") for path in folder.glob("*/classic.json")]
    places += [(path.parent.parent.name, path.stem) for path in folder.glob("*/named/*.json")]
    return [
        Key(thing, name)
        for thing, name in places
        if THING_NAME.fullmatch(thing) and (not name or SHADOW_NAME.fullmatch(name))
    ]
