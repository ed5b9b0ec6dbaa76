"""The harness itself: what it counts, what it says of what cannot be had; and the shell's sessions, which PyPI has."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.harness import shell, tutorials
from tests.harness.exercises import EXERCISES
from tests.harness.outcomes import Outcome, Report, table
from tests.harness.place import Place
from tests.harness.sources import NotHad, Source, bring

SHELL = Path(__file__).parents[2] / ".venv-shell" / "bin" / "python"


@pytest.mark.skipif(not SHELL.exists(), reason="there is no .venv-shell (make test makes it)")
def test_p4runtime_shells_documented_sessions(tmp_path: Path) -> None:
    outcomes = shell.everything(Place(tmp_path, SHELL, tmp_path))
    assert [outcome for outcome in outcomes if not outcome.passed] == []
    assert len(outcomes) == len(shell.EVERYTHING + shell.INDIRECT + shell.WITHOUT_CONFIG)


def test_a_session_passes_only_with_all_it_must_print_in_order_and_no_other_error() -> None:
    session = shell.Session("s", "", ("one", "two"))
    assert shell.judge(session, "one\ntwo\n").passed
    assert not shell.judge(session, "two\none\n").passed
    assert not shell.judge(session, "one\nP4RuntimeException: no\ntwo\n").passed


def test_the_table_counts_only_what_ran() -> None:
    ran = Report("a", "c0ffee", (Outcome("x", True), Outcome("y", False, "a | b\nc")), ("z (no iperf)",))
    not_had = Report("b", "1.0", (), ("no network",))
    assert table([ran, not_had]).splitlines()[2:] == [
        "| a | c0ffee | 2 | 1 | y: a \\| b c; not had: z (no iperf) |",
        "| b | 1.0 | – | – | not had: no network |",
    ]
    assert Report.of(ran.as_json()) == ran


def test_the_firewall_must_let_nothing_in() -> None:
    (firewall,) = (exercise for exercise in EXERCISES if exercise.folder == "firewall")
    said = "Starting mininet CLI inside 9 Mbits/sec outwards 9 Mbits/sec inwards {} end"
    assert tutorials.judge(firewall, said.format("connect failed")).passed
    assert not tutorials.judge(firewall, said.format("9 Mbits/sec")).passed


def test_repositories_are_cloned_at_their_commit_or_said_not_to_be_had(tmp_path: Path) -> None:
    if shutil.which("git") is None:
        pytest.skip("there is no git")
    origin = tmp_path / "mirror" / "owner" / "name"
    (origin / "used").mkdir(parents=True)
    (origin / "used" / "file").write_text("first")
    (origin / "large").write_text("not wanted")

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(origin), "-c", "user.name=n", "-c", "user.email=e", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "-m", "first")
    commit = git("rev-parse", "HEAD")
    (origin / "used" / "file").write_text("second")
    git("commit", "--quiet", "-am", "second")
    base = str(tmp_path / "mirror" / "{owner}" / "{name}")
    clone = bring(Source("owner", "name", commit, ("used",)), base, tmp_path)
    assert (clone / "used" / "file").read_text() == "first"
    assert not (clone / "large").exists()
    with pytest.raises(NotHad, match=r"mirror/owner/none at 0123 cannot be cloned"):
        bring(Source("owner", "none", "0123", ("used",)), base, tmp_path)
