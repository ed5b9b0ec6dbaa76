"""The table of what fails without each guard."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from p4src.build import ROOT
from tests.mutation.guards import Guard

TABLE = ROOT / "docs" / "mutation.md"
COMPILER, MACHINE = "the compiler", "state machine"


@dataclass(frozen=True)
class Trial:
    """A guard that was taken out."""

    guard: Guard
    found: str
    """What failed, or an empty string."""
    equivalent: str
    """Why nothing can fail, if that was declared, or an empty string."""

    @property
    def unexplained(self) -> bool:
        """Nothing failed though it should, or something though it should not."""
        return bool(self.found) == bool(self.equivalent)

    @property
    def verdict(self) -> str:
        """For the table."""
        if self.found:
            return self.found + (" (**though declared equivalent**)" if self.equivalent else "")
        return f"nothing can: {self.equivalent}" if self.equivalent else "**nothing**"


def table(trials: list[Trial], count: int, compiler: str | None) -> str:
    """The page."""
    by = Counter(_who(trial) for trial in trials)
    lines = [
        "# What fails without each guard",
        "",
        "Written by `make mutate`. A guard is a condition that something depends on: of an `if`, of a `?`, of a",
        "checksum, or the value of a variable. Each is taken out in turn: in a conjunction as if it held, else as if",
        f"it did not. Without it the program (compiled by {compiler}) runs on softswitch: under the",
        "state machine of `tests/model`, which compares it with the contract's model, and where they agree, under the",
        "tests of `tests/packet` until one fails, twice. The table names it, or what the state machine saw first.",
        "A guard is tried again when its source changes, or with `python -m tests.mutation --fresh`.",
        "",
        f"{len(trials)} of {count} guards were taken out:",
        "",
        f"- {by['machine']} were noticed by the state machine,",
        f"- {by['packets']} by a packet test only,",
        f"- {by['compiler']} by the compiler;",
        f"- {by['equivalent']} are equivalent: without them the program does the same, for the reason that is given;",
        f"- {by['nobody'] or 'none'} went unnoticed.",
        "",
        "| source | guard | taken as | fails |",
        "|---|---|---|---|",
    ]
    for trial in sorted(trials, key=lambda trial: (trial.guard.source, trial.guard.start)):
        text = trial.guard.text.replace("|", "\\|")
        where = f"{trial.guard.source}:{trial.guard.line}"
        lines.append(f"| {where} | `{text}` | {trial.guard.without} | {trial.verdict.replace('|', '&#124;')} |")
    return "\n".join(lines) + "\n"


def _who(trial: Trial) -> str:
    if trial.unexplained:
        return "nobody"
    if trial.equivalent:
        return "equivalent"
    if trial.found == COMPILER:
        return "compiler"
    return "machine" if trial.found.startswith(MACHINE) else "packets"
