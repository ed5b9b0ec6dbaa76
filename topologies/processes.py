"""Processes inside a network namespace, started so that they cannot outlive the one who started them."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hitless.exits import describe_exit, with_starter


class ProcessEnded(Exception):
    """A process that must run has ended by itself; says which, with the end of its log."""


def in_namespace(pid: int, command: Sequence[str]) -> list[str]:
    """The command line that runs ``command`` in the network namespace of process ``pid``.

    Only the network namespace is entered: Mininet's hosts have a mount namespace too, which hides /sys/fs/cgroup.
    """
    return ["nsenter", f"--net=/proc/{pid}/ns/net", "--", *command]


@dataclass(frozen=True)
class Process:
    """A started process: its name for messages, its handle, where its output goes and where it was started."""

    name: str
    handle: subprocess.Popen[bytes]
    log: Path
    line: Sequence[str] = ()
    """The command, for `again`."""
    cwd: Path | None = None
    nice: int = 0

    @property
    def pid(self) -> int:
        """The process id."""
        return self.handle.pid

    def check(self) -> None:
        """Raise ProcessEnded if it no longer runs."""
        end = self.end()
        if end is not None:
            raise ProcessEnded(end)

    def end(self) -> str | None:
        """How it ended, with the end of its log; None while it runs."""
        code = self.handle.poll()
        return None if code is None else f"{self.name} {describe_exit(code)}; the end of {self.log}:\n{tail(self.log)}"

    def again(self) -> Process:
        """A process started as this one was."""
        return _start(self.name, self.line, self.log, self.cwd, self.nice)

    def signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.handle.poll() is None:
            self.handle.send_signal(number)


def start(
    name: str,
    command: Sequence[str],
    log: Path,
    *,
    namespace: int | None = None,
    nice: int = 0,
    cwd: Path | None = None,
) -> Process:
    """Start a process that dies with this one; its output is appended to ``log``.

    ``namespace`` is a process whose network namespace it enters.
    """
    line = [*(["nice", "-n", str(nice)] if nice else []), *command]
    if namespace is not None:
        line = in_namespace(namespace, line)
    log.parent.mkdir(parents=True, exist_ok=True)
    return _start(name, line, log, cwd, nice)


def _start(name: str, line: Sequence[str], log: Path, cwd: Path | None, nice: int) -> Process:
    with log.open("ab") as output:
        handle = subprocess.Popen(
            with_starter(line),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd=cwd,
        )
    if nice:
        # Where the kernel groups processes by session (sched(7), autogroup), it compares the groups' nice values.
        with contextlib.suppress(OSError):
            Path(f"/proc/{handle.pid}/autogroup").write_text(str(nice))
    return Process(name, handle, log, line, cwd, nice)


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Let Ctrl-C do nothing: who presses it again while all is taken down would leave the rest of it behind."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def stop(processes: Sequence[Process], patience_s: float = 5.0) -> list[str]:
    """End processes: SIGTERM to all, SIGKILL to those that still run after ``patience_s``; returns whose."""
    for process in processes:
        process.signal(signal.SIGTERM)
    deadline = time.monotonic() + patience_s
    stubborn = []
    for process in processes:
        try:
            process.handle.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            stubborn.append(process.name)
            process.handle.kill()
            process.handle.wait()
    return stubborn


def tail(log: Path, lines: int = 12) -> str:
    """The last lines of a log, indented; a sentence if there is none."""
    try:
        text = log.read_text(errors="replace").splitlines()[-lines:]
    except FileNotFoundError:
        return "    (no log)"
    return "\n".join(f"    {line}" for line in text) or "    (empty)"
