"""The programs of this folder are committed as p4c compiles them, and say nothing of where that was."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from p4src import build

PROGRAMS = Path(__file__).parent / "programs"
NAMES = sorted(path.stem for path in PROGRAMS.glob("*.p4"))


def test_each_source_has_what_was_compiled_from_it() -> None:
    assert sorted(path.stem for path in PROGRAMS.glob("*.json")) == NAMES
    assert sorted(path.name.removesuffix(".p4info.txtpb") for path in PROGRAMS.glob("*.p4info.txtpb")) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_no_path_but_the_sources_own(name: str) -> None:
    text = (PROGRAMS / f"{name}.json").read_text()
    assert json.loads(text)["program"] == f"{name}.p4"
    assert '"filename":"/' not in text.replace(" ", "")


@pytest.fixture(scope="module")
def compiler() -> str:
    """The p4c that has compiled the programs."""
    here, (made_by, _) = build.compiler_version(), build.recorded()
    if here != made_by:
        pytest.skip(f"the programs were compiled by {made_by}, here is {here or 'none'}")
    return build.COMPILER


@pytest.mark.parametrize("name", NAMES)
def test_a_recompilation_gives_the_same(compiler: str, name: str, tmp_path: Path) -> None:
    pipeline, p4info = tmp_path / "made.json", tmp_path / "made.p4info.txtpb"
    command = [compiler, "--std", "p4-16", "--arch", "v1model", "-o", str(pipeline)]
    subprocess.run([*command, "--p4runtime-files", str(p4info), f"{name}.p4"], cwd=PROGRAMS, check=True)
    assert pipeline.read_text() == (PROGRAMS / f"{name}.json").read_text()
    assert p4info.read_text() == (PROGRAMS / f"{name}.p4info.txtpb").read_text()
