"""Table entries: what the specification's section "TableEntry" accepts, refuses and gives back."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from finsy.proto import p4r, rpc_code

from tests.softswitch.p4runtime.client import BatchError, Client, Names
from tests.softswitch.p4runtime.entities import (
    action,
    default_entry,
    delete,
    exact_entry,
    insert,
    lpm_entry,
    modify,
    ternary_entry,
)
from tests.softswitch.p4runtime.switches import RunningSwitch, message

pytestmark = pytest.mark.usefixtures("primary")


def codes(client: Client, *updates: p4r.Update, atomicity: int = p4r.WriteRequest.CONTINUE_ON_ERROR) -> list[int]:
    """The canonical code of each update's failure."""
    with pytest.raises(BatchError) as caught:
        client.write(*updates, atomicity=atomicity)
    return caught.value.codes


def entries(client: Client, **filters: object) -> list[p4r.Entity]:
    return client.read(p4r.Entity(table_entry=p4r.TableEntry(**filters)))


def test_entries_of_every_kind_come_back_as_written(client: Client, names: Names) -> None:
    written = [
        exact_entry(names, 0x1234, port=3),
        lpm_entry(names, 0xAB00, 8, port=4),
        lpm_entry(names, 0, 0, port=5),
        ternary_entry(names, 10, port=6, kind=0, tag=(0x0100, 0xFF00), value=(1, 500), pad=7),
        ternary_entry(names, 11, port=7, kind=255),
    ]
    written[0].table_entry.metadata = b"cookie"
    written[1].table_entry.controller_metadata = 7
    client.write(*map(insert, written))
    found = entries(client)
    constant = [entity for entity in found if entity.table_entry.is_const]
    assert [entity for entity in found if not entity.table_entry.is_const] == written
    assert len(constant) == 2


def test_any_length_of_byte_string_is_read_and_the_shortest_written(client: Client, names: Names) -> None:
    long = exact_entry(names, 1, port=3)
    long.table_entry.match[0].exact.value = b"\0\0\0\x01"
    long.table_entry.action.action.params[0].value = b"\0\0\x03"
    client.write(insert(long))
    assert entries(client, table_id=names["exact_table"]) == [exact_entry(names, 1, port=3)]
    assert codes(client, insert(exact_entry(names, 1, port=4))) == [rpc_code.ALREADY_EXISTS]


def test_entries_forward(client: Client, names: Names, switch: RunningSwitch) -> None:
    client.write(
        insert(exact_entry(names, 1, port=3)),
        insert(lpm_entry(names, 0xAB00, 8, port=4)),
        insert(lpm_entry(names, 0xABC0, 12, port=5)),
        insert(ternary_entry(names, 10, port=6, tag=(0x0100, 0xFF00), value=(1, 500))),
        insert(ternary_entry(names, 20, port=7, tag=(0x0100, 0xFF00), pad=9)),
    )

    def leaves(**packet: int) -> list[int]:
        return [port for port, _ in switch.engine.process(1, message(0, **packet))]

    assert leaves(tag=1) == [3]
    assert leaves(tag=0xAB12) == [4]
    assert leaves(tag=0xABC1) == [5]
    assert leaves(tag=0x0105, value=500) == [6]
    assert leaves(tag=0x0105, value=501) == [0]
    assert leaves(tag=0x0105, value=500, pad=9) == [7]
    client.write(modify(exact_entry(names, 1, port=8)))
    assert leaves(tag=1) == [8]
    client.write(delete(exact_entry(names, 1, port=99)))
    assert leaves(tag=1) == [0]


def test_modify_and_delete_want_an_entry_and_insert_wants_none(client: Client, names: Names) -> None:
    entry = exact_entry(names, 1, port=3)
    assert codes(client, modify(entry), delete(entry)) == [rpc_code.NOT_FOUND, rpc_code.NOT_FOUND]
    client.write(insert(entry))
    assert codes(client, insert(entry)) == [rpc_code.ALREADY_EXISTS]


def test_delete_looks_at_the_key_only(client: Client, names: Names) -> None:
    client.write(insert(exact_entry(names, 1, port=3)))
    nonsense = exact_entry(names, 1, port=3)
    nonsense.table_entry.action.action.action_id = 0xFFFF
    client.write(delete(nonsense))
    assert entries(client, table_id=names["exact_table"]) == []


def test_modify_without_action_keeps_the_action(client: Client, names: Names) -> None:
    client.write(insert(exact_entry(names, 1, port=3)))
    bare = exact_entry(names, 1, port=3)
    bare.table_entry.ClearField("action")
    bare.table_entry.metadata = b"note"
    client.write(modify(bare))
    expected = exact_entry(names, 1, port=3)
    expected.table_entry.metadata = b"note"
    assert entries(client, table_id=names["exact_table"]) == [expected]


Spoil = Callable[[p4r.TableEntry, Names], None]


def _set(path: str, value: object) -> Spoil:
    def spoil(entry: p4r.TableEntry, names: Names) -> None:
        *parents, last = path.split(".")
        target: object = entry
        for parent in parents:
            target = target[int(parent)] if parent.isdecimal() else getattr(target, parent)  # type: ignore[index]
        setattr(target, last, value)

    return spoil


def _clear(field: str) -> Spoil:
    return lambda entry, names: entry.ClearField(field)


EXACT_SPOILS: dict[str, tuple[Spoil, int]] = {
    "unknown table": (_set("table_id", 7), rpc_code.INVALID_ARGUMENT),
    "unknown match field": (_set("match.0.field_id", 9), rpc_code.INVALID_ARGUMENT),
    "match too wide": (_set("match.0.exact.value", b"\x01\0\0"), rpc_code.INVALID_ARGUMENT),
    "empty match": (_set("match.0.exact.value", b""), rpc_code.INVALID_ARGUMENT),
    "match of another kind": (_set("match.0.ternary.value", b"\x01"), rpc_code.INVALID_ARGUMENT),
    "exact field missing": (_clear("match"), rpc_code.INVALID_ARGUMENT),
    "match given twice": (lambda e, _: e.match.append(e.match[0]), rpc_code.INVALID_ARGUMENT),
    "no action": (_clear("action"), rpc_code.INVALID_ARGUMENT),
    "member instead of action": (_set("action.action_profile_member_id", 1), rpc_code.INVALID_ARGUMENT),
    "unknown action": (_set("action.action.action_id", 7), rpc_code.INVALID_ARGUMENT),
    "another table's action": (
        lambda e, n: e.action.CopyFrom(action(n, "forward")),
        rpc_code.INVALID_ARGUMENT,
    ),
    "default-only action": (lambda e, n: e.action.CopyFrom(action(n, "NoAction")), rpc_code.PERMISSION_DENIED),
    "unknown parameter": (_set("action.action.params.0.param_id", 2), rpc_code.INVALID_ARGUMENT),
    "parameter too wide": (_set("action.action.params.0.value", b"\x02\0"), rpc_code.INVALID_ARGUMENT),
    "priority where there is none": (_set("priority", 1), rpc_code.INVALID_ARGUMENT),
    "is_const": (_set("is_const", True), rpc_code.INVALID_ARGUMENT),
    "idle timeout where there is none": (_set("idle_timeout_ns", 1), rpc_code.INVALID_ARGUMENT),
    "time since last hit": (lambda e, _: e.time_since_last_hit.SetInParent(), rpc_code.INVALID_ARGUMENT),
    "meter where there is none": (lambda e, _: e.meter_config.SetInParent(), rpc_code.INVALID_ARGUMENT),
}


@pytest.mark.parametrize("what", EXACT_SPOILS)
def test_malformed_exact_entries_are_refused(client: Client, names: Names, what: str) -> None:
    spoil, code = EXACT_SPOILS[what]
    entity = exact_entry(names, 1, port=3)
    spoil(entity.table_entry, names)
    assert codes(client, insert(entity)) == [code]
    assert entries(client, table_id=names["exact_table"]) == []


TERNARY_SPOILS: dict[str, Spoil] = {
    "no priority": _set("priority", 0),
    "negative priority": _set("priority", -1),
    "don't-care ternary": _set("match.1.ternary.mask", b"\0"),
    "value outside mask": _set("match.1.ternary.mask", b"\x01"),
    "empty range": _set("match.2.range.low", b"\xff"),
    "whole range": lambda e, _: e.match[2].range.MergeFrom(p4r.FieldMatch.Range(low=b"\0", high=b"\xff\xff")),
    "empty optional": _set("match.3.optional.value", b""),
}


@pytest.mark.parametrize("what", TERNARY_SPOILS)
def test_malformed_ternary_entries_are_refused(client: Client, names: Names, what: str) -> None:
    entity = ternary_entry(names, 5, port=3, tag=(0x0100, 0xFF00), value=(1, 9), pad=7)
    TERNARY_SPOILS[what](entity.table_entry, names)
    assert codes(client, insert(entity)) == [rpc_code.INVALID_ARGUMENT]


@pytest.mark.parametrize(("prefix", "length"), [(0xAB01, 8), (0xAB00, 17), (0, -1)])
def test_malformed_prefixes_are_refused(client: Client, names: Names, prefix: int, length: int) -> None:
    assert codes(client, insert(lpm_entry(names, prefix, length, port=3))) == [rpc_code.INVALID_ARGUMENT]


def test_explicit_dont_care_prefix_is_refused(client: Client, names: Names) -> None:
    entity = lpm_entry(names, 0, 8, port=3)
    entity.table_entry.match[0].lpm.prefix_len = 0
    assert codes(client, insert(entity)) == [rpc_code.INVALID_ARGUMENT]


def test_priority_is_part_of_the_key(client: Client, names: Names) -> None:
    low, high = (ternary_entry(names, priority, port=3, tag=(1, 1)) for priority in (1, 2))
    client.write(insert(low), insert(high))
    client.write(delete(low))
    assert entries(client, table_id=names["ternary_table"]) == [high]


def test_full_table(client: Client, names: Names) -> None:
    client.write(*(insert(exact_entry(names, tag, port=3)) for tag in range(4)))
    assert codes(client, insert(exact_entry(names, 4, port=3))) == [rpc_code.RESOURCE_EXHAUSTED]
    client.write(delete(exact_entry(names, 0, port=3)), insert(exact_entry(names, 4, port=3)))


def test_default_entry(client: Client, names: Names, switch: RunningSwitch) -> None:
    def leaves() -> list[int]:
        return [port for port, _ in switch.engine.process(1, message(3))]

    original = default_entry(names, "keyless_table", "forward", b"\x05")
    assert entries(client, table_id=names["keyless_table"], is_default_action=True) == [original]
    assert leaves() == [5]
    other = default_entry(names, "keyless_table", "forward", b"\x06")
    client.write(modify(other))
    assert entries(client, table_id=names["keyless_table"], is_default_action=True) == [other]
    assert leaves() == [6]
    client.write(modify(default_entry(names, "keyless_table")))
    assert entries(client, table_id=names["keyless_table"], is_default_action=True) == [original]
    assert leaves() == [5]


def test_default_entry_refusals(client: Client, names: Names) -> None:
    entry = default_entry(names, "keyless_table", "forward", b"\x06")
    assert codes(client, insert(entry), delete(entry)) == [rpc_code.INVALID_ARGUMENT] * 2
    with_match = default_entry(names, "exact_table", "forward", b"\x06")
    with_match.table_entry.match.add(field_id=1).exact.value = b"\x01"
    with_priority = default_entry(names, "exact_table", "forward", b"\x06")
    with_priority.table_entry.priority = 1
    assert codes(client, modify(with_match), modify(with_priority)) == [rpc_code.INVALID_ARGUMENT] * 2
    table_only = default_entry(names, "exact_table", "drop")
    constant = default_entry(names, "lpm_table", "forward", b"\x06")
    assert codes(client, modify(table_only), modify(constant)) == [rpc_code.PERMISSION_DENIED] * 2


def test_keyless_table_takes_no_entries(client: Client, names: Names) -> None:
    entity = default_entry(names, "keyless_table", "forward", b"\x06")
    entity.table_entry.is_default_action = False
    assert codes(client, insert(entity)) == [rpc_code.INVALID_ARGUMENT]


def test_constant_table(client: Client, names: Names, switch: RunningSwitch) -> None:
    first, second = entries(client, table_id=names["const_table"])
    assert first.table_entry.is_const
    assert first.table_entry.priority > second.table_entry.priority > 0
    assert [p for p, _ in switch.engine.process(1, message(7, pad=1))] == [3]
    assert [p for p, _ in switch.engine.process(1, message(7, pad=2))] == [4]
    mine = p4r.Entity()
    mine.CopyFrom(first)
    mine.table_entry.is_const = False
    other = p4r.Entity()
    other.CopyFrom(mine)
    other.table_entry.match[0].exact.value = b"\x63"
    assert codes(client, modify(mine), delete(mine), insert(other)) == [rpc_code.PERMISSION_DENIED] * 3
    default = default_entry(names, "const_table", "forward", b"\x08")
    client.write(modify(default))
    assert [p for p, _ in switch.engine.process(1, message(7))] == [4]


def test_read_filters(client: Client, names: Names) -> None:
    dropping = ternary_entry(names, 7, port=0, tag=(2, 2))
    dropping.table_entry.action.CopyFrom(action(names, "drop"))
    noted = ternary_entry(names, 8, port=3, tag=(3, 3))
    noted.table_entry.metadata = b"note"
    cookied = ternary_entry(names, 8, port=3, tag=(4, 4))
    cookied.table_entry.controller_metadata = 99
    same_key = ternary_entry(names, 9, port=3, tag=(2, 2))
    client.write(*map(insert, (dropping, noted, cookied, same_key)))
    table = names["ternary_table"]

    def read(**filters: object) -> list[p4r.Entity]:
        return entries(client, table_id=table, **filters)

    match = dropping.table_entry.match
    assert read() == [dropping, noted, cookied, same_key]
    assert read(priority=8) == [noted, cookied]
    assert read(match=match, priority=7) == [dropping]
    assert read(match=match) == [dropping, same_key]
    assert read(match=match, priority=6) == []
    assert read(action=p4r.TableAction(action=p4r.Action(action_id=names["drop"]))) == [dropping]
    assert read(metadata=b"note") == [noted]
    assert read(controller_metadata=99) == [cookied]
    assert read(is_default_action=True) == [default_entry(names, "ternary_table", "NoAction")]
    assert len(entries(client, is_default_action=True)) == 5


def test_bad_reads_fail_alone(client: Client, names: Names) -> None:
    client.write(insert(exact_entry(names, 1, port=3)))
    good = p4r.Entity(table_entry=p4r.TableEntry(table_id=names["exact_table"]))
    unknown = p4r.Entity(table_entry=p4r.TableEntry(table_id=7))
    seen: list[p4r.Entity] = []
    with pytest.raises(BatchError) as caught:
        for part in client.read_messages(good, unknown, p4r.Entity(), good):
            seen += part.entities
    assert seen == [exact_entry(names, 1, port=3)] * 2
    assert caught.value.codes == [0, rpc_code.INVALID_ARGUMENT, rpc_code.INVALID_ARGUMENT, 0]


def test_batch_goes_on_after_an_error(client: Client, names: Names) -> None:
    good, bad, also_good = exact_entry(names, 1, 3), exact_entry(names, 1, 4), exact_entry(names, 2, 3)
    assert codes(client, insert(good), insert(bad), insert(also_good)) == [0, rpc_code.ALREADY_EXISTS, 0]
    assert entries(client, table_id=names["exact_table"]) == [good, also_good]


@pytest.mark.parametrize("atomicity", [p4r.WriteRequest.ROLLBACK_ON_ERROR, p4r.WriteRequest.DATAPLANE_ATOMIC])
def test_batch_is_done_wholly_or_not_at_all(
    client: Client, names: Names, switch: RunningSwitch, atomicity: int
) -> None:
    client.write(insert(exact_entry(names, 1, port=3)), insert(exact_entry(names, 2, port=3)))
    before = entries(client)
    updates = [
        modify(exact_entry(names, 1, port=4)),
        delete(exact_entry(names, 2, port=3)),
        insert(exact_entry(names, 3, port=5)),
        insert(exact_entry(names, 1, port=6)),
        insert(exact_entry(names, 4, port=6)),
    ]
    assert codes(client, *updates, atomicity=atomicity) == [
        rpc_code.ABORTED,
        rpc_code.ABORTED,
        rpc_code.ABORTED,
        rpc_code.ALREADY_EXISTS,
        rpc_code.ABORTED,
    ]
    assert entries(client) == before
    assert [p for p, _ in switch.engine.process(1, message(0, tag=1))] == [3]
    client.write(*updates[:3], atomicity=atomicity)
    assert [p for p, _ in switch.engine.process(1, message(0, tag=1))] == [4]


def test_updates_of_a_batch_may_build_on_one_another(client: Client, names: Names) -> None:
    entry = exact_entry(names, 1, port=3)
    client.write(insert(entry), modify(exact_entry(names, 1, port=4)), delete(entry), insert(entry))
    assert entries(client, table_id=names["exact_table"]) == [entry]


def test_direct_counter(client: Client, names: Names, switch: RunningSwitch) -> None:
    fresh, primed = exact_entry(names, 1, port=3), exact_entry(names, 2, port=3)
    primed.table_entry.counter_data.packet_count = 100
    primed.table_entry.counter_data.byte_count = 1000
    client.write(insert(fresh), insert(primed))
    for tag in (1, 2, 2):
        switch.engine.process(1, message(0, tag=tag))

    def read(tag: int) -> tuple[int, int]:
        wanted = p4r.DirectCounterEntry(table_entry=exact_entry(names, tag, port=3).table_entry)
        (entity,) = client.read(p4r.Entity(direct_counter_entry=wanted))
        data = entity.direct_counter_entry.data
        return data.packet_count, data.byte_count

    assert (read(1), read(2)) == ((1, 6), (102, 1012))
    with_counters = entries(client, table_id=names["exact_table"], counter_data=p4r.CounterData())
    assert [entity.table_entry.counter_data.packet_count for entity in with_counters] == [1, 102]
    everywhere = client.read(p4r.Entity(direct_counter_entry=p4r.DirectCounterEntry()))
    assert [entity.direct_counter_entry.data.packet_count for entity in everywhere] == [1, 102]
    # A MODIFY without counter_data leaves the counter alone; a DirectCounterEntry sets it.
    client.write(modify(exact_entry(names, 1, port=4)))
    assert read(1) == (1, 6)
    setting = p4r.DirectCounterEntry(table_entry=fresh.table_entry, data=p4r.CounterData(packet_count=7, byte_count=8))
    client.write(modify(p4r.Entity(direct_counter_entry=setting)))
    assert read(1) == (7, 8)
    assert codes(client, insert(p4r.Entity(direct_counter_entry=setting))) == [rpc_code.INVALID_ARGUMENT]
    absent = p4r.DirectCounterEntry(table_entry=exact_entry(names, 3, port=3).table_entry)
    with pytest.raises(BatchError) as caught:
        client.read(p4r.Entity(direct_counter_entry=absent))
    assert caught.value.codes == [rpc_code.NOT_FOUND]
    default = p4r.DirectCounterEntry(table_entry=default_entry(names, "exact_table").table_entry)
    assert codes(client, modify(p4r.Entity(direct_counter_entry=default))) == [rpc_code.UNIMPLEMENTED]


def test_counter_data_needs_a_direct_counter(client: Client, names: Names) -> None:
    entity = lpm_entry(names, 0xAB00, 8, port=3)
    entity.table_entry.counter_data.packet_count = 1
    assert codes(client, insert(entity)) == [rpc_code.INVALID_ARGUMENT]


def test_unserved_entities_are_named(client: Client, names: Names) -> None:
    extern = p4r.Entity(extern_entry=p4r.ExternEntry(extern_type_id=1))
    unset_type = p4r.Update(entity=exact_entry(names, 1, port=3))
    assert codes(client, insert(extern), unset_type, insert(p4r.Entity())) == [
        rpc_code.UNIMPLEMENTED,
        rpc_code.INVALID_ARGUMENT,
        rpc_code.INVALID_ARGUMENT,
    ]
    assert client.read(p4r.Entity(action_profile_member=p4r.ActionProfileMember())) == []


def test_large_reads_come_in_bounded_messages(client: Client, names: Names) -> None:
    written = [ternary_entry(names, priority, port=3, tag=(1, 1)) for priority in range(1, 61)]
    for entity in written:
        entity.table_entry.metadata = b"x" * 100_000
    for start in range(0, len(written), 20):
        client.write(*map(insert, written[start : start + 20]))
    messages = list(client.read_messages(p4r.Entity(table_entry=p4r.TableEntry(table_id=names["ternary_table"]))))
    assert len(messages) > 3
    assert max(part.ByteSize() for part in messages) < 2 << 20
    assert [entity for part in messages for entity in part.entities] == written
