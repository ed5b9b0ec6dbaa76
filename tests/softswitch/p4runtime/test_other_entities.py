"""Counters, registers, multicast groups and clone sessions over P4Runtime."""

from __future__ import annotations

import pytest
from finsy.proto import p4d, p4r, rpc_code

from tests.softswitch.p4runtime.client import BatchError, Client, Names
from tests.softswitch.p4runtime.entities import (
    action,
    counter_cell,
    delete,
    exact_entry,
    group,
    insert,
    modify,
    register_cell,
    session,
)
from tests.softswitch.p4runtime.switches import RunningSwitch, message

pytestmark = pytest.mark.usefixtures("primary")


def codes(client: Client, *updates: p4r.Update) -> list[int]:
    with pytest.raises(BatchError) as caught:
        client.write(*updates)
    return caught.value.codes


def read_code(client: Client, entity: p4r.Entity) -> int:
    with pytest.raises(BatchError) as caught:
        client.read(entity)
    (code,) = caught.value.codes
    return int(code)


def test_counter_cells(client: Client, names: Names, switch: RunningSwitch) -> None:
    switch.engine.process(1, message(3))
    switch.engine.process(1, message(3) + b"tail")
    assert client.read(counter_cell(names, 3)) == [counter_cell(names, 3, 2, 16)]
    everything = client.read(counter_cell(names, None))
    assert [entity.counter_entry.index.index for entity in everything] == list(range(8))
    assert client.read(p4r.Entity(counter_entry=p4r.CounterEntry())) == everything
    client.write(modify(counter_cell(names, 3, 50, 60)))
    assert client.read(counter_cell(names, 3)) == [counter_cell(names, 3, 50, 60)]
    client.write(modify(counter_cell(names, None, 1, 1)))
    assert client.read(counter_cell(names, None)) == [counter_cell(names, index, 1, 1) for index in range(8)]


def test_counter_refusals(client: Client, names: Names) -> None:
    cell = counter_cell(names, 3, 1)
    assert codes(client, insert(cell), delete(cell)) == [rpc_code.INVALID_ARGUMENT] * 2
    negative, beyond = counter_cell(names, -1, 1), counter_cell(names, 8, 1)
    assert codes(client, modify(negative), modify(beyond)) == [rpc_code.INVALID_ARGUMENT, rpc_code.OUT_OF_RANGE]
    assert read_code(client, counter_cell(names, 8)) == rpc_code.OUT_OF_RANGE
    assert read_code(client, p4r.Entity(counter_entry=p4r.CounterEntry(counter_id=7))) == rpc_code.INVALID_ARGUMENT


def test_registers_are_read_and_written(client: Client, names: Names, switch: RunningSwitch) -> None:
    wide = register_cell(names, "wide_register", 15, b"\xff\xff\xff\xff\xff\xff")
    client.write(modify(wide))
    assert client.read(register_cell(names, "wide_register", 15)) == [wide]
    assert switch.engine.read_registers("EverythingIngress.wide_register", 15, 1) == [(1 << 48) - 1]
    # The data plane writes: `remember` stores an entry's value.
    remember = exact_entry(names, 1, port=0)
    remember.table_entry.action.CopyFrom(action(names, "remember", b"\x04", b"\x12\x34"))
    client.write(insert(remember))
    switch.engine.process(1, message(0, tag=1))
    stored = register_cell(names, "wide_register", 4, b"\x12\x34")
    assert client.read(register_cell(names, "wide_register", 4)) == [stored]
    assert len(client.read(register_cell(names, "wide_register", None))) == 16


def test_signed_registers(client: Client, names: Names, switch: RunningSwitch) -> None:
    switch.engine.process(1, message(2))
    assert client.read(register_cell(names, "signed_register", 0)) == [
        register_cell(names, "signed_register", 0, b"\xff")
    ]
    client.write(modify(register_cell(names, "signed_register", None, b"\xff\x80")))
    assert client.read(register_cell(names, "signed_register", 3)) == [
        register_cell(names, "signed_register", 3, b"\x80")
    ]
    assert codes(client, modify(register_cell(names, "signed_register", 0, b"\x00\x80"))) == [rpc_code.INVALID_ARGUMENT]


def test_register_refusals(client: Client, names: Names) -> None:
    good = register_cell(names, "wide_register", 1, b"\x01")
    other_type = register_cell(names, "wide_register", 1)
    other_type.register_entry.data.CopyFrom(p4d.P4Data(bool=True))
    assert codes(
        client,
        insert(good),
        modify(register_cell(names, "wide_register", 1)),
        modify(other_type),
        modify(register_cell(names, "wide_register", 1, b"\x01" + b"\0" * 6)),
        modify(register_cell(names, "wide_register", -1, b"\x01")),
        modify(register_cell(names, "wide_register", 16, b"\x01")),
    ) == [*[rpc_code.INVALID_ARGUMENT] * 5, rpc_code.OUT_OF_RANGE]


def test_multicast(client: Client, names: Names, switch: RunningSwitch) -> None:
    flood = exact_entry(names, 1, port=0)
    flood.table_entry.action.CopyFrom(action(names, "multicast", b"\x07"))
    client.write(insert(flood), insert(group(7, (1, 0), (2, 5), (2, 6))))
    packet = message(0, tag=1)
    assert sorted(switch.engine.process(3, packet)) == [(1, packet), (2, packet), (2, packet)]
    client.write(modify(group(7, (4, 0))), insert(group(8)))
    assert switch.engine.process(3, packet) == [(4, packet)]
    assert client.read(group(0)) == [group(7, (4, 0)), group(8)]
    assert client.read(group(8)) == [group(8)]
    client.write(delete(group(7)))
    assert switch.engine.process(3, packet) == []
    assert read_code(client, group(7)) == rpc_code.NOT_FOUND


def test_multicast_with_deprecated_port_and_metadata_comes_back_as_written(client: Client) -> None:
    entity = group(7)
    multicast = entity.packet_replication_engine_entry.multicast_group_entry
    multicast.replicas.add(egress_port=3, instance=1)
    multicast.metadata = b"note"
    client.write(insert(entity))
    assert client.read(group(7)) == [entity]


def test_multicast_refusals(client: Client) -> None:
    client.write(insert(group(7)))
    backup = group(9, (1, 0))
    backup.packet_replication_engine_entry.multicast_group_entry.replicas[0].backup_replicas.add(port=b"\x02")
    assert codes(
        client,
        insert(group(0, (1, 0))),
        insert(group(7)),
        modify(group(8)),
        delete(group(8)),
        insert(group(8, (1, 0), (1, 0))),
        insert(group(8, (512, 0))),
        insert(group(8, (1, 1 << 16))),
        insert(backup),
    ) == [
        rpc_code.INVALID_ARGUMENT,
        rpc_code.ALREADY_EXISTS,
        rpc_code.NOT_FOUND,
        rpc_code.NOT_FOUND,
        rpc_code.INVALID_ARGUMENT,
        rpc_code.INVALID_ARGUMENT,
        rpc_code.INVALID_ARGUMENT,
        rpc_code.UNIMPLEMENTED,
    ]
    assert client.read(group(0)) == [group(7)]


def test_clone_session(client: Client, names: Names, switch: RunningSwitch) -> None:
    packet = message(3, pad=0xFF)
    assert switch.engine.process(1, packet) == [(5, packet)]
    client.write(insert(session(9, 2, 3, length=4)))
    assert sorted(switch.engine.process(1, packet)) == [(2, packet[:4]), (3, packet[:4]), (5, packet)]
    assert client.read(session(0)) == [session(9, 2, 3, length=4)]
    client.write(modify(session(9, 4)))
    assert sorted(switch.engine.process(1, packet)) == [(4, packet), (5, packet)]
    client.write(delete(session(9)))
    assert switch.engine.process(1, packet) == [(5, packet)]
    assert codes(client, insert(session(0, 1)), modify(session(9, 1))) == [
        rpc_code.INVALID_ARGUMENT,
        rpc_code.NOT_FOUND,
    ]


def test_pushing_again_forgets_groups_and_sessions(client: Client, names: Names, switch: RunningSwitch) -> None:
    client.write(insert(session(9, 2)), insert(group(7, (1, 0))))
    client.push(names.config())
    assert client.read(session(0), group(0)) == []
    packet = message(3, pad=0xFF)
    assert switch.engine.process(1, packet) == [(5, packet)]
    client.write(insert(session(9, 2)))
