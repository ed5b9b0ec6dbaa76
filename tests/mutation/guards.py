"""The guards of the steering program: every condition that something depends on, and what the source is without it.

Conditions stand in an `if`, before a `?`, or first in a checksum, or are the value of a variable.
"""

from __future__ import annotations

import hashlib
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
_ANNOTATION = re.compile(r"@\w+(?:\([^()]*\)|\[[^]]*\])?")
_DECLARATION = re.compile(
    r"^(?:control|parser|[\w<>]+) (\w+)\([^{;]*\{|^ +(?:@hidden )?(?:action|state) (\w+)[^{;]*\{", re.MULTILINE
)
"""The head of a control, a parser or a function, or of an action or a state within one."""


@dataclass(frozen=True)
class Guard:
    """One condition. In a conjunction it is taken out as if it held, else as if it did not."""

    source: str
    place: str
    """The control, and the action in it if there is one: `Arp.reply`."""
    control: str
    """A digest of the outermost of these without comments, annotations and layout, which change no decision."""
    start: int
    end: int
    text: str
    without: str
    number: int
    """How many of the same text its place has before it."""

    @property
    def condition(self) -> str:
        """Its text, with an ordinal where the same text has stood in its place before."""
        return self.text + (f" #{self.number + 1}" if self.number else "")

    @property
    def name(self) -> str:
        """What it is called, wherever in its place it stands."""
        return f"{self.source} {self.place}: {self.condition}"

    def removed(self, text: str) -> str:
        """The source without it."""
        return text[: self.start] + self.without + text[self.end :]


def guards(directory: Path) -> Iterator[Guard]:
    """All of them, in the order of the files."""
    for path in sorted(directory.glob("*.p4")):
        text = _uncommented(path.read_text())
        declared = list(_declared(text))
        seen: Counter[tuple[str, str]] = Counter()
        for at, to, without in sorted(_conditions(text)):
            around = [one for one in declared if one.start < at < one.end]
            place = ".".join(one.name for one in around)
            outermost = _ANNOTATION.sub(" ", text[around[0].start : around[0].end])
            control = hashlib.sha256(" ".join(outermost.split()).encode()).hexdigest()[:8]
            condition = " ".join(text[at:to].split())
            yield Guard(path.name, place, control, at, to, condition, without, seen[place, condition])
            seen[place, condition] += 1


@dataclass(frozen=True)
class _Declared:
    name: str
    start: int
    end: int


def _declared(text: str) -> Iterator[_Declared]:
    for found in _DECLARATION.finditer(text):
        yield _Declared(found[1] or found[2], found.start(), _closing(text, found.end() - 1, "{}"))


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


def _closing(text: str, opening: int, brackets: str = "()") -> int:
    depth = 0
    for at in range(opening, len(text)):
        depth += {brackets[0]: 1, brackets[1]: -1}.get(text[at], 0)
        if depth == 0:
            return at
    raise ValueError(f"nothing closes the bracket at {opening}")


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
