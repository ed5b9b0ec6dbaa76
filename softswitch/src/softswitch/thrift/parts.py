"""Long work in parts, between which controllers' calls are done."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

_Item = TypeVar("_Item")


def parts(items: Sequence[_Item], size: int) -> Iterator[Sequence[_Item]]:
    """The items in their order, at most `size` at a time."""
    return (items[at : at + size] for at in range(0, len(items), size))
