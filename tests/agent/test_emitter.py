"""An emitter process against this machine's control groups and a real busy process."""

import itertools
import math
import os
import socket
import statistics
import time
from bisect import bisect
from collections import deque
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial

import pytest

from greengrass_agent.host.cgroup import Group
from greengrass_agent.measure.queue_page import Page, QueueNumbers
from hitless.wire.report import Report, decode, tag_of
from tests.agent.emitter import BUDGET, CORES, Bench, running_emitter
from tests.agent.support import cgroup_setting
from tests.patience import PATIENCE, until
from topologies.cgroups import OTHER, Hierarchy

pytestmark = pytest.mark.root("control groups need root")

INTERVAL_NS = 10_000_000
SMOOTHING_NS = 118_000_000
"""Time constant of the average in the reports."""


@pytest.fixture
def bench() -> Iterator[Bench]:
    with running_emitter() as own:
        yield own


def test_reports_come_on_schedule_and_cost_little(bench: Bench) -> None:
    page = bench.add()
    page.write(QueueNumbers(2, 1, 1, ready=True, service_time_ns=8_000_000, received=77))
    first = bench.report()
    assert (first.epoch, first.sequence, first.service_id, first.node_id) == (1, 1, 3, 11)
    before = bench.cpu_s()
    reports = bench.reports(200)
    used = bench.cpu_s() - before
    assert [report.sequence for report in reports] == list(range(2, len(reports) + 2))
    last = reports[-1]
    assert (last.queue_depth, last.in_flight, last.concurrency, last.received) == (2, 1, 1, 77)
    assert (last.service_interval, last.ready, last.draining) == (8000, True, False)
    assert last.backlog == 16000
    bench.end()
    emitted = [row["emitted_ns"] for row in bench.rows()]
    assert used < 0.2 * (emitted[-1] - emitted[0]) / 1e9, "a small part of a core"
    gaps = [later - earlier for earlier, later in itertools.pairwise(emitted)]
    # A busy machine makes some late, and leaves points of the schedule out; what drifts is at any phase.
    assert statistics.median(gaps) == pytest.approx(INTERVAL_NS, rel=0.05)
    assert len(emitted) <= (emitted[-1] - emitted[0]) / INTERVAL_NS + 2, "one at each point"
    phases = [at % INTERVAL_NS for at in emitted]
    in_time = max(sum((phase - begin) % INTERVAL_NS < 2_000_000 for phase in phases) for begin in phases)
    assert in_time > 0.5 * len(phases), "no drift"


def test_reports_carry_the_tag_of_the_key_that_is_in_force(bench: Bench) -> None:
    bench.add()
    assert (bench.report().key_id, bench.report().tag) == (0, 0)
    for key_id, secret in ((7, b"k" * 16), (8, b"n" * 16)):
        bench.send(command="tag", service="echo", key={"id": key_id, "secret": secret.hex()})
        bench.until(partial(has_key, key_id), f"a report with key {key_id}")
        payload = bench.ear.recv(100)
        report = decode(payload)
        assert (report.key_id, report.tag) == (key_id, tag_of(payload, secret))
        assert report.epoch == 1, "the same one: a new key is no restart"
    bench.send(command="tag", service="echo", key=None)
    bench.until(lambda report: report.tag == 0, "a report without a tag")


def has_key(key_id: int, report: Report) -> bool:
    return report.key_id == key_id


Row = dict[str, int]


@dataclass(frozen=True)
class Reading:
    """The kernel's account of the budget and of the instance's leaf: CPU time used so far."""

    at_ns: int
    whole_ns: int
    own_ns: int


def observed(bench: Bench, reports: int, busy: str) -> tuple[list[Row], list[Reading]]:
    """A busy process starts in a leaf: the log's rows from then on, so many or more, and a reading after each."""
    group = Hierarchy.detect().node(BUDGET)
    with closing(group.usage()) as whole, closing(group.child("leaf").usage()) as own:
        readings = [Reading(time.monotonic_ns(), whole.read_ns(), own.read_ns())]
        bench.busy(busy)
        end = time.monotonic() + PATIENCE
        while len(readings) <= reports or readings[-1].whole_ns - readings[0].whole_ns < 100_000_000:
            assert time.monotonic() < end, "it gets no CPU time"
            bench.report()
            readings.append(Reading(time.monotonic_ns(), whole.read_ns(), own.read_ns()))
    bench.until_logged(readings[-1].at_ns)
    return [row for row in bench.rows() if readings[0].at_ns < row["emitted_ns"] < readings[-1].at_ns], readings


def told(rows: list[Row], field: str) -> float:
    """The mean use over the time of these rows, in permille: what the moving average in them was made of."""
    used = 0.0
    for before, row in itertools.pairwise(rows):
        passed = row["emitted_ns"] - before["emitted_ns"]
        used += passed * (before[field] + (row[field] - before[field]) / -math.expm1(-passed / SMOOTHING_NS))
    return used / (rows[-1]["emitted_ns"] - rows[0]["emitted_ns"])


def compared(rows: list[Row], readings: list[Reading]) -> tuple[list[Row], float, float]:
    """Rows between two at which the kernel was asked at once; the use by all and by the instance between them.

    In permille of the budget, by the kernel's account. A busy machine lets the test read late, but not always.
    """

    def reading_after(row: Row) -> Reading:
        return readings[bisect(readings, row["emitted_ns"], key=lambda reading: reading.at_ns)]

    def soonest(some: list[Row]) -> Row:
        return min(some, key=lambda row: reading_after(row).at_ns - row["emitted_ns"])

    first, last = soonest(rows[: len(rows) // 3]), soonest(rows[-len(rows) // 3 :])
    begin, end = reading_after(first), reading_after(last)
    budget = (end.at_ns - begin.at_ns) * CORES / 1000
    between = [row for row in rows if first["emitted_ns"] <= row["emitted_ns"] <= last["emitted_ns"]]
    return between, (end.whole_ns - begin.whole_ns) / budget, (end.own_ns - begin.own_ns) / budget


def test_own_work_is_told_from_work_that_competes(bench: Bench) -> None:
    bench.add()
    bench.reports(5)
    rows, whole, own = compared(*observed(bench, 150, "leaf"))
    assert told(rows, "cpu") == pytest.approx(whole, abs=80)
    assert told(rows, "cpu_own") == pytest.approx(own, abs=80)
    foreign = sorted(row["cpu"] - row["cpu_own"] for row in rows)
    assert foreign[len(foreign) * 9 // 10] < 120, "the instance's own use competes with nobody"
    rows, whole, own = compared(*observed(bench, 150, OTHER))
    assert own < 0.9 * whole
    assert told(rows, "cpu") - told(rows, "cpu_own") == pytest.approx(whole - own, abs=80)
    assert all(row["cpu"] <= 1000 for row in rows)


def test_an_instance_whose_group_has_gone_ends_nothing_else(bench: Bench) -> None:
    bench.add()
    bench.report()
    other = bench.add_other()
    bench.until(lambda report: report.service_id == 4, "reports of the other one")
    other.remove()
    gone = time.monotonic_ns()
    bench.until_logged(gone)
    seen: deque[tuple[int, int]] = deque(maxlen=30)
    bench.until(
        lambda report: seen.append((report.service_id, report.epoch)) or list(seen) == [(3, 1)] * 30,
        "thirty reports, and none of the instance whose group has gone",
    )


def test_foreign_load_is_seen_at_once(bench: Bench) -> None:
    bench.add()
    bench.reports(20)
    rows, readings = observed(bench, 100, OTHER)
    # What is due in each row: the average of what the kernel had counted, as far as the test knows, when it left.
    due, average, last = [], 0.0, readings[0]
    for row in rows:
        now = readings[bisect(readings, row["emitted_ns"], key=lambda reading: reading.at_ns) - 1]
        if (passed := now.at_ns - last.at_ns) > 0:
            use = 1000 * (now.whole_ns - last.whole_ns) / (passed * CORES)
            average += (use - average) * -math.expm1(-passed / SMOOTHING_NS)
        due.append(average)
        last = now
    half = max(due) / 2
    at = next(number for number, value in enumerate(due) if value >= half)
    assert max(row["cpu"] for row in rows[: at + 5]) > 0.7 * half


@pytest.fixture
def outside() -> Iterator[Group]:
    """A group beside those of the nodes that the scheduler prefers to them."""
    top = Hierarchy.detect().top
    group = Group(top.version, {tree: path.with_name(f"{BUDGET}-outside") for tree, path in top.paths.items()})
    group.create()
    if top.version == 1:
        (group.paths["cpu"] / "cpu.shares").write_text("262144")
    else:
        (group.paths["unified"] / "cpu.weight").write_text("10000")
    yield group
    group.remove()


def test_what_competes_outside_of_the_budget_is_felt_though_the_use_of_it_falls(bench: Bench, outside: Group) -> None:
    bench.add()
    core = min(os.sched_getaffinity(0))
    for _worker in range(2):
        bench.busy("leaf", core)
    bench.until(lambda report: report.cpu_own > 900, "it uses its budget")
    # Two workers of half a core wait three quarters of the time; did that count, there would be no room for more.
    alone = statistics.median(report.contention for report in bench.reports(50))
    bench.busy_in(outside, core)
    crowded = bench.until(lambda report: report.contention > alone + 300, "contention")[-1]
    assert crowded.cpu < 900, "the use of the budget falls"


def test_a_jump_is_reported_between_two_ticks(bench: Bench) -> None:
    page = bench.add()
    bench.report()
    written = {}
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notifications:
        for depth in range(10, 70):
            bench.report()
            written[depth] = time.monotonic_ns()
            page.write(QueueNumbers(queue_depth=depth, concurrency=1, in_flight=1, ready=True))
            if depth % 2:
                notifications.sendto(b"echo", str(bench.folder / "notify.sock"))
            bench.until(lambda report, depth=depth: report.queue_depth == depth, "the depth")
            assert page.reported() == depth
        notifications.sendto(b"nobody", str(bench.folder / "notify.sock"))
    bench.reports(2)
    assert bench.emitter.poll() is None
    bench.end()
    first: dict[int, int] = {}
    for row in bench.rows():
        first.setdefault(row["queue_depth"], row["emitted_ns"])
    notified, without = (
        statistics.median(first[depth] - written[depth] for depth in range(begin, 70, 2)) for begin in (11, 10)
    )
    assert notified < 0.4 * without, "without a notification, the next tick reports it"


def test_an_instance_at_rest_is_reported_seldom_until_something_happens(bench: Bench) -> None:
    page = bench.add()
    bench.reports(5)
    resting = QueueNumbers(concurrency=2, ready=True, received=5)
    page.write(resting)
    bench.until(lambda report: report.received == 5, "the last change")
    bench.reports(10)
    at_rest = statistics.median(bench.gaps(20))
    assert at_rest == pytest.approx(5 * INTERVAL_NS, rel=0.2)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notifications:
        delays = []
        for received in range(6, 13):
            until(lambda: bench.gaps(1)[0] > 3 * INTERVAL_NS, "it rests")
            began = time.monotonic_ns()
            assert page.write(replace(resting, received=received))
            notifications.sendto(b"echo", str(bench.folder / "notify.sock"))
            bench.until(lambda report, received=received: report.received == received, "the change")
            delays.append(time.monotonic_ns() - began)
    assert statistics.median(delays) < 0.4 * at_rest
    assert statistics.median(bench.gaps(3)) < 0.4 * at_rest, "and some reports more soon, as one may get lost"


def test_each_beginning_is_a_new_epoch(bench: Bench) -> None:
    bench.add()
    assert bench.report().epoch == 1
    bench.send(command="remove", service="echo")
    bench.add(epoch=2)
    reports = bench.until(lambda report: report.epoch == 2, "a new epoch")
    assert reports[-1].sequence == 1
    bench.send(command="remove", service="echo")
    bench.ear.settimeout(0.2)
    end = time.monotonic() + PATIENCE
    silences = 0
    while silences < 3:
        assert time.monotonic() < end, "reports go on"
        try:
            bench.report()
            silences = 0
        except TimeoutError:
            silences += 1


def test_a_command_that_cannot_be_obeyed_ends_nothing(bench: Bench) -> None:
    bench.add()
    assert bench.report().service_id == 3
    bench.send(command="dance")
    bench.send(
        command="add",
        service="other",
        service_id=4,
        cgroup={"version": 1, "paths": {"cpu": "/nowhere", "cpuacct": "/nowhere"}},
        page=str(bench.folder / "page"),
        epoch=1,
        log=str(bench.folder / "other.csv"),
    )
    bench.send(command="tag", service="echo", key={"id": 7, "secret": "ab" * 16})
    reports = bench.until(partial(has_key, 7), "the command after them obeyed")
    assert {report.service_id for report in [*reports, *bench.reports(5)]} == {3}


def test_an_instance_that_cannot_be_reported_yet_is_tried_again(bench: Bench) -> None:
    page = bench.folder / "page"
    leaf = Hierarchy.detect().node(BUDGET).child("leaf")
    bench.send(
        command="add", service="echo", service_id=3, cgroup=cgroup_setting(leaf), page=str(page), epoch=4, log=None
    )
    leaf.create()
    bench.stack.enter_context(Page(page, create=True))
    assert (bench.report().epoch, bench.report().sequence) == (4, 2)
    page.unlink()
    bench.reports(5)  # it is mapped
    leaf.remove()
    bench.stack.enter_context(Page(page, create=True)).write(QueueNumbers(received=9))
    last = bench.drain()
    leaf.create()
    report = bench.until(lambda report: report.received == 9, "reports of the group that is there again")[-1]
    assert report.epoch == 4
    assert report.sequence > last, "they go on, for the agent knows of no new beginning"


def test_its_end_is_the_end_of_its_input(bench: Bench) -> None:
    bench.add()
    bench.reports(30)
    bench.end()
    assert (bench.folder / "reports.csv").read_text().startswith("epoch,sequence,emitted_ns")
    assert [row["sequence"] for row in bench.rows()] == list(range(1, len(bench.rows()) + 1))
    assert not (bench.folder / "notify.sock").exists()
