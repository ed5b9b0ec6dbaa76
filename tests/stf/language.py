"""STF, the "simple test framework" language of p4c (tools/stf/stf_parser.py in its sources): a statement a line."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Statement:
    """`command` with its words. An `add` or `setdefault` has the table, `priority` (None where none is written), what
    it `matches` as (field, value) and an action with `arguments`; all values are text."""

    command: str
    words: tuple[str, ...] = ()
    table: str = ""
    priority: int | None = None
    matches: tuple[tuple[str, str], ...] = ()
    action: str = ""
    arguments: tuple[tuple[str, str], ...] = ()


_CALL = re.compile(r"^(?P<before>.*?)(?P<action>[\w.$]+)\s*\((?P<arguments>[^()]*)\)\s*(=.*)?$")


def statements(text: str) -> list[Statement]:
    """Those of a file. Raises ValueError for a line that is no statement."""
    lines = (line.split("#", 1)[0].strip() for line in text.splitlines())
    return [_statement(line) for line in lines if line]


def number(text: str) -> int:
    """In hexadecimal, binary, octal or decimal."""
    return int(text, 0) if text[:2].lower() in ("0x", "0b", "0o") else int(text)


def pattern(text: str, width: int) -> tuple[int, int]:
    """Value and mask of a number some of whose digits are `*`."""
    bits = {"0x": 4, "0o": 3, "0b": 1}.get(text[:2].lower())
    if bits is None:
        return number(text), (1 << width) - 1
    value = mask = 0
    for digit in text[2:]:
        value = value << bits | (0 if digit == "*" else int(digit, 1 << bits))
        mask = mask << bits | (0 if digit == "*" else (1 << bits) - 1)
    ones = (1 << width) - 1
    # digits in front of those that are written are zero
    return value & ones, (mask | ones >> (len(text) - 2) * bits << (len(text) - 2) * bits) & ones


def same(expected: str, received: bytes) -> bool:
    """Whether a packet is what an `expect` says: `*` is any digit, and more may follow unless `$` ends it."""
    exact, digits = expected.endswith("$"), expected.removesuffix("$")
    got = received.hex()
    if len(got) < len(digits) or (exact and len(got) > len(digits)):
        return False
    return all(wanted in ("*", digit) for wanted, digit in zip(digits.lower(), got, strict=False))


def _statement(line: str) -> Statement:
    command, _, rest = line.partition(" ")
    command = command.lower()
    if command not in ("add", "setdefault"):
        return Statement(command, tuple(rest.split()))
    call = _CALL.match(rest)
    if call is None:
        raise ValueError(f"no action in {line!r}")
    table, *words = call["before"].split()
    priority = int(words.pop(0)) if words and words[0].isdigit() else None
    matches = tuple(_pair(word) for word in words)
    arguments = tuple(_pair(word.strip()) for word in call["arguments"].split(",") if word.strip())
    return Statement(command, (), table, priority, matches, call["action"], arguments)


def _pair(word: str) -> tuple[str, str]:
    name, colon, value = word.partition(":")
    if not colon:
        raise ValueError(f"{word!r} where name:value belongs")
    return name, value
