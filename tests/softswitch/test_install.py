"""`pip install` into an environment of its own, and the example of softswitch's docstring as an unprivileged user."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
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


def install(python: Path) -> None:
    """`pip install ./softswitch` into the environment of `python`, without dependencies."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(python),
        "install",
        "-q",
        "--no-deps",
        str(REPOSITORY / "softswitch"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode and "No matching distribution found for hatchling" in done.stderr:
        pytest.skip("no package index in reach")
    assert done.returncode == 0, done.stderr


def test_installed_package_runs_the_example_unprivileged(place: Path) -> None:
    """Dependencies are this interpreter's, so that only our own package is built and installed."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(place / "venv")], check=True)
    python = place / "venv/bin/python"
    install(python)
    site = next(place.glob("venv/lib/python*/site-packages"))
    (site / "dependencies.pth").write_text("\n".join(p for p in sys.path if p.endswith("-packages")) + "\n")
    assert (site / "softswitch/py.typed").exists()
    for name in ("copies.json", "copies.p4info.txtpb"):
        shutil.copy(REPOSITORY / "tests/softswitch/programs" / name, place)
    (place / "cache").mkdir(mode=0o777)
    (place / "cache").chmod(0o777)
    environment = {"PATH": "/usr/bin:/bin", "XDG_CACHE_HOME": str(place / "cache")}
    if subprocess.run([*as_nobody(), str(python), "-c", "import grpc"], check=False, capture_output=True).returncode:
        pytest.skip("other users cannot read this interpreter's packages")
    done = subprocess.run(
        [*as_nobody(), str(python), "-c", EXAMPLE],
        cwd=place,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    port, where = done.stdout.split()
    assert port == "4"
    assert Path(where).is_relative_to(place), "not the checkout's"
    assert any(p.stat().st_uid == (NOBODY if os.geteuid() == 0 else os.geteuid()) for p in place.glob("cache/*/*.so"))
