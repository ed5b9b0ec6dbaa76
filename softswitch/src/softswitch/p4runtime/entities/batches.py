"""Updates of table entries as most clients write them: decoded, checked and packed by the runtime, modelled here.

Updates are done together or not at all: if there is anything else among them, or anything wrong, they are left to the
general way, unchanged.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from finsy.proto import p4r

from softswitch.bmv2.control import MatchKind
from softswitch.bmv2.match import Exact, Lpm, MatchKey, Range, Ternary
from softswitch.engine import abi
from softswitch.engine.abi import Operation
from softswitch.engine.decoding import ActionForm, KeyField, TableForm, words
from softswitch.engine.engine import Engine
from softswitch.p4runtime.entities.table_entry import Entry, TableState
from softswitch.p4runtime.entities.tables import TableStore
from softswitch.p4runtime.keys import EntryId
from softswitch.p4runtime.schema import Action, Table

_Row = tuple[int, ...]
_ROW_HEAD = len(abi.ROW.unpack(bytes(abi.ROW.size)))
_INSERT, _DELETE = int(p4r.Update.INSERT), int(p4r.Update.DELETE)

_KEYS: dict[MatchKind, Callable[[int, int], MatchKey]] = {
    MatchKind.EXACT: lambda value, mask: Exact(value),
    MatchKind.LPM: Lpm,
    MatchKind.TERNARY: Ternary,
    MatchKind.RANGE: Range,
    MatchKind.OPTIONAL: Ternary,
}


_Done = tuple[TableState, int, EntryId, Entry | None]
"""What was done in the model: to which entry of a table, by which type of update, and how it was before."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Updates that were done in the models, one behind the other, and the engine's operations, one for each, packed."""

    done: list[_Done]
    operations: bytes

    def revert(self) -> None:
        """Take them out of the models, which nothing has changed since."""
        for state, _, identifier, before in reversed(self.done):
            if before is None:
                del state.entries[identifier]
            else:
                state.entries[identifier] = before

    def inverse(self, failed: Sequence[object]) -> list[bytes]:
        """What takes those back in the engine of which the place in `failed` says nothing."""
        return [_inverse(change) for change, failure in zip(self.done, failed, strict=True) if not failure][::-1]


class TableBatches:
    """The tables of one pipeline, whose program `engine` has loaded, that take updates this way."""

    def __init__(self, tables: TableStore, engine: Engine) -> None:
        self._engine = engine
        states = [state for state in tables.states.values() if _plain(state)]
        self._decoder = engine.decoder([_form(state) for state in states])
        self._updates = [_update(state) for state in states]

    def write(self, request: bytes, count: int) -> bool:
        """Do a serialized WriteRequest of `count` updates. False, with nothing changed, when that is not possible."""
        rows = self.stage(request, count)
        if rows is None:
            return False
        results = self._engine.apply_packed(rows.operations, count)
        if any(results):
            rows.revert()
            self._engine.apply(rows.inverse(results))
            return False
        return True

    def stage(self, request: bytes, count: int) -> Rows | None:
        """Do them in the models only. None, with nothing changed, when that is not possible."""
        decoded = self._decoder.decode(request, count)
        if decoded is None:
            return None
        rows = Rows([], decoded.operations)
        updates = self._updates
        for row in decoded.rows:
            change = updates[row[0]](row)
            if change is None:
                rows.revert()
                return None
            rows.done.append(change)
        return rows


def _inverse(done: _Done) -> bytes:
    """What takes an update back in the engine."""
    state, kind, identifier, before = done
    if before is None:
        return state.delete(identifier)
    return state.put(Operation.INSERT if kind == _DELETE else Operation.MODIFY, identifier, before)


def _plain(state: TableState) -> bool:
    """Whether a table's entries may be no more than key and action."""
    table = state.schema
    special = state.profile is not None or table.direct_meter is not None or table.idle_timeout
    narrow = all(field.width <= abi.MAX_NUMBER_BITS and field.names is None for field in table.fields)
    return bool(table.fields) and narrow and not special and not table.const_entries


def _actions(table: Table) -> list[Action]:
    """Those that entries may have and whose parameters the decoder takes."""
    actions = [use.action for use in table.uses.values() if use.in_entries]
    return [a for a in actions if all(p.width <= abi.MAX_NUMBER_BITS and p.names is None for p in a.parameters)]


def _form(state: TableState) -> TableForm:
    table = state.schema
    fields = [KeyField(field.id, field.kind, field.width) for field in table.fields]
    actions = [ActionForm(a.id, a.name, [(p.id, p.width) for p in a.parameters]) for a in _actions(table)]
    return TableForm(table.id, state.codec, fields, actions)


def _narrow(widths: Sequence[int], first: int) -> Callable[[_Row], _Row] | None:
    """Gives each number of these widths, which begin at `first` in a row, one place. None when they have."""
    if all(words(width) == 1 for width in widths):
        return None
    at, places = first, []
    for width in widths:
        places.append((at, words(width) > 1))
        at += words(width)
    end, wide = at, abi.WORD_BITS

    def narrow(row: _Row) -> _Row:
        numbers = [row[at] | row[at + 1] << wide if two else row[at] for at, two in places]
        return (*row[:first], *numbers, *row[end:])

    return narrow


def _update(state: TableState) -> Callable[[_Row], _Done | None]:
    """Does a row's update in the model; None when that is wrong."""
    table, entries, size = state.schema, state.entries, state.schema.size
    insert, delete = _INSERT, _DELETE
    keys = [(_KEYS[field.kind], _ROW_HEAD + 2 * place) for place, field in enumerate(table.fields)]
    narrow = _narrow([field.width for field in table.fields for _ in range(2)], _ROW_HEAD)
    first = _ROW_HEAD + 2 * len(table.fields)
    uses = {
        action.id: (action, _narrow([p.width for p in action.parameters], first), first + len(action.parameters))
        for action in _actions(table)
    }

    def update(row: _Row) -> _Done | None:
        if narrow is not None:
            row = narrow(row)
        kind, priority = row[1], row[2]
        key = tuple([make(row[at], row[at + 1]) for make, at in keys])
        identifier = (key, priority)
        before = entries.get(identifier)
        if kind == insert:
            if before is not None or len(entries) >= size:
                return None
        elif before is None or before.const:
            return None
        elif kind == delete:
            del entries[identifier]
            return state, kind, identifier, before
        action, narrow_data, end = uses[row[3]]
        if narrow_data is not None:
            row = narrow_data(row)
        entries[identifier] = Entry(key, priority, action, row[first:end])
        return state, kind, identifier, before

    return update
