"""What both targets do of what the specification says of tables: capacity, scopes, constants, defaults, counters."""

from __future__ import annotations

import pytest
from finsy.proto import p4r, rpc_code

from tests.softswitch.p4runtime.client import Names
from tests.softswitch.p4runtime.entities import action, default_entry, delete, exact_entry, insert, modify, number
from tests.softswitch.p4runtime.switches import message
from tests.softswitch.p4runtime.targets import Target


@pytest.fixture
def names(target: Target) -> Names:
    """The program `everything`, just pushed."""
    return target.push("everything")


def port(target: Target, kind: int = 0, tag: int = 0, pad: int = 0) -> int:
    """Where a packet leaves."""
    ((number, _),) = target.send(message(kind, tag=tag, pad=pad))
    return number


def rows(target: Target, names: Names, table: str) -> list[p4r.TableEntry]:
    """The entries of a table."""
    read = target.client.read(p4r.Entity(table_entry=p4r.TableEntry(table_id=names[table])))
    return [entity.table_entry for entity in read]


def test_a_full_table_takes_no_more(target: Target, names: Names) -> None:
    """BMv2 refuses it too, as UNKNOWN."""
    target.client.write(*(insert(exact_entry(names, tag, port=3)) for tag in range(4)))
    full = rpc_code.RESOURCE_EXHAUSTED if target.name == "softswitch" else rpc_code.UNKNOWN
    assert target.refusal(insert(exact_entry(names, 4, port=3))) == full
    assert target.refusal(modify(exact_entry(names, 3, port=4))) == 0
    target.client.write(delete(exact_entry(names, 0, port=3)))
    assert target.refusal(insert(exact_entry(names, 4, port=5))) == 0
    assert port(target, tag=4) == 5
    assert len(rows(target, names, "exact_table")) == 4


def test_actions_keep_to_their_scope(target: Target, names: Names) -> None:
    entry = exact_entry(names, 1, port=3)
    entry.table_entry.action.CopyFrom(action(names, "NoAction"))
    assert target.refusal(insert(entry)) == rpc_code.PERMISSION_DENIED
    assert target.refusal(modify(default_entry(names, "exact_table", "drop"))) == rpc_code.PERMISSION_DENIED


def test_constant_tables_and_defaults_stay(target: Target, names: Names) -> None:
    """BMv2 does not tell that an entry is constant, and has various codes for refusing to change it."""
    constant = {rpc_code.PERMISSION_DENIED}
    if target.name == "bmv2":
        constant |= {rpc_code.UNKNOWN, rpc_code.NOT_FOUND}
    entries = rows(target, names, "const_table")
    assert [len(entry.match) for entry in entries] == [2, 1]
    assert [entry.is_const for entry in entries] == [target.name == "softswitch"] * 2
    first, second = (entry.priority for entry in entries)
    assert first > second > 0
    assert [port(target, kind=7, pad=pad) for pad in (1, 2)] == [3, 4]
    for update in (insert, modify, delete):
        changed = p4r.TableEntry()
        changed.CopyFrom(entries[0])
        changed.is_const = False
        assert target.refusal(update(p4r.Entity(table_entry=changed))) in constant
    assert target.refusal(modify(default_entry(names, "lpm_table", "drop"))) in constant


def test_a_default_entry_is_reset(target: Target, names: Names) -> None:
    assert port(target, kind=3) == 5
    target.client.write(modify(default_entry(names, "keyless_table", "forward", number(8))))
    assert port(target, kind=3) == 8
    (read,) = target.client.read(default_entry(names, "keyless_table"))
    assert read.table_entry.action == action(names, "forward", number(8))
    target.client.write(modify(default_entry(names, "keyless_table")))
    assert port(target, kind=3) == 5
    for update in (insert, delete):
        assert target.refusal(update(default_entry(names, "keyless_table", "NoAction"))) == rpc_code.INVALID_ARGUMENT


def test_an_entry_brings_its_counter(target: Target, names: Names) -> None:
    entry = exact_entry(names, 1, port=3)
    entry.table_entry.counter_data.packet_count, entry.table_entry.counter_data.byte_count = 100, 1000
    target.client.write(insert(entry))
    port(target, tag=1)

    def counted() -> tuple[int, int]:
        wanted = p4r.TableEntry(table_id=names["exact_table"])
        wanted.counter_data.SetInParent()
        (read,) = target.client.read(p4r.Entity(table_entry=wanted))
        return read.table_entry.counter_data.packet_count, read.table_entry.counter_data.byte_count

    assert counted() == (101, 1006)
    target.client.write(modify(exact_entry(names, 1, port=4)))
    assert counted() == (101, 1006), "a change that does not name the counter leaves it"
    entry.table_entry.counter_data.packet_count = 7
    target.client.write(modify(entry))
    assert counted() == (7, 1000)
