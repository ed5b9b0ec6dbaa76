"""SIGTERM ends a switch soon, whatever it is at, and what it has started with it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from tests.patience import until
from tests.softswitch.p4runtime.client import PROGRAMS, TIMEOUT, Client, Names, uint128
from tests.softswitch.p4runtime.test_pipeline_config import Set

COMPILER = """#!/bin/sh
# Takes hours over a program.
case "$*" in
*program-*) echo $$ > "{started}"; exec sleep 10000 ;;
*) exec gcc "$@" ;;
esac
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the compiler is, and what it makes."""
    return tmp_path_factory.mktemp("slow")


@pytest.fixture
def slow_compiler(folder: Path) -> Iterator[Path]:
    """A compiler; a file of this name has its process id once it is at a program."""
    started = folder / "started"
    started.unlink(missing_ok=True)
    compiler = folder / "cc"
    compiler.write_text(COMPILER.format(started=started))
    compiler.chmod(0o755)
    yield started
    if started.exists() and (pid := started.read_text().strip()):
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)


@contextlib.contextmanager
def started(slow_compiler: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A switch that compiles by it."""
    command = [sys.executable, "-m", "softswitch", "--device-id", "1", *arguments]
    environment = {"XDG_CACHE_HOME": str(slow_compiler.parent), "PATH": "/usr/bin:/bin"}
    environment["CC"] = str(slow_compiler.parent / "cc")
    command += ["--", "--grpc-server-addr", "127.0.0.1:0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            yield process
        finally:
            process.kill()


def serving(process: subprocess.Popen[str]) -> str:
    """Where a switch serves."""
    assert process.stdout is not None
    return process.stdout.readline().split()[-1]


def compiling(slow_compiler: Path) -> int:
    """The compiler's process id, once it is at the program."""
    until(lambda: slow_compiler.exists() and slow_compiler.read_text().endswith("\n"), "a compiler")
    return int(slow_compiler.read_text())


def gone(pid: int) -> bool:
    """Whether a process has ended; one that nobody has waited for has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_a_push_that_compiles_does_not_hold_up_the_end(slow_compiler: Path) -> None:
    with started(slow_compiler, "--no-p4") as process, Client(serving(process)) as client:
        client.primary()
        request = Set(device_id=1, action=Set.VERIFY_AND_COMMIT, election_id=uint128(10))
        request.config.CopyFrom(Names.of("everything").config())
        push = client.stub.SetForwardingPipelineConfig.future(request)
        compiler = compiling(slow_compiler)
        process.send_signal(signal.SIGTERM)
        assert process.wait(TIMEOUT) == 0
        until(lambda: gone(compiler), "the end of the compiler")
        with pytest.raises(grpc.RpcError):
            push.result(TIMEOUT)


def test_a_program_that_compiles_at_the_start_does_not_hold_up_the_end(slow_compiler: Path) -> None:
    with started(slow_compiler, str(PROGRAMS / "everything.json")) as process:
        compiler = compiling(slow_compiler)
        process.send_signal(signal.SIGTERM)
        assert process.wait(TIMEOUT) == 0
        until(lambda: gone(compiler), "the end of the compiler")
