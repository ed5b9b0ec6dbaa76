"""The committed artefacts are what p4c makes of the committed sources, and say nothing of where they were made."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from p4src import build


def test_the_recorded_digests_are_those_of_sources_and_artefacts() -> None:
    _, recorded = build.recorded()
    assert recorded == build.digests(), "sources and artefacts differ: run `make p4` and commit p4src/compiled/"


def test_a_change_of_any_source_is_noticed(tmp_path: Path) -> None:
    shutil.copytree(build.ROOT / "p4src", tmp_path / "p4src", ignore=shutil.ignore_patterns("__pycache__"))
    _, recorded = build.recorded(tmp_path)
    assert build.digests(tmp_path) == recorded
    for source in build.sources(tmp_path):
        text = (tmp_path / source).read_text()
        (tmp_path / source).write_text(text + "\n")
        assert build.digests(tmp_path) != recorded, source
        (tmp_path / source).write_text(text)
    (tmp_path / "p4src" / "more.p4").write_text("// a new source\n")
    assert build.digests(tmp_path) != recorded


def test_a_recompilation_gives_the_same() -> None:
    here = build.compiler_version()
    if here is None:
        pytest.skip(f"{build.COMPILER} is not installed")
    made_by, _ = build.recorded()
    if here != made_by:
        pytest.skip(f"the artefacts were made by {made_by}, here is {here}")
    pipeline, p4info = build.compile_program()
    assert pipeline == (build.ROOT / build.PIPELINE).read_text()
    assert p4info == (build.ROOT / build.P4INFO).read_text()


def test_the_pipeline_names_its_sources_by_relative_paths() -> None:
    text = (build.ROOT / build.PIPELINE).read_text()
    assert json.loads(text)["program"] == str(build.PROGRAM)
    assert str(build.ROOT) not in text
    assert '"filename":"/' not in text.replace('"filename":"/usr/', "")


def test_without_p4c_the_build_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(build.BuildError, match="not installed") as raised:
        build.compile_program()
    assert "packages" in str(raised.value)
    assert "source" in str(raised.value)


def test_sha256sum_can_check_the_record() -> None:
    check = subprocess.run(
        ["sha256sum", "--strict", "--check", str(build.DIGESTS)],
        cwd=build.ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert check.returncode == 0, check.stdout + check.stderr
