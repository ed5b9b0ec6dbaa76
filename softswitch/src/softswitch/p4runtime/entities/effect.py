"""Updates that the engine does by calls of their own, after those of tables and action profiles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from finsy.proto import p4r

from softswitch.p4runtime.errors import invalid


def nothing() -> None:
    """Undo what changed nothing."""


@dataclass(frozen=True, slots=True)
class Effect:
    """A staged update. `perform` does it in the engine and returns how to undo that there; `revert` takes it out of
    the model."""

    perform: Callable[[], Callable[[], None]]
    revert: Callable[[], None] = nothing


def only_modify(kind: int, what: str) -> None:
    """Refuse to insert or delete what is always there. Raises INVALID_ARGUMENT."""
    if kind != p4r.Update.MODIFY:
        raise invalid(f"{what} can only be modified")
