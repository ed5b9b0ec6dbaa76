"""softswitch's README says what happens."""

from __future__ import annotations

import doctest
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from softswitch.commands.pcap import PcapWriter

from tests.softswitch.test_cli import Start, start  # noqa: F401 (a fixture)

REPOSITORY = Path(__file__).parents[2]
README = REPOSITORY / "softswitch/README.md"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that has what the README refers to."""
    shutil.copytree(REPOSITORY / "tests/softswitch/programs", tmp_path / "tests/softswitch/programs")
    capture = PcapWriter(tmp_path / "in.pcap")
    for second in range(2):
        capture.write(second * 10**9, bytes(60))
    capture.close()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def commands() -> list[tuple[list[str], str]]:
    """Arguments of `softswitch`, and what it prints."""
    blocks = re.findall(r"^```console\n\$ softswitch (.*)\n((?:.*\n)*?)```$", README.read_text(), re.MULTILINE)
    return [(shlex.split(arguments), output) for arguments, output in blocks]


def test_python_example(place: Path) -> None:
    (block,) = re.findall(r"^```pycon\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)
    example = doctest.DocTestParser().get_doctest(block, {}, README.name, str(README), 0)
    assert doctest.DocTestRunner().run(example) == (0, 5)


def test_commands(place: Path, start: Start) -> None:  # noqa: F811
    (run, printed), (serve, serving) = commands()
    command = [sys.executable, "-m", "softswitch", *run]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    seconds = r"\d+\.\d\d s$"
    assert re.sub(seconds, "", output, flags=re.MULTILINE) == re.sub(seconds, "", printed, flags=re.MULTILINE)
    address = serve[serve.index("--grpc-server-addr") + 1]
    assert serving == f"softswitch: device 1 serves P4Runtime on {address}\n"
    host = start(*(argument.replace(address, "127.0.0.1:0") for argument in serve)).address().rpartition(":")[0]
    assert host == address.rpartition(":")[0]
