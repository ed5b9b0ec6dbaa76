"""Which contents of components have done their bootstrap step: it is done once for each, also where the agent restarts.

"Component recipe reference", Bootstrap: the step runs where a component is new or of another version.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hitless.files import JsonFile

REMEMBERED = 16
"""Contents of a component: rollbacks go one back."""


@dataclass(frozen=True, slots=True)
class _Document:
    done: dict[str, tuple[str, ...]]
    """Digests by component, the last one at the end."""


class Bootstraps:
    """The record, on disk."""

    def __init__(self, file: Path) -> None:
        """A file that cannot be used is set aside."""
        self._file = JsonFile(
            file,
            _Document,
            version=1,
            what="the bootstrap steps that have been done",
            unreadable="they are done again",
            unwritable="make room or let it be written there",
        )
        document = self._file.load_or_set_aside()
        self._done = document.done if document is not None else {}

    def done(self, component: str, digest: str, *, again_on_rollback: bool) -> bool:
        """Whether there is nothing to do for this content: it has done its step, and is the last that has, or need
        not do it again where a rollback has brought it back.
        """
        own = self._done.get(component, ())
        return digest in own and (not again_on_rollback or own[-1] == digest)

    def set(self, component: str, digest: str) -> None:
        """This content has done its step. Raises StateError."""
        own = tuple(one for one in self._done.get(component, ()) if one != digest)
        done = {**self._done, component: (*own, digest)[-REMEMBERED:]}
        self._file.save(_Document(done))
        self._done = done

    def forget(self, component: str) -> None:
        """The component has been removed: one that comes back begins anew. Raises StateError."""
        if component in self._done:
            done = {name: one for name, one in self._done.items() if name != component}
            self._file.save(_Document(done))
            self._done = done
