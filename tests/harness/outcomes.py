"""What running other people's programs came to, and the table that tells it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Outcome:
    """One test: whether it passed, and why not."""

    test: str
    passed: bool
    why: str = ""


@dataclass(frozen=True)
class Report:
    """What a harness came to at a commit or release. `missing` is what could not be had or run, and is not counted."""

    name: str
    version: str
    outcomes: tuple[Outcome, ...] = ()
    missing: tuple[str, ...] = ()

    @property
    def failed(self) -> list[Outcome]:
        """The tests that did not pass."""
        return [outcome for outcome in self.outcomes if not outcome.passed]

    def as_json(self) -> dict[str, Any]:
        """For another process."""
        return asdict(self)

    @classmethod
    def of(cls, value: dict[str, Any]) -> Report:
        """What `as_json` made."""
        outcomes = tuple(Outcome(**outcome) for outcome in value["outcomes"])
        return cls(value["name"], value["version"], outcomes, tuple(value["missing"]))


def table(reports: Sequence[Report]) -> str:
    """Markdown, a row for each report."""
    rows = ["| harness | commit | tests | passed | why not |", "|---|---|---|---|---|"]
    for report in reports:
        why = [f"{outcome.test}: {outcome.why}" for outcome in report.failed]
        why += [f"not had: {reason}" for reason in report.missing]
        counts = f"{len(report.outcomes)} | {len(report.outcomes) - len(report.failed)}"
        if not report.outcomes:
            counts = "– | –"
        text = "; ".join(_one_line(part) for part in why)
        rows.append(f"| {report.name} | {report.version} | {counts} | {text} |")
    return "\n".join(rows)


def _one_line(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
