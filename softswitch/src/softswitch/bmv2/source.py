"""Where a construct stands in the P4 text, and what is raised for one that cannot run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Source:
    """Where in the P4 text a construct stands."""

    filename: str
    line: int
    fragment: str = ""

    def __str__(self) -> str:
        return f"{self.filename}:{self.line}"


class UnsupportedProgram(Exception):
    """The program uses something this switch cannot run, or contradicts itself.

    `construct` says what, `source` where in the P4 program (None when p4c did not say).
    """

    def __init__(self, construct: str, source: Source | None = None) -> None:
        super().__init__(f"{source}: {construct}" if source else construct)
        self.construct = construct
        self.source = source
