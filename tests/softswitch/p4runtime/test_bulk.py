"""Batches decoded natively come to what the general way makes of them, or are left to it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

import pytest
from finsy.proto import p4i, p4r
from google.protobuf import text_format
from hypothesis import given, settings
from hypothesis import strategies as st
from softswitch.engine.engine import Engine
from softswitch.entries import EntryError, ErrorKind, TableOperation
from softswitch.p4runtime import p4info
from softswitch.p4runtime.bulk import BulkInserts
from softswitch.p4runtime.errors import P4RuntimeError
from softswitch.p4runtime.tables import TableStore

from p4src.build import P4INFO, PIPELINE, ROOT
from tests.softswitch.p4runtime.client import Client, Names, Stream
from tests.softswitch.p4runtime.damage import parses, spoil_bytes, spoil_fields
from tests.softswitch.p4runtime.entities import counter_cell, exact_entry, insert, lpm_entry, ternary_entry
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
    """The same batches to two models of one program."""

    def __init__(self, info: p4i.P4Info, engine: Recorder) -> None:
        assert engine.program is not None
        self.engine = engine
        self._program = engine.program
        self._schema = p4info.build(info, engine.program)

    def write(self, data: bytes) -> bool:
        """Whether a request is done in bulk; if so, as the general way does it."""
        request = p4r.WriteRequest.FromString(data)
        general = TableStore(self._schema, self._program, dict)
        tables = TableStore(self._schema, self._program, dict)
        before = {identifier: dict(state.entries) for identifier, state in tables.states.items()}
        done = BulkInserts(tables, self.engine).write(data, len(request.updates))
        if not done:
            assert {identifier: state.entries for identifier, state in tables.states.items()} == before
            return False
        packed = b""
        for update in request.updates:
            assert update.entity.WhichOneof("entity") == "table_entry", update
            operation = general.stage(update.type, update.entity.table_entry).operation
            assert isinstance(operation, TableOperation)
            packed += self.engine.codec(operation.table).pack(operation)
        assert self.engine.packed == packed
        assert [s.entries for s in tables.states.values()] == [s.entries for s in general.states.values()]
        return True


def request(entities: Sequence[p4r.Entity]) -> p4r.WriteRequest:
    batch = p4r.WriteRequest(device_id=1, updates=map(insert, entities))
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
        engine.load(NAMES.device_config.decode())
        yield BothWays(NAMES.p4info, engine)


def test_plain_entries_are_done_in_bulk(both: BothWays) -> None:
    assert both.write(request(plain(NAMES)).SerializeToString())
    for entity in plain(NAMES):
        assert both.write(request([entity]).SerializeToString()), entity
    long = exact_entry(NAMES, 1, port=3)
    long.table_entry.match[0].exact.value = bytes(30) + b"\x01"
    assert both.write(request([long]).SerializeToString())


def test_wide_parameters_are_done_in_bulk(program_cache: Path) -> None:
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
        engine.load((ROOT / PIPELINE).read_text())
        both = BothWays(info, engine)
        assert both.write(request(entities).SerializeToString())
        for param in entities[0].table_entry.action.action.params:
            if len(param.value) == 16:
                param.value = b"\x01" + bytes(16)
        assert not both.write(request(entities).SerializeToString())


@pytest.mark.parametrize("what", ["twice", "too many", "deleted", "noted"])
def test_other_batches_are_left_to_the_general_way(both: BothWays, what: str) -> None:
    entities = [exact_entry(NAMES, tag, port=3) for tag in range(4)]
    batch = request(entities)
    match what:
        case "twice":
            batch.updates[3].CopyFrom(batch.updates[0])
        case "too many":
            batch.updates.append(insert(exact_entry(NAMES, 4, port=3)))
        case "deleted":
            batch.updates[3].type = p4r.Update.DELETE
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
def test_bulk_accepts_only_what_the_general_way_does(both: BothWays, seed: int, in_bytes: bool) -> None:
    random = Random(seed)
    batch = request(random.choices(plain(NAMES), k=random.choice((1, 2, 3))))
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
        both.write(data)
    except P4RuntimeError as error:
        raise AssertionError(f"bulk did what the general way refuses: {error}") from error


def test_batch_that_the_engine_refuses_in_part_is_taken_back(program_cache: Path) -> None:
    class Refusing(Recorder):
        undone: Sequence[TableOperation] = ()

        def apply(self, operations: Sequence[TableOperation]) -> list[EntryError | None]:  # type: ignore[override]
            self.undone = operations
            return [EntryError(ErrorKind.NOT_FOUND, "") for _ in operations]

    with Refusing(cache_dir=program_cache) as engine:
        engine.load(NAMES.device_config.decode())
        engine.refuse = frozenset({1})
        assert not BothWays(NAMES.p4info, engine).write(request(plain(NAMES)[:4]).SerializeToString())
        assert [operation.key for operation in engine.undone] == [((0x1234,),), ((0xAB00, 8),), ((0xABCD, 16),)]


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
