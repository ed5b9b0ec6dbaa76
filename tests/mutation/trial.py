"""Does anybody miss a guard? First the state machine is asked, then the packet tests, the likeliest first."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from p4src.build import ROOT
from tests.mutation.declared import TESTS

PACKET_TESTS = Path("tests/packet")
MACHINE_PATIENCE = 120
PACKETS_PATIENCE = 600
"""Seconds; a program that makes either hang has been found out, too."""
FLAWS = 3
"""Tests that may fail once and pass when tried again, before a trial is given up."""
KINDS = {"told": "digests", "left": "frames", "drew": "the member drawn", "counted": "counters"}
_FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+?\.py::.*?)(?: - |$)", re.MULTILINE)


def fails(artefacts: Path, number: int, source: str, cache: Path) -> str:
    """What fails with a compiled program, or an empty string.

    `number` is the guard's that is to be out, or 0; `source` is where it is, and `cache` for what softswitch compiles.
    """
    environment = os.environ | {"ARTEFACTS": str(artefacts), "GUARD": str(number), "XDG_CACHE_HOME": str(cache)}
    return _state_machine(environment) or _packet_tests(environment, source)


def _state_machine(environment: Mapping[str, str]) -> str:
    command = [sys.executable, "-m", "tests.mutation.check"]
    try:
        run = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=MACHINE_PATIENCE
        )
    except subprocess.TimeoutExpired:
        return "state machine: it hangs"
    if run.returncode == 0:
        return ""
    said = (run.stdout.strip() or run.stderr.strip() or f"exit code {run.returncode}").splitlines()[-1]
    return f"state machine: {KINDS.get(said.split(' ', 1)[0]) or said[:100]}"


def _packet_tests(environment: Mapping[str, str], source: str) -> str:
    """The test that fails, twice: on a busy machine one may fail once."""
    files = {path.stem.removeprefix("test_"): str(path) for path in sorted((ROOT / PACKET_TESTS).glob("test_*.py"))}
    first = [files.pop(name) for name in TESTS.get(source, ())]
    order = [str(Path(path).relative_to(ROOT)) for path in (*first, *files.values())]
    flawed: list[str] = []
    while len(flawed) <= FLAWS:
        failed = _pytest(environment, *order, *(f"--deselect={test}" for test in flawed))
        if not failed or _pytest(environment, failed):
            return failed.removeprefix(f"{PACKET_TESTS}/").replace("softswitch-", "").replace("[softswitch]", "")
        flawed.append(failed)
    return f"packet tests: {', '.join(flawed)} fail now and then"


def _pytest(environment: Mapping[str, str], *arguments: str) -> str:
    """The first test that fails, or an empty string."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-rfE", "--tb=no", "--timeout=60", "-p", "no:cacheprovider"]
    command += ["-k", "softswitch or not bmv2", *arguments]
    try:
        run = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=PACKETS_PATIENCE
        )
    except subprocess.TimeoutExpired:
        return "packet tests: they hang"
    if run.returncode == 0:
        return ""
    found = _FAILED.search(run.stdout)
    return found.group(1) if found else f"packet tests: exit code {run.returncode}"
