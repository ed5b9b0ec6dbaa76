"""docs/functions.md, the functions in five minutes: their commands, run in order, print what stands below them."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import subprocess
import threading
import time
from pathlib import Path

from click.testing import CliRunner, Result

from controller.operator.cli import main
from tests.docs.commands import ROOT
from tests.patience import PATIENCE
from topologies.processes import in_namespace
from topologies.testbed import Testbed

DOCUMENT = "docs/functions.md"
HITLESS = ".venv/bin/hitless"
_SECTION = re.compile(r"^## A (?:WebAssembly )?function in five minutes\n(.*?)(?=^## )", re.MULTILINE | re.DOTALL)
_BLOCK = re.compile(r"^```(sh|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LOGGED = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z edge[12] ")
"""When and where a line was logged, which nobody knows beforehand."""


def steps(page: str) -> list[tuple[list[str], list[str]]]:
    """The sections' commands, with the lines that they are to print together."""
    sections = _SECTION.findall(page)
    assert len(sections) == 2
    found: list[tuple[list[str], list[str]]] = []
    for kind, text in _BLOCK.findall("".join(sections)):
        if kind == "sh":
            found.append((text.splitlines(), []))
        else:
            found[-1][1].extend(line for line in text.splitlines() if line)
    return found


def run(bed: Testbed, folder: Path) -> None:
    """Run the sections on a fabric that is up, in a folder that has nothing yet but the environment's programs."""
    (folder / ".venv").symlink_to(ROOT / ".venv")
    for commands, wanted in steps((ROOT / DOCUMENT).read_text()):
        said = ""
        for command in commands:
            if command == "make up":
                continue
            if "hitless logs" in command:
                # A line is written a moment after it was printed.
                said += shown_at_last(command, _LOGGED.sub("", wanted[-1]), bed, folder, wanted)
            else:
                said += said_by(command, bed, folder, wanted)
        lines = {_LOGGED.sub("", line) for line in said.splitlines()}
        missing = [line for line in wanted if _LOGGED.sub("", line) not in lines]
        assert not missing, f"{commands} do not print {missing}, but:\n{said}"


def shown_at_last(command: str, line: str, bed: Testbed, folder: Path, wanted: list[str]) -> str:
    """What a command prints once it prints a line."""
    said = ""
    deadline = time.monotonic() + PATIENCE
    while line not in said:
        assert time.monotonic() < deadline, f"{command} does not print {line}, but:\n{said}"
        said = said_by(command, bed, folder, wanted)
    return said


def said_by(command: str, bed: Testbed, folder: Path, wanted: list[str]) -> str:
    """What a command prints until its end; one that follows is interrupted when it has printed what it should."""
    words = shlex.split(command)
    fails = words[0] == "!"
    if words[fails] == HITLESS and "-f" not in words:
        code, said = called(words[fails + 1 :], bed, folder)
    else:
        code, said = run_in_shell(command, bed, folder, wanted)
    assert (code != 0) is fails, f"{command}: {said}"
    assert fails or "Traceback" not in said, said
    return said


def called(words: list[str], bed: Testbed, folder: Path) -> tuple[int, str]:
    """Call the command line as its program does, whose start would take longer than all that it does.

    In a thread of its own, since `hitless invoke` calls from another network and stays there.
    """
    results: list[Result] = []

    def call() -> None:
        with contextlib.chdir(folder):
            results.append(CliRunner().invoke(main, words, env={"HITLESS_SOCKET": str(bed.socket)}))

    thread = threading.Thread(target=call)
    thread.start()
    thread.join(PATIENCE)
    assert results, f"hitless {shlex.join(words)} has not ended within {PATIENCE:g} s"
    (result,) = results
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def run_in_shell(command: str, bed: Testbed, folder: Path, wanted: list[str]) -> tuple[int, str]:
    """Run a line on the controller's host; returns its exit code and what it printed."""
    process = subprocess.Popen(
        in_namespace(bed.namespace("ctrl"), ["bash", "-c", f"exec {command}" if " -f" in command else command]),
        cwd=folder,
        env={**os.environ, "HITLESS_SOCKET": str(bed.socket)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    watchdog = threading.Timer(PATIENCE, process.kill)
    watchdog.start()
    said = ""
    try:
        assert process.stdout is not None
        for line in process.stdout:
            said += line
            if " -f" in command and _LOGGED.sub("", line.rstrip()) == _LOGGED.sub("", wanted[-1]):
                process.send_signal(signal.SIGINT)
        return process.wait(), said
    finally:
        watchdog.cancel()
        process.kill()
        process.wait()
