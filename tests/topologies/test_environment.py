"""Set-up: uv looks where pip looks, and who cannot install is told what to do."""

import os
import subprocess
from pathlib import Path

import pytest

from topologies.environment import parse_settings, uv_settings
from topologies.testbed import REPOSITORY_ROOT

LISTED = """\
:env:.cert='/etc/ssl/ca.crt'
global.index-url='https://mirror.example/simple'
global.timeout='15'
install.extra-index-url='file:///opt/a/simple file:///opt/b/simple'
install.index-url='https://nearer.example/simple'
list.format='columns'
:env:.find-links='/opt/wheels\\n/opt/more'
"""


def test_uv_looks_where_pip_looks() -> None:
    assert uv_settings(parse_settings(LISTED), {}) == {
        "SSL_CERT_FILE": "/etc/ssl/ca.crt",
        "UV_DEFAULT_INDEX": "https://nearer.example/simple",
        "UV_FIND_LINKS": "/opt/wheels,/opt/more",
        "UV_HTTP_TIMEOUT": "15",
        "UV_INDEX": "file:///opt/a/simple file:///opt/b/simple",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "UV_LINK_MODE": "copy",
    }


def test_what_the_user_tells_uv_goes_before_what_pip_is_told() -> None:
    told = uv_settings(parse_settings(LISTED), {"UV_DEFAULT_INDEX": "https://own.example/simple"})
    assert "UV_DEFAULT_INDEX" not in told


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A folder of commands, to be the PATH, of a Debian on which nothing is installed and sudo is missing."""
    for name in ("bash", "env", "mktemp", "rm", "cat"):
        (tmp_path / name).symlink_to(f"/usr/bin/{name}")
    for name, says in (("dpkg-query", ""), ("id", "1000")):
        (tmp_path / name).write_text(f"#!/usr/bin/bash\necho {says}\n")
        (tmp_path / name).chmod(0o755)
    return tmp_path


def test_without_sudo_one_sentence_says_what_to_do(bare: Path) -> None:
    done = subprocess.run(
        ["bash", REPOSITORY_ROOT / "topologies" / "install.sh"],
        env={**os.environ, "PATH": str(bare)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("setup: there is no sudo here: as root, run apt-get update && apt-get install mininet ")


def test_apt_says_why_it_failed_and_how_far_it_came(bare: Path) -> None:
    (bare / "id").write_text("#!/usr/bin/bash\necho 0\n")
    (bare / "apt-get").write_text(
        "#!/usr/bin/bash\n"
        "[[ $* != *update* ]] || exit 0\n"
        "echo dlstatus:1:26.5:Retrieving; echo dlstatus:2:30:Retrieving; echo pmstatus:gcc:50:Unpacking\n"
        "echo 'E: no space left' >&2; exit 100\n"
    )
    (bare / "apt-get").chmod(0o755)
    done = subprocess.run(
        ["bash", REPOSITORY_ROOT / "topologies" / "install.sh"],
        env={**os.environ, "PATH": str(bare)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout.splitlines()[1:] == ["  downloaded: 25 %", "  installed: 50 %"]
    assert done.stderr.splitlines()[0] == "E: no space left"
    assert "mend what it says above, then run this again" in done.stderr
