"""The section "A function in five minutes" is read whole: each command has its place, and most have their output."""

from __future__ import annotations

from tests.docs import five_minutes
from tests.docs.commands import ROOT


def test_the_section_is_read_as_it_stands() -> None:
    steps = five_minutes.steps((ROOT / five_minutes.DOCUMENT).read_text())
    assert steps[0] == (["make up"], [])
    assert steps[1][0] == [".venv/bin/hitless new greet"]
    assert steps[1][1][0].startswith("greet: a function in python, over http: ")
    assert all(wanted for _, wanted in steps[1:])
