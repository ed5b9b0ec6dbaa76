"""Batches decoded natively come to what the general way makes of them, or are left to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random

import pytest
from finsy.proto import p4i, p4r
from google.protobuf import text_format
from hypothesis import given, settings
from hypothesis import strategies as st
from softswitch.engine import abi
from softswitch.engine.compiled import Compiled
from softswitch.engine.engine import Engine
from softswitch.p4runtime import p4info
from softswitch.p4runtime.entities.batches import TableBatches
from softswitch.p4runtime.entities.tables import TableStore
from softswitch.p4runtime.errors import P4RuntimeError

from p4src.build import P4INFO, PIPELINE, ROOT
from tests.softswitch.native.builder import ProgramBuilder, send_to
from tests.softswitch.native.builder import p4info as p4info_of
from tests.softswitch.p4runtime.client import Client, Names, Stream
from tests.softswitch.p4runtime.damage import parses, spoil_bytes, spoil_fields
from tests.softswitch.p4runtime.entities import (
    counter_cell,
    delete,
    exact_entry,
    insert,
    lpm_entry,
    modify,
    ternary_entry,
)
from tests.softswitch.p4runtime.switches import RunningSwitch, message
from tests.softswitch.p4runtime.test_conformance import DENIED, INVALID, REFUSALS


class Recorder(Engine):
    """Keeps what it is told to do instead of doing it, or refuses `refuse`."""

    packed = b""
    refuse: frozenset[int] = frozenset()

    def apply_packed(self, operations: bytes, count: int) -> list[int]:
        """Keep the operations."""
        self.packed = operations
        return [int(place in self.refuse) for place in range(count)]


class BothWays:
    """The same batches to two models of one program, in which there are some entries."""

    def __init__(self, info: p4i.P4Info, engine: Recorder, compiled: Compiled) -> None:
        self.engine = engine
        engine.run(compiled)
        self._compiled = compiled
        self._schema = p4info.build(info, compiled.program)

    def write(self, data: bytes, known: Sequence[p4r.Entity] = ()) -> bool:
        """Whether a request is done natively; if so, as the general way does it."""
        request = p4r.WriteRequest.FromString(data)
        general, tables = (TableStore(self._schema, self._compiled) for _ in range(2))
        for entity in known:
            general.stage(p4r.Update.INSERT, entity.table_entry)
            tables.stage(p4r.Update.INSERT, entity.table_entry)
        before = {identifier: dict(state.entries) for identifier, state in tables.states.items()}
        done = TableBatches(tables, self.engine).write(data, len(request.updates))
        if not done:
            assert {identifier: state.entries for identifier, state in tables.states.items()} == before
            return False
        packed = b""
        for update in request.updates:
            assert update.entity.WhichOneof("entity") == "table_entry", update
            packed += b"".join(general.stage(update.type, update.entity.table_entry).operations(0))
        assert self.engine.packed == packed
        assert [s.entries for s in tables.states.values()] == [s.entries for s in general.states.values()]
        return True


def request(entities: Sequence[p4r.Entity], kind: Callable[[p4r.Entity], p4r.Update] = insert) -> p4r.WriteRequest:
    batch = p4r.WriteRequest(device_id=1, updates=map(kind, entities))
    batch.election_id.high, batch.election_id.low = 1, 10
    return batch


def plain(names: Names) -> list[p4r.Entity]:
    return [
        exact_entry(names, 0x1234, port=3),
        exact_entry(names, 0, port=0x1FF),
        lpm_entry(names, 0xAB00, 8, port=4),
        lpm_entry(names, 0xABCD, 16, port=4),
        lpm_entry(names, 0, 0, port=5),
        ternary_entry(names, 10, port=6, tag=(0x0100, 0xFF00), value=(1, 500), pad=7),
        ternary_entry(names, 11, port=7, kind=255),
        ternary_entry(names, 12, port=7, kind=255, value=(5, 0xFFFF)),
        ternary_entry(names, 2**31 - 1, port=7, pad=1),
    ]


NAMES = Names.of("everything")


@pytest.fixture(scope="module")
def both(program_cache: Path) -> Iterator[BothWays]:
    """The program `everything`."""
    with Recorder(cache_dir=program_cache) as engine:
        yield BothWays(NAMES.p4info, engine, engine.compile(NAMES.device_config.decode()))


@pytest.mark.parametrize("kind", [insert, modify, delete])
def test_plain_entries_are_done_natively(both: BothWays, kind: Callable[[p4r.Entity], p4r.Update]) -> None:
    known = [] if kind is insert else plain(NAMES)
    assert both.write(request(plain(NAMES), kind).SerializeToString(), known)
    for entity in plain(NAMES):
        assert both.write(request([entity], kind).SerializeToString(), known), entity


def test_updates_of_one_entry_follow_one_another(both: BothWays) -> None:
    entity, other = exact_entry(NAMES, 1, port=3), exact_entry(NAMES, 1, port=4)
    batch = p4r.WriteRequest(updates=[insert(entity), modify(other), delete(entity), insert(other)])
    assert both.write(batch.SerializeToString())
    without_action = p4r.Entity()
    without_action.CopyFrom(entity)
    without_action.table_entry.ClearField("action")
    assert both.write(p4r.WriteRequest(updates=[delete(without_action)]).SerializeToString(), [entity])


def test_long_byte_strings_are_numbers_all_the_same(both: BothWays) -> None:
    long = exact_entry(NAMES, 1, port=3)
    long.table_entry.match[0].exact.value = bytes(30) + b"\x01"
    assert both.write(request([long]).SerializeToString())


def test_wide_parameters_are_done_natively(program_cache: Path) -> None:
    """The steering program's `bind` has keys of 128 bits."""
    info = text_format.Parse((ROOT / P4INFO).read_text(), p4i.P4Info())
    table = next(table for table in info.tables if table.preamble.alias == "bindings")
    bind = next(action for action in info.actions if action.preamble.alias == "bind")
    assert max(param.bitwidth for param in bind.params) == 128
    entities = []
    for number in (1, 2, 255):
        entry = p4r.TableEntry(table_id=table.preamble.id)
        for field in table.match_fields:
            entry.match.add(field_id=field.id).exact.value = bytes([number])
        entry.action.action.action_id = bind.preamble.id
        for param in bind.params:
            value = number.to_bytes(1, "big") * ((param.bitwidth + 7) // 8) if param.bitwidth > 64 else b"\x01"
            entry.action.action.params.add(param_id=param.id, value=value)
        entities.append(p4r.Entity(table_entry=entry))
    with Recorder(cache_dir=program_cache) as engine:
        both = BothWays(info, engine, engine.compile((ROOT / PIPELINE).read_text()))
        assert both.write(request(entities).SerializeToString())
        for param in entities[0].table_entry.action.action.params:
            if len(param.value) == 16:
                param.value = b"\x01" + bytes(16)
        assert not both.write(request(entities).SerializeToString())


def test_wide_keys_are_done_natively(program_cache: Path) -> None:
    builder = ProgramBuilder([("a", 128), ("b", 128), ("c", 128)])
    send = builder.action("send", [send_to()], [("value", 128)])
    builder.table("t", [("in", "a", "exact"), ("in", "b", "lpm"), ("in", "c", "ternary")], [send], send, [0])
    info = p4info_of(builder)
    entry = p4r.TableEntry(table_id=info.tables[0].preamble.id, priority=3)
    entry.match.add(field_id=1).exact.value = bytes(range(1, 17))
    prefix = entry.match.add(field_id=2).lpm
    prefix.value, prefix.prefix_len = b"\x20\1" + bytes(14), 16
    masked = entry.match.add(field_id=3).ternary
    masked.value, masked.mask = b"\1" + bytes(15), b"\3" + bytes(15)
    entry.action.action.action_id = info.actions[0].preamble.id
    entry.action.action.params.add(param_id=1, value=b"\xff" * 16)
    with Recorder(cache_dir=program_cache) as engine:
        both = BothWays(info, engine, engine.compile(builder.text()))
        assert both.write(request([p4r.Entity(table_entry=entry)]).SerializeToString())
        prefix.value = b"\x20\1" + bytes(13) + b"\1"
        assert not both.write(request([p4r.Entity(table_entry=entry)]).SerializeToString())
        entry.match.pop(1)
        assert both.write(request([p4r.Entity(table_entry=entry)]).SerializeToString())


@pytest.mark.parametrize("what", ["twice", "too many", "not there", "noted", "without a type"])
def test_other_batches_are_left_to_the_general_way(both: BothWays, what: str) -> None:
    entities = [exact_entry(NAMES, tag, port=3) for tag in range(4)]
    batch = request(entities)
    match what:
        case "twice":
            batch.updates[3].CopyFrom(batch.updates[0])
        case "too many":
            batch.updates.append(insert(exact_entry(NAMES, 4, port=3)))
        case "not there":
            batch.updates[3].type = p4r.Update.DELETE
        case "without a type":
            batch.updates[3].type = p4r.Update.UNSPECIFIED
        case _:
            batch.updates[3].entity.table_entry.metadata = b"note"
    assert not both.write(batch.SerializeToString())


@pytest.mark.parametrize("what", [what for what, (_, code) in REFUSALS.items() if code in (INVALID, DENIED)])
def test_refused_updates_are_left_to_the_general_way(both: BothWays, what: str) -> None:
    make, _ = REFUSALS[what]
    batch = request(plain(NAMES)[:2])
    batch.updates.append(make(NAMES))
    assert not both.write(batch.SerializeToString())


def test_entity_that_is_two_is_left_to_the_general_way(both: BothWays) -> None:
    """On the wire a oneof can hold two; the last one counts."""
    table_entry = exact_entry(NAMES, 1, port=3).SerializeToString()
    entity = table_entry + counter_cell(NAMES, 1, 1).SerializeToString()
    update = b"\x08\x01\x12" + bytes([len(entity)]) + entity
    data = b"\x22" + bytes([len(update)]) + update
    assert p4r.WriteRequest.FromString(data).updates[0].entity.WhichOneof("entity") == "counter_entry"
    assert not both.write(data)


@settings(max_examples=300)
@given(st.integers(0, 2**32), st.booleans())
def test_native_way_accepts_only_what_the_general_way_does(both: BothWays, seed: int, in_bytes: bool) -> None:
    random = Random(seed)
    known = random.sample(plain(NAMES), k=4)
    chosen = random.choices(plain(NAMES), k=random.choice((1, 2, 3)))
    batch = p4r.WriteRequest(updates=[random.choice((insert, modify, delete))(entity) for entity in chosen])
    if in_bytes:
        data = spoil_bytes(random, batch.SerializeToString())
        if not parses(p4r.WriteRequest, data):
            return
    else:
        spoilt = [spoil_fields(random, update, [NAMES["drop"], NAMES["lpm_table"]]) for update in batch.updates]
        del batch.updates[:]
        batch.updates.extend(spoilt)
        data = batch.SerializeToString()
    try:
        both.write(data, known)
    except P4RuntimeError as error:
        raise AssertionError(f"what the general way refuses was done: {error}") from error


def test_batch_that_the_engine_refuses_in_part_is_taken_back(program_cache: Path) -> None:
    class Refusing(Recorder):
        undone: Sequence[bytes] = ()

        def apply(self, operations: Sequence[bytes]) -> list[int]:
            self.undone = operations
            return [0 for _ in operations]

    entities = plain(NAMES)[:5]
    updates = [modify(entities[0]), insert(entities[1]), delete(entities[2]), insert(entities[3]), delete(entities[4])]
    with Refusing(cache_dir=program_cache) as engine:
        compiled = engine.compile(NAMES.device_config.decode())
        both = BothWays(NAMES.p4info, engine, compiled)
        engine.refuse = frozenset({3})
        known = [entities[0], entities[2], entities[4]]
        assert not both.write(p4r.WriteRequest(updates=updates).SerializeToString(), known)
        operations = [abi.Operation(abi.OPERATION.unpack_from(operation)[2]) for operation in engine.undone]
        assert operations == [abi.Operation.INSERT, abi.Operation.INSERT, abi.Operation.DELETE, abi.Operation.MODIFY]


def test_large_batch_forwards_and_reads_back(
    client: Client, primary: Stream, names: Names, switch: RunningSwitch
) -> None:
    entities = [ternary_entry(names, priority, port=priority, tag=(priority, 0xFFFF)) for priority in range(1, 61)]
    client.write(*map(insert, entities), atomicity=p4r.WriteRequest.DATAPLANE_ATOMIC)
    everything = p4r.Entity(table_entry=p4r.TableEntry(table_id=names["ternary_table"]))
    assert client.read(everything) == entities
    assert [port for port, _ in switch.engine.process(1, message(0, tag=17))] == [17]
    client.write(*(p4r.Update(type=p4r.Update.DELETE, entity=entity) for entity in entities))
    assert client.read(everything) == []
