"""From readings to report fields: shares, service times, backlog, the shared page, the schedule."""

import json
import shutil
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greengrass_agent.components.epochs import Epochs
from greengrass_agent.emitter.instance import report_of
from greengrass_agent.emitter.rest import NOTHING, Rest, Shares
from greengrass_agent.emitter.schedule import Schedule
from greengrass_agent.emitter.settings import Add
from greengrass_agent.emitter.waiting import Waiting
from greengrass_agent.measure.metrics import ServiceTime, Share, backlog_us, permille_of, service_interval_us
from greengrass_agent.measure.queue_page import Page, QueueNumbers
from hitless.saved_key import SavedKey
from hitless.steering.arithmetic import newer

MS = 1_000_000


def test_a_share_settles_at_the_use_and_is_of_the_budget() -> None:
    share = Share(budget_cores=0.5)
    for tick in range(200):
        share.add(tick * 2 * MS, tick * 10 * MS)
    assert share.permille == pytest.approx(400, abs=1)


def test_a_share_follows_a_change_within_a_quarter_of_a_second() -> None:
    share = Share(budget_cores=1.0)
    used = 0
    for tick in range(100):
        used += 8 * MS if tick >= 75 else 0
        share.add(used, tick * 10 * MS)
    assert share.permille > 700


def test_a_function_that_works_in_bursts_looks_steady() -> None:
    """15 frames a second, each 45 ms of the whole budget: 68 %, and never far from it."""
    share = Share(budget_cores=1.0)
    seen = []
    for ms in range(0, 4000, 10):
        frame, inside = divmod(ms, 66)
        share.add((frame * 45 + min(inside, 45)) * MS, ms * MS)
        seen.append(share.permille)
    settled = seen[100:]
    assert sum(settled) / len(settled) == pytest.approx(682, abs=15)
    assert max(settled) - min(settled) < 250


@given(st.lists(st.tuples(st.integers(1, 50), st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=60))
def test_shares_read_at_the_same_times_are_smoothed_alike(steps: list[tuple[int, int, int]]) -> None:
    """What is left of the whole without the own share is the smoothed use by others."""
    whole, own, others = Share(1.0), Share(1.0), Share(1.0)
    now = own_used = others_used = 0
    for passed, own_step, others_step in steps:
        now, own_used, others_used = now + passed, own_used + own_step, others_used + others_step
        own.add(own_used * MS, now * MS)
        others.add(others_used * MS, now * MS)
        whole.add((own_used + others_used) * MS, now * MS)
    assert whole.average - own.average == pytest.approx(others.average, abs=1e-9)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=30))
def test_additional_readings_do_not_change_a_share(gaps: list[int]) -> None:
    """Steady use is the same however often it is read."""
    often, seldom = Share(1.0), Share(1.0)
    now = 0
    for share in (often, seldom):
        share.add(0, 0)
    for gap in gaps:
        now += gap
        often.add(now * MS // 2, now * MS)
    seldom.add(now * MS // 2, now * MS)
    assert often.average == pytest.approx(seldom.average, rel=1e-6)


def test_backlog_is_what_must_be_done_before_new_work() -> None:
    busy = QueueNumbers(concurrency=2, in_flight=2, service_time_ns=20 * MS, oldest_start_ns=100 * MS)
    assert backlog_us(QueueNumbers(concurrency=2, in_flight=1, service_time_ns=20 * MS), 0) == 0
    assert backlog_us(busy, 105 * MS) == 15_000
    assert backlog_us(busy, 150 * MS) == 0
    waiting = QueueNumbers(3, 2, 2, service_time_ns=20 * MS, oldest_start_ns=100 * MS)
    assert backlog_us(waiting, 105 * MS) == 15_000 + 3 * 10_000
    assert service_interval_us(waiting) == 10_000
    stopped = QueueNumbers(queue_depth=2, concurrency=0, service_time_ns=20 * MS)
    assert backlog_us(stopped, 0) == 40_000


def test_permille_is_bounded() -> None:
    assert [permille_of(part, 200) for part in (-1, 0, 100, 999)] == [0, 0, 500, 1000]
    assert permille_of(1, 0) == 0


def test_an_own_share_is_never_more_than_the_whole() -> None:
    numbers = QueueNumbers(queue_depth=70000, received=(1 << 32) + 5, ready=True)
    shares = {"cpu": 400, "cpu_own": 401, "memory": 9, "contention": 7}
    report = report_of(numbers, 0, service_id=1, node_id=2, epoch=3, sequence=(1 << 32) + 4, **shares)
    assert (report.cpu, report.cpu_own, report.queue_depth) == (400, 400, 65535)
    assert (report.received, report.sequence, report.ready, report.draining) == (5, 4, True, False)
    assert len(report.encode()) == 52


def test_a_page_carries_every_number(tmp_path: Path) -> None:
    numbers = QueueNumbers(1, 2, 3, True, True, 4, 5, 1 << 40)
    with Page(tmp_path / "page", create=True) as writer, Page(tmp_path / "page") as reader:
        assert reader.read() == QueueNumbers()
        writer.write(numbers)
        assert reader.read() == numbers
        reader.report(17)
        assert writer.reported() == 17
        assert reader.read() == numbers


def test_a_page_is_never_read_half_written(tmp_path: Path) -> None:
    path = tmp_path / "page"
    with Page(path, create=True) as writer:
        stop = threading.Event()

        def write() -> None:
            count = 0
            while not stop.is_set():
                count += 1
                writer.write(QueueNumbers(count, count, count, service_time_ns=count, received=count))

        thread = threading.Thread(target=write)
        thread.start()
        try:
            with Page(path) as reader:
                for _ in range(20000):
                    read = reader.read()
                    fields = {read.queue_depth, read.in_flight, read.concurrency, read.service_time_ns, read.received}
                    assert len(fields) == 1
        finally:
            stop.set()
            thread.join()


def test_a_page_is_readable_in_the_middle_of_a_write(tmp_path: Path) -> None:
    """The emitter may run on the gateway's processor with the gateway stopped anywhere: every stop is tried."""
    path, old, new = tmp_path / "page", QueueNumbers(1, 1, 1, received=1), QueueNumbers(2, 2, 2, received=2)
    with Page(path, create=True) as writer, Page(path) as reader:
        writer.write(old)
        seen = []

        def look(_frame: object, event: str, _argument: object) -> object:
            sys.settrace(None)
            seen.append(reader.read())
            sys.settrace(look)
            return look

        sys.settrace(look)
        try:
            writer.write(new)
        finally:
            sys.settrace(None)
        assert len(seen) > 3
        assert set(seen) == {old, new}
        assert reader.read() == new


def test_the_emitter_is_woken_by_a_jump_and_by_any_change_while_it_rests(tmp_path: Path) -> None:
    busy, more = QueueNumbers(in_flight=1, received=1), QueueNumbers(in_flight=1, received=2)
    with Page(tmp_path / "page", create=True) as gateway, Page(tmp_path / "page") as emitter:
        emitter.report(3)
        assert not any(gateway.write(numbers) for numbers in (busy, QueueNumbers(6), more))
        assert gateway.write(QueueNumbers(7)), "four more wait than the last report told"
        gateway.write(busy)
        emitter.report(0, resting=True)
        assert not gateway.write(busy), "the same once more"
        assert gateway.write(more)
        emitter.report(0)
        assert not gateway.write(busy)


def test_an_instance_at_rest_is_reported_seldom_and_each_change_at_once() -> None:
    rest, resting, reported = Rest(10 * MS, 50 * MS), QueueNumbers(concurrency=1, ready=True), []
    states = {20: (replace(resting, received=1), NOTHING), 45: (replace(resting, received=1), NOTHING._replace(cpu=4))}
    state = (resting, NOTHING)
    late = 0
    for point in range(80):
        state = states.get(point, state)
        late = (late + 7) % 4
        now = 1000 * MS + point * 10 * MS + late * MS
        if rest.due(*state, now):
            rest.told(*state, now)
            reported.append(point)
    assert [(point, rest.resting) for point in reported[:6]] == [(point, True) for point in (0, 1, 2, 3, 4, 9)]
    assert reported == [
        *(0, 1, 2, 3, 4, 9, 14, 19),
        *(20, 21, 22, 23, 24, 29, 34, 39, 44),
        *(45, 46, 47, 48, 49, 54, 59, 64, 69, 74, 79),
    ]


def test_an_instance_at_work_is_reported_at_each_point() -> None:
    rest, work = Rest(10 * MS, 50 * MS), QueueNumbers(in_flight=1, concurrency=1, ready=True)
    for point in range(50):
        assert rest.due(work, Shares(500, 500, 10, 300), point * 10 * MS)
        assert not rest.resting
        rest.told(work, Shares(500, 500, 10, 300), point * 10 * MS)


def test_use_of_the_node_that_creeps_is_told() -> None:
    rest, numbers = Rest(10 * MS, 50 * MS), QueueNumbers(concurrency=1, ready=True)
    told, furthest = 0, 0
    for point in range(1000):
        cpu = point // 10
        if rest.due(numbers, NOTHING._replace(cpu=cpu), point * 10 * MS):
            rest.told(numbers, NOTHING._replace(cpu=cpu), point * 10 * MS)
            told = cpu
        furthest = max(furthest, cpu - told)
    assert furthest <= 3


def test_a_schedule_rests_and_wakes_on_its_points() -> None:
    schedule = Schedule(10, 100)
    assert schedule.due(103)
    schedule.rest(148)
    assert schedule.next_ns == 150
    schedule.rest(150)
    assert schedule.next_ns == 150
    schedule.wake(104)
    assert schedule.next_ns == 110
    schedule.rest(151)
    assert schedule.next_ns == 160
    schedule.wake(130)
    assert schedule.next_ns == 140
    schedule.wake(165)
    assert schedule.next_ns == 140, "it is late already"
    schedule.rest(3)
    assert schedule.next_ns == 140


def test_what_cannot_be_reported_is_tried_again_with_pauses() -> None:
    group = {"version": 2, "paths": {"unified": "/nowhere"}}
    added = Add.model_validate(
        {"service": "echo", "service_id": 3, "cgroup": group, "page": "/nowhere", "epoch": 1, "log": None}
    )
    waiting, tried = Waiting(), []
    assert waiting.put(added, 0, sequence=7)
    for second in range(60):
        for again, sequence in waiting.due(second * 1000 * MS):
            tried.append(second)
            assert (again, sequence) == (added, 7)
            assert not waiting.put(again, second * 1000 * MS, sequence)
    assert tried == [1, 2, 4, 8, 16, 26, 36, 46, 56]
    waiting.tag("echo", SavedKey(id=7, secret="ab" * 16))
    ((again, _),) = waiting.due(100_000 * MS)
    assert again.key is not None
    assert again.key.id == 7
    assert waiting.drop("echo")
    assert not waiting.drop("echo")
    assert waiting.due(100_000 * MS) == []


def test_a_schedule_does_not_drift_and_leaves_out_what_was_missed() -> None:
    schedule = Schedule(10, 100)
    assert not schedule.due(99)
    assert schedule.due(100)
    assert schedule.next_ns == 110
    assert schedule.due(119)
    assert schedule.next_ns == 120
    assert schedule.due(155)
    assert schedule.next_ns == 160
    assert not schedule.due(159)


def test_a_service_time_is_the_mean_at_first_and_then_follows_slowly() -> None:
    time = ServiceTime()
    for duration in (10, 30, 20):
        time.add(duration * MS)
    assert time.average_ns == pytest.approx(20 * MS)
    for step in range(200):
        time.add((0 if step % 2 else 40) * MS)
    assert time.average_ns == pytest.approx(20 * MS, rel=0.05), "what varies from one to the next is averaged out"
    for _ in range(250):
        time.add(60 * MS)
    assert time.average_ns == pytest.approx(60 * MS, rel=0.05), "a node that has become slower is seen so"


def test_epochs_count_starts_and_survive(tmp_path: Path) -> None:
    file = tmp_path / "epochs" / "echo"
    started = [Epochs(lambda _: file).next("echo") for _ in range(3)]
    assert started == [1, 2, 3]
    file.write_text(json.dumps({"format": 1, "starts": 0xFFFFFFFF}))
    assert Epochs(lambda _: file).next("echo") == 0
    assert [left.name for left in file.parent.iterdir()] == ["echo"]


def test_epochs_go_on_where_the_disk_does_not(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "epochs"
    epochs = Epochs(lambda service: folder / service, clock=lambda: 1_800_000_000.0)
    assert [epochs.next("echo") for _ in range(2)] == [1, 2]
    shutil.rmtree(folder)
    folder.write_text("no folder: nothing can be written here")
    assert [epochs.next("echo") for _ in range(2)] == [3, 4]
    assert "epoch 4 of echo is not on disk" in caplog.text
    folder.unlink()
    assert epochs.next("echo") == 5
    assert Epochs(lambda service: folder / service).next("echo") == 6, "on disk again"
    (folder / "echo").write_text("x")
    after = Epochs(lambda service: folder / service, clock=lambda: 1_800_000_000.0)
    broken = after.next("echo")
    assert newer(broken, 6)
    assert newer(broken, 10_000_000), "than any count of starts"
    assert "begins at epoch" in caplog.text
    assert after.next("echo") == broken + 1
    again = Epochs(lambda service: folder / service).next("echo")
    assert again == broken + 2, "counted from there on"
