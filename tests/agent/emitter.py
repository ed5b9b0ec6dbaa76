"""An emitter process on this machine's control groups, the agent's end of it, and the switch's ear."""

import itertools
import json
import os
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from greengrass_agent.host.cgroup import Group
from greengrass_agent.measure.queue_page import Page, QueueNumbers
from hitless.wire.report import Report, decode
from tests.agent.support import ROOT, cgroup_setting, child
from tests.patience import PATIENCE, until
from topologies.cgroups import Hierarchy

BUDGET = f"test-emitter-{os.getpid()}"
CORES = 0.4
BUSY = "import sys\nprint(flush=True)\nsys.stdin.read(1)\nwhile True: pass"
FOREVER_NS = (1 << 64) - 1
BUSY_QUEUE = QueueNumbers(in_flight=1, concurrency=2, ready=True)
SO_RCVBUFFORCE = 33
"""socket(7); Python does not name it."""


@dataclass
class Bench:
    """An emitter, the gateway's page, and the switch's ear."""

    folder: Path
    emitter: subprocess.Popen[bytes]
    ear: socket.socket
    stack: ExitStack

    def send(self, **command: Any) -> None:
        assert self.emitter.stdin is not None
        self.emitter.stdin.write(json.dumps(command).encode() + b"\n")
        self.emitter.stdin.flush()

    def said(self) -> str:
        """What it has told people."""
        return (self.folder / "log").read_text()

    def add(self, epoch: int = 1, log: Path | None = None) -> Page:
        """Have an instance reported, which has work: a report at each point of the schedule. Its page."""
        page = self.stack.enter_context(Page(self.folder / "page", create=True))
        page.write(BUSY_QUEUE)
        page.hold(FOREVER_NS)
        leaf = Hierarchy.detect().node(BUDGET).child("leaf")
        leaf.create()
        self.send(
            command="add",
            service="echo",
            service_id=3,
            cgroup=cgroup_setting(leaf),
            page=str(self.folder / "page"),
            epoch=epoch,
            log=str(log or self.folder / "reports.csv"),
        )
        return page

    def add_other(self) -> Group:
        """Have another instance reported, which is ready and has nothing to do; its control group."""
        leaf = Hierarchy.detect().node(BUDGET).child("other-leaf")
        leaf.create()
        page = self.stack.enter_context(Page(self.folder / "other-page", create=True))
        page.write(QueueNumbers(ready=True))
        page.hold(FOREVER_NS)
        self.send(
            command="add",
            service="other",
            service_id=4,
            cgroup=cgroup_setting(leaf),
            page=str(self.folder / "other-page"),
            epoch=1,
            log=str(self.folder / "other.csv"),
        )
        return leaf

    def busy(self, leaf: str, core: int | None = None) -> None:
        """A process that uses all the CPU it can get, of one core if need be, in a leaf of the budget."""
        self.busy_in(Hierarchy.detect().node(BUDGET).child(leaf), core)

    def busy_in(self, group: Group, core: int | None = None) -> None:
        """The same in any group."""
        command, pipe = [sys.executable, "-c", BUSY], subprocess.PIPE
        process = self.stack.enter_context(child(command, stdin=pipe, stdout=pipe))
        assert process.stdin is not None and process.stdout is not None
        process.stdout.readline()
        group.add(process.pid)
        if core is not None:
            os.sched_setaffinity(process.pid, {core})
        process.stdin.write(b"g")
        process.stdin.flush()

    def report(self) -> Report:
        return decode(self.ear.recv(100))

    def reports(self, count: int) -> list[Report]:
        return [self.report() for _ in range(count)]

    def gaps(self, count: int) -> list[int]:
        """Nanoseconds between the arrivals of the next reports."""
        self.drain()
        times = [time.monotonic_ns() for _ in self.each(count + 1)]
        return [later - earlier for earlier, later in itertools.pairwise(times)]

    def each(self, count: int) -> Iterator[Report]:
        """The next reports, each when it has come."""
        for _ in range(count):
            yield self.report()

    def drain(self) -> int:
        """Read what came until now; the sequence number of the last one."""
        last = self.report()
        while select.select([self.ear], [], [], 0)[0]:
            last = self.report()
        return last.sequence

    def until(self, condition: Callable[[Report], bool], what: str) -> list[Report]:
        """The reports up to the first one that is as wanted: those that came earlier may still wait to be read."""
        end, found = time.monotonic() + PATIENCE, [self.report()]
        while not condition(found[-1]):
            assert time.monotonic() < end, what
            found.append(self.report())
        return found

    def cpu_s(self) -> float:
        """Seconds of CPU time that it has used."""
        fields = Path(f"/proc/{self.emitter.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")  # utime and stime, proc(5)

    def end(self) -> None:
        """Have it end, so that its logs are whole."""
        assert self.emitter.stdin is not None
        self.emitter.stdin.close()
        assert self.emitter.wait(PATIENCE) == 0

    def until_logged(self, time_ns: int) -> None:
        """Wait until the log has what was reported up to then: it is written ten times a second."""
        until(lambda: (rows := self.rows()) and rows[-1]["emitted_ns"] > time_ns, "the log's rows")

    def rows(self, log: Path | None = None) -> list[dict[str, int]]:
        """The rows of the log; none before it is there."""
        file = log or self.folder / "reports.csv"
        if not file.exists() or not file.stat().st_size:
            return []
        whole, _, _ = file.read_text().rpartition("\n")
        names, *rows = (line.split(",") for line in whole.splitlines())
        return [dict(zip(names, map(int, row), strict=True)) for row in rows]


@contextmanager
def running_emitter(**node: Any) -> Iterator[Bench]:
    """An emitter that reports nothing yet; `node` changes what it is told of the node."""
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="emitter-"))
        stack.callback(shutil.rmtree, folder)
        Hierarchy.detect().create(BUDGET, CORES)
        stack.callback(Hierarchy.detect().remove, BUDGET)
        ear = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        ear.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 22)  # room for a minute's reports
        ear.bind(("127.0.0.1", 0))
        ear.settimeout(PATIENCE)
        output = stack.enter_context((folder / "log").open("w"))
        stack.callback(lambda: print((folder / "log").read_text(), file=sys.stderr))
        command = [sys.executable, "-m", "greengrass_agent.emitter"]
        emitter = stack.enter_context(child(command, stdin=subprocess.PIPE, stderr=output, cwd=ROOT))
        own = Bench(folder, emitter, ear, stack)
        own.send(
            command="node",
            node="n1",
            node_id=11,
            node_address="127.0.0.1",
            cgroup=cgroup_setting(Hierarchy.detect().node(BUDGET)),
            memory_bytes=1 << 30,
            interval_ms=10,
            idle_interval_ms=50,
            reports={"address": "127.0.0.1", "port": ear.getsockname()[1]},
            broker=None,
            **{"notify_socket": str(folder / "notify.sock"), **node},
        )
        yield own
