"""The generated functions for plain updates do what the general way does, or leave the update to it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from finsy.proto import p4r
from hypothesis import given, settings
from hypothesis import strategies as st
from softswitch.engine.engine import Engine
from softswitch.entries import PackedOperation, TableOperation
from softswitch.p4runtime import p4info
from softswitch.p4runtime.errors import P4RuntimeError
from softswitch.p4runtime.plain import PlainUpdates
from softswitch.p4runtime.tables import TableChange, TableStore

from tests.softswitch.p4runtime.client import Names
from tests.softswitch.p4runtime.entities import action, exact_entry, lpm_entry, ternary_entry

KINDS = (p4r.Update.INSERT, p4r.Update.MODIFY, p4r.Update.DELETE)


class BothWays:
    """The same updates to two models of one program."""

    def __init__(self, names: Names, engine: Engine) -> None:
        self._engine = engine
        self.names = names
        program = engine.program
        assert program is not None
        self._schema = p4info.build(names.p4info, program)
        self._program = program
        self.forget()

    def forget(self) -> None:
        """Begin again with empty tables."""
        self.general = TableStore(self._schema, self._program)
        self._tables = TableStore(self._schema, self._program)
        self._plain = PlainUpdates(self._tables, self._engine)

    def stage(self, kind: int, entry: p4r.TableEntry) -> TableChange | None:
        """The plain way's change, which is what the general way makes of it; None when it is left to that."""
        plain = self._plain.stage(kind, entry)
        try:
            general = self.general.stage(kind, entry)
        except P4RuntimeError:
            assert plain is None, entry
            return None
        if plain is None:
            self._tables.stage(kind, entry)
            return None
        assert (plain.id, plain.before, plain.after) == (general.id, general.before, general.after)
        assert isinstance(general.operation, TableOperation)
        assert isinstance(plain.operation, PackedOperation)
        assert plain.operation.data == self._engine.codec(plain.operation.table).pack(general.operation)
        assert self._tables.states[entry.table_id].entries == self.general.states[entry.table_id].entries
        return plain


@pytest.fixture(scope="module")
def both(program_cache: Path) -> Iterator[BothWays]:
    """The program `everything`."""
    names = Names.of("everything")
    with Engine(cache_dir=program_cache) as engine:
        engine.load(names.device_config.decode())
        yield BothWays(names, engine)


def plain_entries(names: Names) -> list[p4r.TableEntry]:
    dropping = ternary_entry(names, 3, port=0, tag=(1, 1), pad=2)
    dropping.table_entry.action.CopyFrom(action(names, "drop"))
    remember = exact_entry(names, 9, port=0)
    remember.table_entry.action.CopyFrom(action(names, "remember", b"\x04", b"\x12\x34"))
    noted = exact_entry(names, 0x1234, port=3)
    noted.table_entry.metadata, noted.table_entry.controller_metadata = b"note", 7
    entities = [
        noted,
        remember,
        lpm_entry(names, 0xAB00, 8, port=4),
        lpm_entry(names, 0xABCD, 16, port=4),
        lpm_entry(names, 0, 0, port=5),
        ternary_entry(names, 10, port=6, tag=(0x0100, 0xFF00), value=(1, 500), pad=7),
        ternary_entry(names, 11, port=7, kind=255),
        ternary_entry(names, 12, port=7, kind=255, value=(5, 0xFFFF)),
        dropping,
    ]
    return [entity.table_entry for entity in entities]


def test_plain_entries_take_the_plain_way(both: BothWays) -> None:
    both.forget()
    for kind in KINDS:
        for entry in plain_entries(both.names):
            assert both.stage(kind, entry) is not None, entry


@st.composite
def damaged(draw: st.DrawFn, names: Names) -> p4r.TableEntry:
    """A plain entry with up to two bytes changed; whatever still parses."""
    data = bytearray(draw(st.sampled_from(plain_entries(names))).SerializeToString())
    for _ in range(draw(st.integers(0, 2))):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    entry = p4r.TableEntry()
    try:
        entry.MergeFromString(bytes(data))
    except Exception:  # whatever protobuf thinks of it
        return p4r.TableEntry()
    return entry


NAMES = Names.of("everything")


@settings(max_examples=500)
@given(st.lists(st.tuples(st.sampled_from(KINDS), damaged(NAMES)), min_size=1, max_size=4))
def test_plain_way_accepts_only_what_the_general_way_does(
    both: BothWays, updates: list[tuple[int, p4r.TableEntry]]
) -> None:
    both.forget()
    for kind, entry in updates:
        both.stage(kind, entry)
