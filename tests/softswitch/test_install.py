"""softswitch as a distribution: what is in it and what it brings, and its first example as an unprivileged user."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Iterator
from email import message_from_bytes
from email.message import Message
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
DISTRIBUTION = REPOSITORY / "softswitch"
NOBODY = 65534
EXAMPLE = """
import softswitch
with softswitch.load("copies.json", p4info="copies.p4info.txtpb") as switch:
    print(switch.process(1, bytes(60))[0][0], softswitch.__file__)
"""


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that everybody can enter."""
    folder = Path(tempfile.mkdtemp(prefix="softswitch-install-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def as_nobody() -> list[str]:
    """What to put before a command so that it runs unprivileged; nothing when this process is that already."""
    if os.geteuid():
        return []
    return ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--bounding-set=-all"]


def pip(*arguments: str, python: Path | str = sys.executable) -> str:
    """What pip prints, working on the environment of `python`."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(python), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode and "No matching distribution found for" in done.stderr:
        pytest.skip("no package index in reach")
    assert done.returncode == 0, done.stderr
    return done.stdout


def environment(place: Path) -> Path:
    """A new environment, without pip; its interpreter."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(place / "venv")], check=True)
    return place / "venv/bin/python"


def build(project: Path, place: Path) -> Path:
    """A project's wheel."""
    pip("wheel", "-q", "--no-deps", "--wheel-dir", str(place), str(project))
    return next(place.glob("*.whl"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """softswitch's wheel."""
    return build(DISTRIBUTION, tmp_path_factory.mktemp("wheel"))


def contents(wheel: Path) -> tuple[set[str], Message]:
    """The names in a wheel, and its metadata."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        metadata = next(name for name in names if name.endswith(".dist-info/METADATA"))
        return names, message_from_bytes(archive.read(metadata))


def test_the_wheel_has_what_it_takes(wheel: Path) -> None:
    names, metadata = contents(wheel)
    source = DISTRIBUTION / "src"
    runtime = {str(path.relative_to(source)) for path in (source / "softswitch/runtime").iterdir()}
    thrift = {f"softswitch/thrift/{path.name}" for path in (source / "softswitch/thrift").glob("*.thrift")}
    assert names >= runtime | thrift | {"softswitch/py.typed", "softswitch/__main__.py"}
    assert {name.partition("/")[0] for name in names} == {"softswitch", f"softswitch-{metadata['Version']}.dist-info"}
    assert metadata["License-Expression"] == "Apache-2.0"


def test_it_brings_at_most_ten_packages(place: Path, wheel: Path) -> None:
    python = environment(place)
    pip("install", "-q", str(wheel), python=python)
    packages = {package["name"] for package in json.loads(pip("list", "--format", "json", python=python))}
    assert "softswitch" in packages
    assert len(packages) <= 10, packages
    pip("check", python=python)
    command = [str(place / "venv/bin/softswitch"), "--version"]
    assert re.fullmatch(r"\d+\.\d+\.\d+\n", subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def test_the_project_brings_it_from_its_folder(place: Path) -> None:
    _, metadata = contents(build(REPOSITORY, place))
    (needed,) = (r for r in metadata.get_all("Requires-Dist", []) if r.startswith("softswitch"))
    assert needed == f"softswitch @ {DISTRIBUTION.as_uri()}"


def pins(project: Path) -> dict[str, str]:
    """Package -> version, of those that a project's pyproject.toml wants in one version."""
    wanted = tomllib.loads((project / "pyproject.toml").read_text())["project"]["dependencies"]
    return dict(dependency.split("==") for dependency in wanted if "==" in dependency)


def test_versions_are_pinned_in_one_place() -> None:
    assert pins(DISTRIBUTION)
    assert not pins(DISTRIBUTION).keys() & pins(REPOSITORY).keys()


def test_installed_package_runs_the_example_unprivileged(place: Path, wheel: Path) -> None:
    """Dependencies are this interpreter's, so that only our own package is built and installed."""
    python = environment(place)
    pip("install", "-q", "--no-deps", str(wheel), python=python)
    site = next(place.glob("venv/lib/python*/site-packages"))
    (site / "dependencies.pth").write_text("\n".join(p for p in sys.path if p.endswith("-packages")) + "\n")
    assert (site / "softswitch/py.typed").exists()
    for name in ("copies.json", "copies.p4info.txtpb"):
        shutil.copy(REPOSITORY / "tests/softswitch/programs" / name, place)
    (place / "cache").mkdir(mode=0o777)
    (place / "cache").chmod(0o777)
    variables = {"PATH": "/usr/bin:/bin", "XDG_CACHE_HOME": str(place / "cache")}
    if subprocess.run([*as_nobody(), str(python), "-c", "import grpc"], check=False, capture_output=True).returncode:
        pytest.skip("other users cannot read this interpreter's packages")
    done = subprocess.run(
        [*as_nobody(), str(python), "-c", EXAMPLE],
        cwd=place,
        env=variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    port, where = done.stdout.split()
    assert port == "4"
    assert Path(where).is_relative_to(place), "not the checkout's"
    assert any(p.stat().st_uid == (NOBODY if os.geteuid() == 0 else os.geteuid()) for p in place.glob("cache/*/*.so"))
