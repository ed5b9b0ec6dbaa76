"""Where a harness runs: softswitch under simple_switch_grpc's name, on a PATH with the Python its programs want."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.harness.sources import NotHad

START_S = 60.0
ALONE = ("unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child")
"""A program behind it sees no network and no processes but its own, and all of these end with it."""


def until(condition: Callable[[], object], otherwise: str) -> None:
    """Wait for a condition. Raises RuntimeError after a minute."""
    end = time.monotonic() + START_S
    while not condition():
        if time.monotonic() > end:
            raise RuntimeError(otherwise)
        time.sleep(0.05)


def listens(port: int) -> bool:
    """Whether a port of loopback takes connections."""
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@dataclass(frozen=True)
class Place:
    """`clones` has the repositories, `python` is the environment's in which their programs run, `folder` is for what
    is written meanwhile; `target` is softswitch, or bmv2 to see what the same tests say of simple_switch_grpc."""

    clones: Path
    python: Path
    folder: Path
    target: str = "softswitch"

    @property
    def switch(self) -> Path:
        """The switch, under the name by which others start simple_switch_grpc. Raises NotHad."""
        link = self.folder / "bin" / "simple_switch_grpc"
        command = f"{sys.executable} -m softswitch"
        if self.target == "bmv2":
            found = shutil.which("simple_switch_grpc")
            if found is None:
                raise NotHad("there is no simple_switch_grpc")
            command = found
        link.parent.mkdir(parents=True, exist_ok=True)
        link.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        link.chmod(0o755)
        return link

    @property
    def environment(self) -> dict[str, str]:
        """Variables for others' programs: softswitch comes first on the PATH, then their Python."""
        path = f"{self.switch.parent}:{self.python.parent}:{os.environ.get('PATH', '/usr/bin:/bin')}:/usr/sbin:/sbin"
        return {**os.environ, "PATH": path, "PYTHONUNBUFFERED": "1", "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "python"}

    @contextmanager
    def serving(self, *options: str) -> Iterator[str]:
        """A switch as device 1 with a CPU port and more options; yields its address."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        address = f"127.0.0.1:{port}"
        command = [
            str(self.switch),
            "--device-id",
            "1",
            *options,
            "--",
            "--grpc-server-addr",
            address,
            "--cpu-port",
            "510",
        ]
        log = self.folder / "switch.txt"
        with log.open("w") as out, subprocess.Popen(command, cwd=self.folder, stdout=out, stderr=out) as process:
            try:
                until(lambda: process.poll() is not None or listens(port), f"{' '.join(command)} does not listen")
                if process.returncode is not None:
                    raise RuntimeError(f"{' '.join(command)} does not start: {log.read_text()[-300:]}")
                yield address
            finally:
                process.terminate()

    def run(
        self,
        command: Sequence[str | Path],
        cwd: Path,
        seconds: float,
        given: str = "",
        more: Mapping[str, str] | None = None,
        alone: bool = False,
    ) -> str:
        """What a program of others prints, both streams as one, its standard input being `given`; it may fail. With
        `alone` it has a network of its own. Raises NotHad when there is no such program or it does not end."""
        # by a route, some programs ask for their own address
        network = 'ip link set lo up; ip route add default dev lo; exec "$@"'
        before = [*ALONE, "sh", "-c", network, "sh"] if alone else []
        # a file, since what a program leaves running holds a pipe open
        with (self.folder / "said.txt").open("w+", errors="replace") as said:
            try:
                subprocess.run(
                    [*before, *(str(part) for part in command)],
                    cwd=cwd,
                    env={**self.environment, **(more or {})},
                    input=given,
                    stdout=said,
                    stderr=subprocess.STDOUT,
                    text=True,
                    timeout=seconds,
                    check=False,
                )
            except FileNotFoundError as error:
                raise NotHad(f"there is no {error.filename}") from error
            except subprocess.TimeoutExpired as error:
                said.seek(0)
                name = Path(command[0]).name
                raise NotHad(f"{name} did not end within {seconds:.0f} s: {said.read()[-300:]}") from error
            said.seek(0)
            return said.read()
