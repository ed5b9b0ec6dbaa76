"""Network namespaces and the programs in them, which end with this process."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from hitless.exits import with_starter
from topologies import processes
from topologies.network import OFFLOADS
from topologies.processes import Process

PATIENCE_S = 20.0


@dataclass
class Namespaces:
    """Namespaces by name, and the programs in them, whose logs are written to `folder`; a context manager.

    What a subclass's `lay` makes is there while the context is.
    """

    folder: Path
    _processes: list[Process] = field(default_factory=list, kw_only=True)
    _namespaces: dict[str, int] = field(default_factory=dict, kw_only=True)

    def __enter__(self) -> Self:
        try:
            self.lay()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        processes.stop(list(reversed(self._processes)))
        self._processes.clear()

    def lay(self) -> None:
        """Make the namespaces and what is in them. Raises RuntimeError for a command that fails."""

    def make(self, name: str) -> None:
        """Make a namespace, without IPv6."""
        said, line = os.pipe()
        with os.fdopen(said, "rb") as inside:
            try:
                holder = self._start(
                    name, ["unshare", "--net", "sh", "-c", "echo && exec sleep infinity >&2"], stdout=line
                )
            finally:
                os.close(line)
            if not inside.readline():
                holder.handle.wait(PATIENCE_S)
                holder.check()
        for setting in ("all", "default"):
            run(*processes.in_namespace(holder.pid, ["sysctl", "-qw", f"net.ipv6.conf.{setting}.disable_ipv6=1"]))
        self._namespaces[name] = holder.pid

    def join(self, near: tuple[str, str], far: tuple[str, str], *, offloads: bool = False) -> None:
        """Lay a wire between two interfaces that it makes, each a namespace and a name."""
        pids = [str(self._namespaces[place]) for place, _ in (near, far)]
        words = ["ip", "link", "add", near[1], "netns", pids[0]]
        run(*words, "type", "veth", "peer", "name", far[1], "netns", pids[1])
        for place, end in (near, far):
            if not offloads:
                self.run(["ethtool", "-K", end, *(word for name in OFFLOADS for word in (name, "off"))], place)
            self.run(["ip", "link", "set", end, "up"], place)

    def _start(self, name: str, command: Sequence[str], place: str | None = None, stdout: int | None = None) -> Process:
        line = command if place is None else processes.in_namespace(self._namespaces[place], command)
        log = self.folder / f"{name}.log"
        with log.open("ab") as output:
            handle = subprocess.Popen(
                with_starter(line),
                stdin=subprocess.DEVNULL,
                stdout=output if stdout is None else stdout,
                stderr=output,
                start_new_session=True,
            )
        self._processes.append(Process(name, handle, log))
        return self._processes[-1]

    def start(self, name: str, command: Sequence[str], place: str) -> Process:
        """Start a program in a namespace; it ends with the namespaces at the latest."""
        return self._start(name, command, place)

    def stop(self, process: Process) -> None:
        """End a program that `start` started."""
        processes.stop([process])
        self._processes.remove(process)

    def namespace(self, place: str) -> Path:
        """The file of a network namespace, for setns(2)."""
        return Path(f"/proc/{self._namespaces[place]}/ns/net")

    def run(self, command: Sequence[str], place: str) -> str:
        """Run a program in a namespace to its end; what it printed. Raises RuntimeError if it fails."""
        return run(*processes.in_namespace(self._namespaces[place], command))


def run(*command: str) -> str:
    """Run a command to its end; what it printed. Raises RuntimeError with what it said if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {(done.stderr or done.stdout).strip()}")
    return done.stdout
