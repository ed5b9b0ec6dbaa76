"""The table of what fails without each guard: the page people read, and the record that the next run goes on from."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.mutation.declared import EQUIVALENT
from tests.mutation.guards import Guard

TABLE = Path(__file__).with_name("verdicts.md")
COMPILER, MACHINE = "the compiler", "state machine"
_NOTHING, _NOTHING_CAN, _UNTRIED = "**nothing**", "nothing can: ", "not tried yet"
_CONTRADICTION = " (**though declared equivalent**)"
_CELL_BORDER = re.compile(r"(?<!\\)\|")


@dataclass(frozen=True)
class Verdict:
    """What came of taking a guard out."""

    found: str
    """What failed, or an empty string."""
    control: str
    """The digest of the guard's control as it was then."""


@dataclass(frozen=True)
class Row:
    """A guard of the program and what is known of it."""

    guard: Guard
    verdict: Verdict | None

    @property
    def current(self) -> bool:
        """Whether it was tried in its control as that is now."""
        return self.verdict is not None and self.verdict.control == self.guard.control

    @property
    def equivalent(self) -> str:
        """Why nothing can fail, if that was declared, or an empty string."""
        return EQUIVALENT.get(self.guard.name, "")

    @property
    def unexplained(self) -> bool:
        """Nothing failed though it should, or something though it should not."""
        return self.verdict is not None and bool(self.verdict.found) == bool(self.equivalent)

    @property
    def fails(self) -> str:
        """For the table."""
        if self.verdict is None:
            return _UNTRIED
        if self.verdict.found:
            return self.verdict.found + (_CONTRADICTION if self.equivalent else "")
        return _NOTHING_CAN + self.equivalent if self.equivalent else _NOTHING


def rows(guards: Sequence[Guard], known: Mapping[str, Verdict]) -> list[Row]:
    """Each guard with what is known of it, by name."""
    return [Row(guard, known.get(guard.name)) for guard in guards]


def table(rows: Sequence[Row], compiler: str) -> str:
    """The page. `compiler` is what made the programs that were tried."""
    by = Counter(_who(row) for row in rows)
    lines = [
        "# What fails without each guard",
        "",
        "Written by `make mutate`. A guard is a condition that something depends on: of an `if`, of a `?`, of a",
        "checksum, or the value of a variable. Each is taken out in turn: in a conjunction as if it held, else as if",
        f"it did not. Without it the program (compiled by {compiler}) runs on softswitch: under the",
        "state machine of `tests/model`, which compares it with the contract's model, and where they agree, under the",
        "tests of `tests/packet` until one fails, twice. The table names it, or what the state machine saw first.",
        "",
        "A guard is known by its source, its control (and action), and its text; `#2` is the second of one text in",
        "one place. The last column is a digest of the control that it was tried in, without comments, annotations",
        "and layout. A guard is tried again when that changes, when nothing failed, or with",
        "`python -m tests.mutation --fresh`.",
        "",
        f"{len(rows) - by['untried']} of {len(rows)} guards were taken out:",
        "",
        f"- {by['machine']} were noticed by the state machine,",
        f"- {by['packets']} by a packet test only,",
        f"- {by['compiler']} by the compiler;",
        f"- {by['equivalent']} are equivalent: without them the program does the same, for the reason that is given;",
        f"- {by['nobody'] or 'none'} went unnoticed.",
        "",
        f"Waiting for the next run, since they are new or their control changed: {waiting(rows) or 'none'}.",
        "",
        "| source | where | guard | taken as | fails | tried in |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        guard = row.guard
        text = f"`{guard.text}`" + guard.condition.removeprefix(guard.text)
        tried = row.verdict.control if row.verdict else ""
        cells = (guard.source, guard.place, text, guard.without, row.fails, tried)
        lines.append("|" + "|".join(f" {cell.replace('|', chr(92) + '|')} " for cell in cells) + "|")
    return "\n".join(lines) + "\n"


def waiting(rows: Sequence[Row]) -> int:
    """How many were not tried, or in another text of their control."""
    return sum(not row.current for row in rows)


def read(page: str) -> dict[str, Verdict]:
    """What a page knows, by the guard's name. Raises ValueError for a row that `table` cannot have written."""
    known = {}
    for line in page.splitlines():
        if not line.startswith("| ") or line.startswith("| source |"):
            continue
        cells = [cell.strip().replace(r"\|", "|") for cell in _CELL_BORDER.split(line)[1:-1]]
        if len(cells) != 6:
            raise ValueError(f"expected six cells in {line!r}")
        source, place, text, _, fails, tried = cells
        if fails != _UNTRIED:
            found = "" if fails == _NOTHING or fails.startswith(_NOTHING_CAN) else fails.removesuffix(_CONTRADICTION)
            known[f"{source} {place}: {text.replace('`', '')}"] = Verdict(found, tried)
    return known


def _who(row: Row) -> str:
    if row.verdict is None:
        return "untried"
    if row.unexplained:
        return "nobody"
    if row.equivalent:
        return "equivalent"
    if row.verdict.found == COMPILER:
        return "compiler"
    return "machine" if row.verdict.found.startswith(MACHINE) else "packets"
