"""Preinitialized tables: entries of the program that clients may change (specification, "Preinitialized tables").

p4c makes the same JSON of them as of const entries; BMv2 refuses every change, and then no read of the table succeeds.
"""

from __future__ import annotations

import pytest
from finsy.proto import p4r, rpc_code

from tests.softswitch.p4runtime.client import Names
from tests.softswitch.p4runtime.entities import action, delete, insert, modify, number
from tests.softswitch.p4runtime.switches import message
from tests.softswitch.p4runtime.targets import Target

SIZE = 5


@pytest.fixture
def names(softswitch: Target) -> Names:
    """`everything` as if `const_table` had `entries` in place of `const entries`, just pushed."""
    names = Names.of("everything")
    for table in names.p4info.tables:
        if table.preamble.alias == "const_table":
            table.is_const_table, table.size = False, SIZE
    softswitch.client.push(names.config())
    return names


def rows(target: Target, names: Names) -> list[p4r.Entity]:
    """The entries of the table."""
    return target.client.read(p4r.Entity(table_entry=p4r.TableEntry(table_id=names["const_table"])))


def entry(names: Names, kind: int, port: int, priority: int = 9) -> p4r.Entity:
    """An entry that takes any pad."""
    made = p4r.TableEntry(
        table_id=names["const_table"], priority=priority, action=action(names, "forward", number(port))
    )
    made.match.add(field_id=1).exact.value = number(kind)
    return p4r.Entity(table_entry=made)


def port(target: Target, pad: int) -> int:
    """Where a packet of the table leaves."""
    ((number, _),) = target.send(message(7, pad=pad))
    return number


def test_initial_entries_change_like_others(softswitch: Target, names: Names) -> None:
    first, second = rows(softswitch, names)
    assert not first.table_entry.is_const
    assert (port(softswitch, 1), port(softswitch, 2)) == (3, 4)
    first.table_entry.action.CopyFrom(action(names, "forward", number(8)))
    softswitch.client.write(modify(first))
    assert (port(softswitch, 1), port(softswitch, 2)) == (8, 4)
    softswitch.client.write(delete(first), delete(second))
    assert rows(softswitch, names) == []
    assert port(softswitch, 1) == 0
    softswitch.client.write(*(insert(entry(names, 7, 6, priority)) for priority in range(1, SIZE + 1)))
    assert port(softswitch, 1) == 6
    assert softswitch.refusal(insert(entry(names, 8, 6))) == rpc_code.RESOURCE_EXHAUSTED


@pytest.mark.parametrize("gone", [False, True])
def test_what_clients_made_of_them_survives_a_reconciliation(softswitch: Target, names: Names, gone: bool) -> None:
    first = rows(softswitch, names)[0]
    first.table_entry.action.CopyFrom(action(names, "forward", number(8)))
    softswitch.client.write(delete(first) if gone else modify(first), insert(entry(names, 9, 6)))
    before = sorted(map(str, rows(softswitch, names)))
    config = names.config()
    config.p4_device_config += b"\n"
    softswitch.client.push(config, action=p4r.SetForwardingPipelineConfigRequest.RECONCILE_AND_COMMIT)
    assert sorted(map(str, rows(softswitch, names))) == before
    assert (port(softswitch, 1), port(softswitch, 2)) == (4 if gone else 8, 4)


def test_a_push_begins_anew(softswitch: Target, names: Names) -> None:
    before = rows(softswitch, names)
    softswitch.client.write(delete(before[0]))
    softswitch.client.push(names.config())
    assert rows(softswitch, names) == before
