"""What a killed run leaves behind: found by the record each run keeps, ended by pid, never by name."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from hitless.files import write_atomic
from topologies import cgroups

RUNTIME = Path("/run/hitless")
PROCESSES, BUDGETS = "processes.json", "budgets.json"
"""The record's files."""


class Busy(Exception):
    """Another run has the fabric; the message says which process and what to do."""


@dataclass(frozen=True)
class ProcessId:
    """A process that cannot be confused with a later one of the same pid: its pid and its start in clock ticks."""

    pid: int
    started: int

    @classmethod
    def of(cls, pid: int) -> ProcessId | None:
        """The identity of a living process; None if there is none."""
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return None
        return None if fields[0] == "Z" else cls(pid, int(fields[19]))  # field 22 of proc(5), state is field 3

    def lives(self) -> bool:
        """Whether this very process still runs."""
        return ProcessId.of(self.pid) == self


@contextlib.contextmanager
def exclusive(runtime: Path = RUNTIME) -> Iterator[None]:
    """Hold the machine's one fabric; raises Busy if another run has it."""
    runtime.mkdir(parents=True, exist_ok=True)
    with (runtime / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise Busy(
                f"another fabric is up (process {lock.read().strip() or 'unknown'}): "
                "wait for its end, or stop it with Ctrl-C there"
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def record(pids: Iterable[int], budgets: Iterable[str], runtime: Path = RUNTIME) -> None:
    """Write down the processes of this run and the nodes that get a CPU budget, before they get it.

    So a later run can end them and take the budgets away should this one be killed.
    """
    living = [one for pid in pids if (one := ProcessId.of(pid)) is not None]
    write_atomic(runtime / BUDGETS, json.dumps(list(budgets)).encode())
    write_atomic(runtime / PROCESSES, json.dumps([[one.pid, one.started] for one in living]).encode())


def forget(runtime: Path = RUNTIME) -> None:
    """Take the record away: nothing of this run is left."""
    for name in (PROCESSES, BUDGETS):
        (runtime / name).unlink(missing_ok=True)


def clean(runtime: Path = RUNTIME) -> list[str]:
    """End what the record names and still lives, remove its CPU budgets; a line for each deed. Hold ``exclusive``.

    Budgets that the record does not name are others': a test of an agent has one too.
    """
    done = []
    path = runtime / PROCESSES
    if path.exists():
        recorded = [ProcessId(*pair) for pair in json.loads(path.read_text())]
        living = [one for one in recorded if one.lives()]
        for one in living:
            with contextlib.suppress(ProcessLookupError):
                os.kill(one.pid, signal.SIGKILL)
            done.append(f"ended process {one.pid}")
        deadline = time.monotonic() + 5
        while any(one.lives() for one in living) and time.monotonic() < deadline:
            time.sleep(0.01)
    path = runtime / BUDGETS
    if path.exists():
        hierarchy = cgroups.Hierarchy.detect()
        for node in json.loads(path.read_text()):
            if any(folder.exists() for folder in hierarchy.node(node).paths.values()):
                hierarchy.remove(node)
                done.append(f"removed the CPU budget of {node}")
    forget(runtime)
    return done
