"""The guards of the steering program: every condition of every `if`, and what the source is without it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_IF = re.compile(r"\bif \(")


@dataclass(frozen=True)
class Guard:
    """One condition. In a conjunction it is taken out as if it held, else as if it did not."""

    source: str
    line: int
    start: int
    end: int
    text: str
    without: str

    def removed(self, text: str) -> str:
        """The source without it."""
        return text[: self.start] + self.without + text[self.end :]


def guards(directory: Path) -> Iterator[Guard]:
    """All of them, in the order of the files."""
    for path in sorted(directory.glob("*.p4")):
        text = path.read_text()
        for found in _IF.finditer(_uncommented(text)):
            start = found.end() - 1
            end = _closing(text, start)
            for at, to, without in _atoms(text, start + 1, end, "false"):
                condition = " ".join(text[at:to].split())
                yield Guard(path.name, text.count("\n", 0, at) + 1, at, to, condition, without)


def _uncommented(text: str) -> str:
    return re.sub(r"//[^\n]*", lambda comment: " " * len(comment.group()), text)


def _closing(text: str, opening: int) -> int:
    depth = 0
    for at in range(opening, len(text)):
        depth += {"(": 1, ")": -1}.get(text[at], 0)
        if depth == 0:
            return at
    raise ValueError(f"no closing parenthesis for the one at {opening}")


def _atoms(text: str, start: int, end: int, alone: str) -> Iterator[tuple[int, int, str]]:
    """The conditions between two places, and the value of each that leaves the decision to the others."""
    while text[start].isspace():
        start += 1
    while text[end - 1].isspace():
        end -= 1
    if text[start] == "(" and _closing(text, start) == end - 1:
        yield from _atoms(text, start + 1, end - 1, alone)
        return
    for operator, neutral in (("||", "false"), ("&&", "true")):
        parts = list(_split(text, start, end, operator))
        if len(parts) > 1:
            for at, to in parts:
                yield from _atoms(text, at, to, neutral)
            return
    yield start, end, alone


def _split(text: str, start: int, end: int, operator: str) -> Iterator[tuple[int, int]]:
    depth, begin, at = 0, start, start
    while at < end:
        depth += {"(": 1, ")": -1}.get(text[at], 0)
        if depth == 0 and text.startswith(operator, at):
            yield begin, at
            begin = at = at + len(operator)
        else:
            at += 1
    yield begin, end
