"""The table of what fails without each guard tells of the program that is there, and outlives edits elsewhere in it."""

import shutil
from pathlib import Path

from p4src.build import ROOT
from tests.mutation.guards import Guard, guards
from tests.mutation.table import TABLE, Verdict, read, rows, table

P4 = ROOT / "p4src"
RUN = "run `make mutate` and commit tests/mutation/verdicts.md"


def test_it_has_each_guard_of_the_program_and_no_other() -> None:
    every, known = list(guards(P4)), read(TABLE.read_text())
    assert {guard.name for guard in every} == known.keys(), RUN
    assert [row.guard.name for row in rows(every, known) if row.unexplained] == [], RUN


def test_a_page_is_read_as_it_was_written() -> None:
    every = list(guards(P4))
    fails = ["", "the compiler", "state machine: frames", "test_a.py::test_b[x|y]"]
    known = {guard.name: Verdict(fails[at % 4], f"{at:08x}") for at, guard in enumerate(every[1:])}
    page = table(rows(every, known), "p4c 1")
    assert read(page) == known
    assert "not tried yet" in page, "the first guard"
    assert table(rows(every, read(page)), "p4c 1") == page


def edited(folder: Path, old: str, new: str) -> dict[str, Guard]:
    """The guards by name after an edit of arp.p4."""
    shutil.copy(P4 / "arp.p4", folder)
    text = (folder / "arp.p4").read_text()
    assert old in text
    (folder / "arp.p4").write_text(text.replace(old, new, 1))
    return {guard.name: guard for guard in guards(folder)}


def test_an_edit_elsewhere_leaves_a_verdict_as_it_is(tmp_path: Path) -> None:
    before = {guard.name: guard for guard in guards(P4) if guard.source == "arp.p4"}
    other = "control Other(inout metadata_t meta) {\n    apply { if (meta.drop == drop_t.NONE) { } }\n}\n\n"
    after = edited(tmp_path, "control Arp(", "// A comment: if (this) that.\n" + other + "control Arp(")
    assert after.keys() - before.keys() == {"arp.p4 Other: meta.drop == drop_t.NONE"}
    assert all(after[name].control == guard.control for name, guard in before.items())
    after = edited(tmp_path, "@id(2) port_t home", "@id(2) @refers_to(routes, address) port_t  home")
    assert all(after[name].control == guard.control for name, guard in before.items())


def test_an_edit_of_its_control_asks_for_a_new_verdict(tmp_path: Path) -> None:
    before = {guard.name: guard for guard in guards(P4) if guard.source == "arp.p4"}
    after = edited(tmp_path, "std.egress_spec = meta.port;", "std.egress_spec = 1;")
    assert after.keys() == before.keys()
    known = {name: Verdict("state machine: frames", guard.control) for name, guard in before.items()}
    assert not any(row.current for row in rows(list(after.values()), known))


def test_the_same_text_is_told_apart_by_its_place_and_then_by_an_ordinal(tmp_path: Path) -> None:
    (tmp_path / "x.p4").write_text(
        "control X(inout metadata_t meta) {\n"
        "    @hidden action a() { if (meta.n == 1) { meta.m = 1; } }\n"
        "    apply {\n        if (meta.n == 1) { a(); }\n        if (meta.n  ==  1) { a(); }\n    }\n}\n"
    )
    assert [guard.name for guard in guards(tmp_path)] == [
        "x.p4 X.a: meta.n == 1",
        "x.p4 X: meta.n == 1",
        "x.p4 X: meta.n == 1 #2",
    ]
