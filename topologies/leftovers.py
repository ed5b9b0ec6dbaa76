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

from topologies import cgroups

RUNTIME = Path("/run/hitless")


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


def record(pids: Iterable[int], runtime: Path = RUNTIME) -> None:
    """Write down the processes of this run, so that a later one can end them should this one be killed."""
    living = [one for pid in pids if (one := ProcessId.of(pid)) is not None]
    temporary = runtime / "processes.json.new"
    temporary.write_text(json.dumps([[one.pid, one.started] for one in living]))
    temporary.replace(runtime / "processes.json")


def clean(runtime: Path = RUNTIME) -> list[str]:
    """End what the record names and still lives, remove CPU budgets; a line for each deed. Hold ``exclusive``."""
    done = []
    path = runtime / "processes.json"
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
        path.unlink()
    hierarchy = cgroups.Hierarchy.detect()
    for node in hierarchy.nodes():
        hierarchy.remove(node)
        done.append(f"removed the CPU budget of {node}")
    return done
