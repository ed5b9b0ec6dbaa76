"""P4Runtime targets for tests: each in a network namespace of its own, reached through a Unix socket."""

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.patience import PATIENCE

ROOT = Path(__file__).parents[2]


def missing(name: str) -> str | None:
    """Why a target cannot be tested here; None when it can."""
    if name == "bmv2":
        return None if shutil.which("simple_switch_grpc") else "simple_switch_grpc is not installed"
    return None if shutil.which("gcc") else "softswitch needs gcc"


NAMES = [
    pytest.param(name, marks=pytest.mark.root("needs root for a network namespace")) for name in ("bmv2", "softswitch")
]
"""Parameters for `running`."""


@dataclass
class Target:
    """One switch that can be started, killed and started again."""

    name: str
    folder: Path
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def socket(self) -> Path:
        return self.folder / "p4runtime.sock"

    @property
    def address(self) -> str:
        return f"unix:{self.socket}"

    @property
    def namespace(self) -> str:
        return f"ctl-{os.getpid()}-{self.name}"

    def start(self) -> None:
        self.socket.unlink(missing_ok=True)
        program = ["simple_switch_grpc"] if self.name == "bmv2" else [sys.executable, "-m", "softswitch"]
        options = ["--no-p4", "--device-id", "1", "-L", "off"]
        target = ["--grpc-server-addr", self.address, "--cpu-port", "510"]
        log = (self.folder / f"{self.name}.log").open("ab")
        self.process = subprocess.Popen(
            ["ip", "netns", "exec", self.namespace, *program, *options, "--", *target],
            stdout=log,
            stderr=log,
            cwd=ROOT,
        )
        deadline = time.monotonic() + PATIENCE
        while not self.socket.exists():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{self.name} did not start: {(self.folder / f'{self.name}.log').read_text()}")
            time.sleep(0.02)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@contextlib.contextmanager
def running(name: str, folder: Path) -> Iterator[Target]:
    """A started target, gone afterwards."""
    target = Target(name, folder)
    subprocess.run(["ip", "netns", "add", target.namespace], check=True)
    try:
        subprocess.run(["ip", "-n", target.namespace, "link", "set", "lo", "up"], check=True)
        target.start()
        yield target
    finally:
        target.kill()
        subprocess.run(["ip", "netns", "delete", target.namespace], check=True)
