"""Idle timeouts (specification, "Idle-timeout"): the model with a clock of its own, then each target in real time."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest
from finsy.proto import p4r, rpc_code
from softswitch.p4runtime.idle import MIN_TIMEOUT_NS, EntryId, IdleTimers

from tests.softswitch.p4runtime.client import Names
from tests.softswitch.p4runtime.entities import action, delete, insert, modify, number
from tests.softswitch.p4runtime.targets import Target

SECOND = 10**9
SLACK = SECOND // 100
"""BMv2 looks at a clock of another resolution, and of milliseconds."""
ONE: EntryId = ((), 1)
TWO: EntryId = ((), 2)


class Clocked:
    """Timers of one table, and when each entry was hit last."""

    def __init__(self) -> None:
        self.timers = IdleTimers()
        self.hit: dict[EntryId, int] = {}
        self.reported: list[tuple[int, EntryId]] = []

    def run(self, end: int) -> None:
        """Serve every deadline up to `end`."""
        while (now := self.timers.deadline()) is not None and now <= end:
            due = self.timers.due(now)
            over = self.timers.settle({timer: now - self.hit[timer.entry] for timer in due}, now)
            self.reported += ((now, timer.entry) for timer in over)


def test_an_entry_that_is_never_hit_is_reported_once_a_timeout() -> None:
    clocked = Clocked()
    clocked.hit[ONE] = 0
    clocked.timers.set(1, ONE, SECOND, 0)
    clocked.run(3 * SECOND)
    assert clocked.reported == [(SECOND, ONE), (2 * SECOND, ONE), (3 * SECOND, ONE)]


def test_a_hit_gives_a_whole_timeout() -> None:
    clocked = Clocked()
    clocked.hit[ONE] = 0
    clocked.timers.set(1, ONE, SECOND, 0)
    clocked.hit[ONE] = 700_000_000
    clocked.run(2 * SECOND)
    assert clocked.reported == [(1_700_000_000, ONE)]


def test_a_write_that_keeps_the_timeout_keeps_the_timer() -> None:
    clocked = Clocked()
    clocked.hit |= {ONE: 0, TWO: 0}
    clocked.timers.set(1, ONE, SECOND, 0)
    clocked.timers.set(1, TWO, SECOND, 0)
    clocked.timers.set(1, ONE, SECOND, SECOND // 2)
    clocked.timers.set(1, TWO, SECOND // 4, SECOND // 2)
    clocked.run(SECOND)
    assert clocked.reported == [(SECOND // 2, TWO), (SECOND * 3 // 4, TWO), (SECOND, ONE), (SECOND, TWO)]


def test_a_report_counts_when_the_timeout_changes() -> None:
    clocked = Clocked()
    clocked.hit[ONE] = 0
    clocked.timers.set(1, ONE, 10 * SECOND, 0)
    clocked.run(10 * SECOND)
    clocked.timers.set(1, ONE, 6 * SECOND, 12 * SECOND)
    clocked.run(20 * SECOND)
    assert clocked.reported == [(10 * SECOND, ONE), (16 * SECOND, ONE)]


def test_entries_that_go_are_not_reported() -> None:
    clocked = Clocked()
    clocked.timers.set(1, ONE, SECOND, 0)
    clocked.timers.set(1, TWO, 2 * SECOND, 0)
    clocked.timers.set(1, ONE, 0, 0)
    assert clocked.timers.deadline() == 2 * SECOND
    clocked.timers.set(1, TWO, 0, 0)
    assert clocked.timers.deadline() is None
    assert clocked.timers.due(9 * SECOND) == []


def test_a_tiny_timeout_does_not_spin() -> None:
    clocked = Clocked()
    clocked.hit[ONE] = 0
    clocked.timers.set(1, ONE, 1, 0)
    clocked.run(3 * MIN_TIMEOUT_NS)
    assert [now for now, _ in clocked.reported] == [MIN_TIMEOUT_NS, 2 * MIN_TIMEOUT_NS, 3 * MIN_TIMEOUT_NS]


def entry(names: Names, key: int, timeout_ns: int = 0, cookie: int = 0, metadata: bytes = b"") -> p4r.Entity:
    """An entry of `ageing`."""
    made = p4r.TableEntry(
        table_id=names["ageing"],
        priority=5,
        action=action(names, "answer", number(9)),
        idle_timeout_ns=timeout_ns,
        controller_metadata=cookie,
        metadata=metadata,
    )
    ternary = made.match.add(field_id=1).ternary
    ternary.value, ternary.mask = number(key), b"\xff"
    return p4r.Entity(table_entry=made)


def reported(message: p4r.StreamMessageResponse) -> list[p4r.TableEntry]:
    """The entries of a notification."""
    assert message.WhichOneof("update") == "idle_timeout_notification", message
    notification = message.idle_timeout_notification
    assert notification.timestamp > 0
    return list(notification.table_entry)


def test_the_primary_hears_of_idle_entries(target: Target) -> None:
    """BMv2 looks once a second; it leaves the metadata out."""
    names = target.push("metered")
    target.client.write(insert(entry(names, 1, SECOND // 10, cookie=77)), insert(entry(names, 2)))
    (got,) = reported(target.stream.receive())
    wanted = entry(names, 1, SECOND // 10, cookie=77).table_entry
    wanted.ClearField("action")
    got.ClearField("action")
    assert got == wanted
    target.client.write(delete(entry(names, 1)), delete(entry(names, 2)))


def test_timeouts_read_as_written(target: Target) -> None:
    """BMv2 computes with 32 bits: its elapsed time is wrong with timeouts above four seconds."""
    names = target.push("metered")
    written = entry(names, 1, 2 * SECOND)
    before = time.monotonic_ns()
    target.client.write(insert(written))
    inserted = time.monotonic_ns()
    wanted = p4r.Entity(table_entry=p4r.TableEntry(table_id=names["ageing"]))
    assert target.client.read(wanted) == [written]
    time.sleep(0.05)
    wanted.table_entry.time_since_last_hit.SetInParent()
    asked = time.monotonic_ns()
    (read,) = target.client.read(wanted)
    elapsed = read.table_entry.time_since_last_hit.elapsed_ns
    assert asked - inserted - SLACK < elapsed < time.monotonic_ns() - before + SLACK
    sent = time.monotonic_ns()
    target.send(bytes([4, 1]))
    (read,) = target.client.read(wanted)
    assert read.table_entry.time_since_last_hit.elapsed_ns < time.monotonic_ns() - sent + SLACK
    changed = entry(names, 1, 4 * SECOND)
    target.client.write(modify(changed))
    wanted.table_entry.ClearField("time_since_last_hit")
    assert target.client.read(wanted) == [changed]


def test_hits_put_the_report_off(softswitch: Target) -> None:
    names = softswitch.push("metered")
    begin = time.monotonic()
    softswitch.client.write(insert(entry(names, 1, 6 * SECOND // 10, metadata=b"mine")))
    hits = [begin]
    while time.monotonic() < begin + 0.8:
        hits.append(time.monotonic())
        softswitch.send(bytes([4, 1]))
        time.sleep(0.02)
    (got,) = reported(softswitch.stream.receive())
    # On a busy machine this test itself may have paused so long.
    assert max(later - hit for hit, later in pairwise([*hits, time.monotonic()])) >= 0.6
    assert got.metadata == b"mine"
    (again,) = reported(softswitch.stream.receive())
    assert again == got


def test_a_shorter_timeout_counts_at_once(softswitch: Target) -> None:
    names = softswitch.push("metered")
    softswitch.client.write(insert(entry(names, 1, 3600 * SECOND)))
    time.sleep(0.1)
    softswitch.client.write(modify(entry(names, 1, SECOND // 20)))
    (got,) = reported(softswitch.stream.receive())
    assert got.idle_timeout_ns == SECOND // 20


def test_timeouts_survive_a_reconciliation(softswitch: Target) -> None:
    names = softswitch.push("metered")
    softswitch.client.write(insert(entry(names, 1, 3600 * SECOND)), insert(entry(names, 2, SECOND // 5)))
    config = names.config()
    config.p4_device_config += b"\n"
    softswitch.client.push(config, action=p4r.SetForwardingPipelineConfigRequest.RECONCILE_AND_COMMIT)
    (got,) = reported(softswitch.stream.receive())
    assert got.idle_timeout_ns == SECOND // 5


@pytest.mark.parametrize("table", ["metered", "ageing"])
def test_where_there_is_no_idle_timeout(softswitch: Target, table: str) -> None:
    """A table without it, and default entries."""
    names = softswitch.push("metered")
    default = table == "ageing"
    made = p4r.TableEntry(table_id=names[table], is_default_action=default, idle_timeout_ns=1)
    made.action.CopyFrom(action(names, "answer" if default else "mark", number(1)))
    if not default:
        made.match.add(field_id=1).exact.value = b"\1"
    update = modify if default else insert
    assert softswitch.refusal(update(p4r.Entity(table_entry=made))) == rpc_code.INVALID_ARGUMENT
    read = p4r.TableEntry(table_id=names[table], is_default_action=default)
    read.time_since_last_hit.SetInParent()
    with pytest.raises(Exception, match="no idle timeout"):
        softswitch.client.read(p4r.Entity(table_entry=read))
    negative = entry(names, 1, -1)
    assert softswitch.refusal(insert(negative)) == rpc_code.INVALID_ARGUMENT
