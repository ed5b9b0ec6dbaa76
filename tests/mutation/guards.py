"""The guards of the steering program: every condition that something depends on, and what the source is without it.

Conditions stand in an `if`, before a `?`, or first in a checksum, or are the value of a variable.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_IF = re.compile(r"\bif \(")
_ASSIGNMENT = re.compile(r"(?<=[;{}\n]) *(?:[\w<>]+ +)?[\w.]+ = ([^;{}]+);")
_CHECKSUM = re.compile(r"_checksum\(([^{]+?),\s*\{")
_COMPARISON = re.compile(r"[=!<>]=|&&|\|\||(?<![<|-])<(?![<|])|(?<![>|-])>(?![>|])")
_WIDTH = re.compile(r"\bbit<\d+>")


@dataclass(frozen=True)
class Guard:
    """One condition. In a conjunction it is taken out as if it held, else as if it did not."""

    source: str
    line: int
    start: int
    end: int
    text: str
    without: str
    number: int
    """How many of the same text the source has before it."""

    @property
    def name(self) -> str:
        """What it is called, wherever in its source it stands."""
        return f"{self.source}: {self.text}" + (f" #{self.number + 1}" if self.number else "")

    def removed(self, text: str) -> str:
        """The source without it."""
        return text[: self.start] + self.without + text[self.end :]


def guards(directory: Path) -> Iterator[Guard]:
    """All of them, in the order of the files."""
    for path in sorted(directory.glob("*.p4")):
        text = path.read_text()
        seen: Counter[str] = Counter()
        for at, to, without in sorted(_conditions(_uncommented(text))):
            condition = " ".join(text[at:to].split())
            line = text.count("\n", 0, at) + 1
            yield Guard(path.name, line, at, to, condition, without, seen[condition])
            seen[condition] += 1


def _conditions(text: str) -> Iterator[tuple[int, int, str]]:
    for found in _IF.finditer(text):
        start = found.end() - 1
        yield from _atoms(text, start + 1, _closing(text, start), "false")
    for found in re.finditer(r"\?", text):
        yield from _atoms(text, _beginning(text, found.start()), found.start(), "false")
    for found in _CHECKSUM.finditer(text):
        yield from _atoms(text, *found.span(1), "false")
    for found in _ASSIGNMENT.finditer(text):
        value = _WIDTH.sub("", found.group(1))
        if "?" not in value and _COMPARISON.search(value):
            yield from _atoms(text, *found.span(1), "false")


def _beginning(text: str, end: int) -> int:
    """Where the expression begins that ends there."""
    depth = 0
    for at in range(end - 1, -1, -1):
        depth += {")": 1, "(": -1}.get(text[at], 0)
        assigned = text[at] == "=" and text[at - 1] not in "=!<>" and text[at + 1] != "="
        if depth < 0 or (depth == 0 and (assigned or text[at] in ",;{" or text.startswith("return ", at - 6))):
            return at + 1
    raise ValueError(f"no beginning of the expression at {end}")


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
