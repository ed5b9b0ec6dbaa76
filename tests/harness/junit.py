"""What a run of pytest came to, from its report in JUnit's form."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from tests.harness.outcomes import Outcome


def outcomes(report: Path) -> tuple[list[Outcome], list[str]]:
    """The tests that ran, and those that were skipped with the reason."""
    ran, skipped = [], []
    for case in ElementTree.parse(report).iter("testcase"):
        name = f"{case.get('classname', '').rpartition('.')[2]}.{case.get('name')}"
        problem = next((part for part in case if part.tag in ("failure", "error")), None)
        left_out = case.find("skipped")
        if left_out is not None:
            skipped.append(f"{name} ({left_out.get('message')})")
        elif problem is not None:
            ran.append(Outcome(name, False, (problem.get("message") or problem.text or "")[:300]))
        else:
            ran.append(Outcome(name, True))
    return ran, skipped
