"""Batches that only insert plain table entries: decoded and packed natively (runtime/decode.c), modelled here.

It is all or nothing: a batch with anything else in it, or anything wrong, is left to the general way, unchanged.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable, Sequence

from softswitch.bmv2.control import MatchKind
from softswitch.engine.engine import Engine
from softswitch.engine.operations import TableCodec
from softswitch.entries import Exact, Lpm, MatchKey, Operation, Range, TableOperation, Ternary
from softswitch.p4runtime.keys import EntryId
from softswitch.p4runtime.schema import Action, Table
from softswitch.p4runtime.table_entries import Entry, TableState
from softswitch.p4runtime.tables import TableStore

WORTH_WHILE = 8
"""Fewer updates than this are not faster in bulk."""

_KINDS = {MatchKind.EXACT: 0, MatchKind.LPM: 1, MatchKind.TERNARY: 2, MatchKind.RANGE: 3, MatchKind.OPTIONAL: 4}
_KEYS: dict[MatchKind, Callable[[int, int], MatchKey]] = {
    MatchKind.EXACT: lambda value, mask: Exact(value),
    MatchKind.LPM: Lpm,
    MatchKind.TERNARY: Ternary,
    MatchKind.RANGE: Range,
    MatchKind.OPTIONAL: Ternary,
}
_WIDEST = 64
_ROW_HEAD = 3

Insert = Callable[[tuple[int, ...]], EntryId | None]
"""Makes an entry of a row of `struct row` and puts it into its table; None when that has it already."""


class BulkInserts:
    """The tables of one pipeline that take inserts in bulk. `engine` has loaded its program."""

    def __init__(self, tables: TableStore, engine: Engine) -> None:
        self._engine = engine
        self._states: list[TableState] = []
        self._inserts: list[Insert] = []
        plans: list[list[int]] = []
        values = 0
        for state in tables.states.values():
            if not plain(state):
                continue
            codec = engine.codec(state.schema.name)
            actions = _actions(state.schema)
            plans.append(_plan(state.schema, codec, actions))
            values = max(values, 2 * len(state.schema.fields) + codec.layout.data_words)
            self._states.append(state)
            self._inserts.append(_insert(state, actions))
        self._row = struct.Struct(f"<{_ROW_HEAD + values}Q")
        self._op_bytes = max((_op_bytes(engine.codec(state.schema.name)) for state in self._states), default=0)
        words = [len(plans), *(word for plan in plans for word in (len(plan) + 1, *plan))]
        self._plans = (ctypes.c_uint32 * len(words))(*words)

    def write(self, request: bytes, count: int) -> bool:
        """Do a serialized WriteRequest of `count` updates. False, with nothing changed, when that is not possible."""
        rows = ctypes.create_string_buffer(count * self._row.size)
        operations = self._engine.decode(self._plans, request, count, self._op_bytes, rows, self._row.size // 8)
        if operations is None:
            return False
        done: list[tuple[TableState, EntryId]] = []
        states, inserts = self._states, self._inserts
        for row in self._row.iter_unpack(rows):
            identifier = inserts[row[0]](row)
            if identifier is None:
                break
            done.append((states[row[0]], identifier))
        if len(done) == count and all(len(state.entries) <= state.schema.size for state in states):
            results = self._engine.apply_packed(operations, count)
            if not any(results):
                return True
            self._remove([place for place, result in zip(done, results, strict=True) if not result])
        for state, identifier in done:
            del state.entries[identifier]
        return False

    def _remove(self, done: Sequence[tuple[TableState, EntryId]]) -> None:
        """Take out of the engine what it took of a batch that it refused in part."""
        self._engine.apply([TableOperation(Operation.DELETE, state.schema.name, *entry) for state, entry in done])


def plain(state: TableState) -> bool:
    """Whether a table's entries may be no more than key and action."""
    table = state.schema
    special = state.profile is not None or table.direct_meter is not None or table.idle_timeout
    narrow = all(field.width <= _WIDEST for field in table.fields)
    return bool(table.fields) and narrow and not special and not table.const_entries


def _actions(table: Table) -> dict[int, Action]:
    """Those that entries may have and whose parameters are a word or two each."""
    actions = [use.action for use in table.uses.values() if use.in_entries]
    return {a.id: a for a in actions if all(parameter.width <= 2 * _WIDEST for parameter in a.parameters)}


def _plan(table: Table, codec: TableCodec, actions: dict[int, Action]) -> list[int]:
    """`struct plan` after its first word."""
    layout = codec.layout
    plan = [table.id, codec.number, int(layout.match), layout.words, layout.data_words, int(table.has_priorities)]
    plan += [len(table.fields), len(actions)]
    for field, pieces in zip(table.fields, layout.pieces, strict=True):
        plan += [field.id, _KINDS[field.kind], field.width, len(pieces)]
        for piece in pieces:
            plan += [piece.word, piece.shift, piece.low, piece.width]
    for action in actions.values():
        plan += [action.id, codec.actions[action.name].id, len(action.parameters)]
        for parameter in action.parameters:
            plan += [parameter.id, parameter.width]
    return plan


def _op_bytes(codec: TableCodec) -> int:
    return 24 + 8 * (2 * codec.layout.words + codec.layout.data_words)


def _parameters(action: Action, first: int) -> Callable[[tuple[int, ...]], tuple[int, ...]]:
    """Takes an action's parameters out of a row in which its data begin at `first`."""
    if all(parameter.width <= _WIDEST for parameter in action.parameters):
        end = first + len(action.parameters)
        return lambda row: row[first:end]
    at, places = first, []
    for parameter in action.parameters:
        places.append((at, parameter.width > _WIDEST))
        at += 2 if parameter.width > _WIDEST else 1
    return lambda row: tuple([row[at] | row[at + 1] << _WIDEST if wide else row[at] for at, wide in places])


def _insert(state: TableState, actions: dict[int, Action]) -> Insert:
    entries = state.entries
    first = _ROW_HEAD + 2 * len(state.schema.fields)
    uses = {action.id: (action, _parameters(action, first)) for action in actions.values()}
    keys = [(_KEYS[field.kind], _ROW_HEAD + 2 * place) for place, field in enumerate(state.schema.fields)]

    def insert(row: tuple[int, ...]) -> EntryId | None:
        key = tuple([make(row[at], row[at + 1]) for make, at in keys])
        identifier = (key, row[1])
        if identifier in entries:
            return None
        action, parameters = uses[row[2]]
        entries[identifier] = Entry(key, row[1], action, parameters(row))
        return identifier

    return insert
