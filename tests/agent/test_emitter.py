"""An emitter process against this machine's control groups and a real busy process."""

import itertools
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from greengrass_agent.page import Page, QueueNumbers
from hitless.report import Report, decode, tag_of
from tests.agent.support import ROOT, child
from topologies.cgroups import OTHER, Hierarchy, agent_setting

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="control groups need root")]

BUDGET = f"test-emitter-{os.getpid()}"
CORES = 0.4
BUSY = "import sys\nsys.stdin.read(1)\nwhile True: pass"


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

    def add(self) -> Page:
        """Have an instance reported; its page."""
        page = self.stack.enter_context(Page(self.folder / "page", create=True))
        leaf = Hierarchy.detect().node(BUDGET).child("leaf")
        leaf.create()
        self.send(
            command="add",
            service="echo",
            service_id=3,
            cgroup=agent_setting(leaf),
            page=str(self.folder / "page"),
            epoch_file=str(self.folder / "epoch"),
            log=str(self.folder / "reports.csv"),
        )
        return page

    def busy(self, leaf: str) -> None:
        """A process that uses all the CPU it can get, in a leaf of the budget."""
        process = self.stack.enter_context(child([sys.executable, "-c", BUSY], stdin=subprocess.PIPE))
        Hierarchy.detect().node(BUDGET).child(leaf).add(process.pid)
        assert process.stdin is not None
        process.stdin.write(b"g")
        process.stdin.flush()

    def report(self) -> Report:
        return decode(self.ear.recv(100))

    def reports(self, seconds: float) -> list[Report]:
        end, found = time.monotonic() + seconds, []
        while time.monotonic() < end:
            found.append(self.report())
        return found


@pytest.fixture
def bench() -> Iterator[Bench]:
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="emitter-", dir="/tmp"))
        stack.callback(shutil.rmtree, folder)
        Hierarchy.detect().create(BUDGET, CORES)
        stack.callback(Hierarchy.detect().remove, BUDGET)
        ear = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        ear.bind(("127.0.0.1", 0))
        ear.settimeout(5)
        emitter = stack.enter_context(
            child([sys.executable, "-m", "greengrass_agent.emitter"], stdin=subprocess.PIPE, cwd=ROOT)
        )
        own = Bench(folder, emitter, ear, stack)
        own.send(
            command="node",
            node="n1",
            node_id=11,
            node_address="127.0.0.1",
            cgroup=agent_setting(Hierarchy.detect().node(BUDGET)),
            memory_bytes=1 << 30,
            interval_ms=10,
            reports={"address": "127.0.0.1", "port": ear.getsockname()[1]},
            broker=None,
            poke_socket=str(folder / "poke.sock"),
        )
        yield own


def test_reports_come_on_schedule_and_cost_little(bench: Bench) -> None:
    page = bench.add()
    page.write(QueueNumbers(2, 1, 1, ready=True, service_time_ns=8_000_000, received=77))
    first = bench.report()
    assert (first.epoch, first.sequence, first.service_id, first.node_id) == (1, 1, 3, 11)
    before = os.times(), Path(f"/proc/{bench.emitter.pid}/stat").read_text().rpartition(")")[2].split()
    reports = bench.reports(2.0)
    after = Path(f"/proc/{bench.emitter.pid}/stat").read_text().rpartition(")")[2].split()
    ticks = sum(int(after[i]) - int(before[1][i]) for i in (11, 12))  # utime and stime, proc(5)
    assert 190 <= len(reports) <= 203
    assert [report.sequence for report in reports] == list(range(2, len(reports) + 2))
    last = reports[-1]
    assert (last.queue_depth, last.in_flight, last.concurrency, last.received) == (2, 1, 1, 77)
    assert (last.service_interval, last.ready, last.draining) == (8000, True, False)
    assert last.backlog == 16000
    assert ticks / os.sysconf("SC_CLK_TCK") < 0.3, "seconds of CPU time in two seconds"
    rows = [line.split(",") for line in (bench.folder / "reports.csv").read_text().splitlines()]
    emitted = [int(row[2]) for row in rows[1:]]
    gaps = [later - earlier for earlier, later in itertools.pairwise(emitted)]
    assert statistics.mean(gaps) == pytest.approx(10e6, rel=0.02), "no drift"


def test_reports_carry_the_tag_of_the_key_that_is_in_force(bench: Bench) -> None:
    bench.add()
    assert (bench.report().key_id, bench.report().tag) == (0, 0)
    for key_id, secret in ((7, b"k" * 16), (8, b"n" * 16)):
        bench.send(command="tag", service="echo", key={"id": key_id, "secret": secret.hex()})
        epoch = 0
        for _ in range(50):
            payload = bench.ear.recv(100)
            report = decode(payload)
            if report.key_id == key_id:
                assert report.tag == tag_of(payload, secret)
                epoch = report.epoch
                break
        assert epoch == 1, "the same one: a new key is no restart"
    bench.send(command="tag", service="echo", key=None)
    assert any(bench.report().tag == 0 for _ in range(50))


def observed(bench: Bench) -> tuple[float, float, list[Report]]:
    """Use of the budget by all and by the instance over a second, in permille as the kernel counts it; the reports."""
    group = Hierarchy.detect().node(BUDGET)
    usages = [group.usage(), group.child("leaf").usage()]
    try:
        bench.reports(0.5)
        start, before = time.monotonic_ns(), [usage.read_ns() for usage in usages]
        reports = bench.reports(1.0)
        passed = time.monotonic_ns() - start
        whole, own = (
            1000 * (usage.read_ns() - used) / (passed * CORES) for usage, used in zip(usages, before, strict=True)
        )
    finally:
        for usage in usages:
            usage.close()
    return whole, own, reports


def test_own_work_is_told_from_work_that_competes(bench: Bench) -> None:
    bench.add()
    bench.busy("leaf")
    whole, _, alone = observed(bench)
    assert statistics.mean(report.cpu for report in alone) == pytest.approx(whole, abs=80)
    assert all(report.cpu - report.cpu_own < 120 for report in alone), "the instance's own use competes with nobody"
    bench.busy(OTHER)
    whole, own, both = observed(bench)
    assert own < 0.8 * whole
    foreign = statistics.mean(report.cpu - report.cpu_own for report in both)
    assert foreign == pytest.approx(whole - own, abs=80)
    assert all(report.cpu <= 1000 for report in both)


def test_an_instance_whose_group_has_gone_ends_nothing_else(bench: Bench) -> None:
    bench.add()
    bench.reports(0.2)
    other = Hierarchy.detect().node(BUDGET).child("other-leaf")
    other.create()
    page = bench.stack.enter_context(Page(bench.folder / "other-page", create=True))
    page.write(QueueNumbers(ready=True))
    bench.send(
        command="add",
        service="other",
        service_id=4,
        cgroup=agent_setting(other),
        page=str(bench.folder / "other-page"),
        epoch_file=str(bench.folder / "other-epoch"),
        log=str(bench.folder / "other.csv"),
    )
    while bench.report().service_id != 4:
        pass
    other.remove()
    bench.reports(0.2)
    assert {(report.service_id, report.epoch) for report in bench.reports(0.3)} == {(3, 1)}


def test_foreign_load_is_seen_at_once(bench: Bench) -> None:
    bench.add()
    bench.reports(0.2)
    bench.busy(OTHER)
    start = time.monotonic()
    while bench.report().cpu < 400:
        assert time.monotonic() - start < 1.0
    assert time.monotonic() - start < 0.5


def test_a_jump_is_reported_between_two_ticks(bench: Bench) -> None:
    page = bench.add()
    bench.reports(0.2)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as poke:
        waits = []
        for depth in range(10, 40):
            bench.report()
            page.write(QueueNumbers(queue_depth=depth, concurrency=1, in_flight=1, ready=True))
            start = time.monotonic()
            poke.sendto(b"echo", str(bench.folder / "poke.sock"))
            while bench.report().queue_depth != depth:
                pass
            waits.append(time.monotonic() - start)
            assert page.reported() == depth
        poke.sendto(b"nobody", str(bench.folder / "poke.sock"))
    assert statistics.median(waits) < 0.004
    assert bench.emitter.poll() is None


def test_each_beginning_is_a_new_epoch(bench: Bench) -> None:
    bench.add()
    assert bench.report().epoch == 1
    bench.send(command="remove", service="echo")
    bench.add()
    seen = {(report.epoch, report.sequence) for report in bench.reports(0.3)}
    assert (2, 1) in seen
    bench.send(command="remove", service="echo")
    time.sleep(0.1)
    bench.ear.settimeout(0.2)
    with pytest.raises(TimeoutError):
        bench.reports(1.0)


def test_a_command_that_cannot_be_obeyed_ends_nothing(bench: Bench) -> None:
    bench.add()
    bench.send(command="dance")
    bench.send(
        command="add",
        service="other",
        service_id=4,
        cgroup={"version": 1, "paths": {"cpu": "/nowhere", "cpuacct": "/nowhere"}},
        page=str(bench.folder / "page"),
        epoch_file=str(bench.folder / "epoch"),
        log=str(bench.folder / "other.csv"),
    )
    assert {report.service_id for report in bench.reports(0.3)} == {3}


def test_its_end_is_the_end_of_its_input(bench: Bench) -> None:
    bench.add()
    bench.reports(0.3)
    assert bench.emitter.stdin is not None
    bench.emitter.stdin.close()
    assert bench.emitter.wait(5) == 0
    rows = (bench.folder / "reports.csv").read_text().splitlines()
    assert rows[0].startswith("epoch,sequence,emitted_ns")
    assert int(rows[-1].split(",")[1]) == len(rows) - 1
    assert not (bench.folder / "poke.sock").exists()
