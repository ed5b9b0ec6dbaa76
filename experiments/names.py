"""An option of the experiments' commands: names out of a list."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click


class Names(click.ParamType[tuple[str, ...]]):
    """Names with commas between them; `all` of them, also for an empty text."""

    name = "names"

    def __init__(self, there: Sequence[str]) -> None:
        self.there = there

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """The names. Fails with those that are unknown."""
        if isinstance(value, tuple):
            return value
        try:
            return chosen(value, self.there)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def chosen(asked: str, there: Sequence[str]) -> tuple[str, ...]:
    """The names of a list with commas; all of them for `all` or an empty one.

    Raises ValueError with those that are unknown.
    """
    names = tuple(dict.fromkeys(asked.replace(",", " ").split()))
    if names in ((), ("all",)):
        return tuple(there)
    unknown = [name for name in names if name not in there]
    if unknown:
        raise ValueError(f"{', '.join(unknown)}: expected some of {', '.join(there)}")
    return names
