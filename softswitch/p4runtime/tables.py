"""The entries of one pipeline's tables as clients wrote them: a pure model that says what the engine has to do.

A write is staged: checked against the schema and the entries, done in the model, and returned as a `TableChange`,
which tells the engine's operation and can be taken back.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from finsy.proto import p4r
from grpc import StatusCode

from softswitch.bmv2 import program as bmv2
from softswitch.bmv2.program import Program
from softswitch.entries import Operation, PackedOperation, TableOperation
from softswitch.p4runtime.errors import P4RuntimeError, invalid
from softswitch.p4runtime.keys import Key, decode_action, decode_key, encode_action, encode_key
from softswitch.p4runtime.schema import Action, Schema, Table


@dataclass(slots=True)  # never changed; frozen ones take three times as long to make
class Entry:
    """One entry, or with an empty key the default entry. `action` None: a default that does nothing."""

    key: Key
    priority: int
    action: Action | None
    parameters: tuple[int, ...]
    metadata: bytes = b""
    controller_metadata: int = 0
    const: bool = False


EntryId = tuple[Key, int]
"""Key and priority: what names an entry within its table."""


class TableState:
    """The entries of one table and its default entry."""

    def __init__(self, schema: Table, entries: dict[EntryId, Entry], default: Entry) -> None:
        self.schema = schema
        self.entries = entries
        self.initial_default = default
        self.default = default


@dataclass(slots=True)
class TableChange:
    """A staged write. `id` None means the default entry; `operation` None that the engine has nothing to change."""

    state: TableState
    id: EntryId | None
    before: Entry | None
    after: Entry | None
    operation: TableOperation | PackedOperation | None
    counter: tuple[int, int] | None = None

    def revert(self) -> None:
        """Take the change out of the model, unless a later one of the same entry has replaced it."""
        entries = self.state.entries
        if self.id is None:
            if self.state.default is self.after and self.before is not None:
                self.state.default = self.before
        elif entries.get(self.id) is self.after:
            if self.before is None:
                del entries[self.id]
            else:
                entries[self.id] = self.before

    def inverse(self) -> TableOperation | None:
        """What brings the engine back."""
        if self.operation is None:
            return None
        if self.id is None:
            assert self.before is not None
            return _default_operation(self.state, self.before)
        if self.before is None:
            return _operation(self.state.schema, Operation.DELETE, self.id)
        kind = Operation.INSERT if self.after is None else Operation.MODIFY
        return _operation(self.state.schema, kind, self.id, self.before)


class TableStore:
    """All tables of a pipeline, as they are right after the program was loaded."""

    def __init__(self, schema: Schema, program: Program) -> None:
        by_name = {action.name: action for action in schema.actions.values()}
        self.states = {
            identifier: _initial_state(table, program.tables[table.name], program, by_name)
            for identifier, table in schema.tables.items()
        }

    def stage(self, kind: int, message: p4r.TableEntry) -> TableChange:
        """Check one update and do it in the model. Raises P4RuntimeError, having changed nothing."""
        state = self.state(message.table_id)
        table = state.schema
        if message.is_const:
            raise invalid(f"table {table.name!r}: is_const is the server's to set")
        _check_extras(table, message)
        if message.is_default_action:
            return _stage_default(state, kind, message)
        identifier = _entry_id(table, message)
        before = state.entries.get(identifier)
        if kind == p4r.Update.INSERT:
            change = _stage_insert(state, identifier, before, message)
        elif before is None:
            raise P4RuntimeError(StatusCode.NOT_FOUND, f"table {table.name!r} has no such entry")
        elif kind == p4r.Update.MODIFY:
            change = _stage_modify(state, identifier, before, message)
        else:
            _refuse_const(table, before)
            operation = _operation(table, Operation.DELETE, identifier)
            change = TableChange(state, identifier, before, None, operation)
        if change.after is None:
            del state.entries[identifier]
        else:
            state.entries[identifier] = change.after
        return change

    def state(self, table_id: int) -> TableState:
        """Raises INVALID_ARGUMENT for an unknown table."""
        state = self.states.get(table_id)
        if state is None:
            raise invalid(f"no table has id {table_id}")
        return state

    def select(self, request: p4r.TableEntry) -> Iterator[tuple[TableState, Entry]]:
        """The entries that a read request asks for (specification, "Wildcard Reads"). Raises INVALID_ARGUMENT."""
        if request.table_id:
            states = [self.state(request.table_id)]
        elif request.match or request.HasField("action"):
            raise invalid("a read that names no table cannot filter by match or action")
        else:
            states = list(self.states.values())
        for state in states:
            for entry in _candidates(state, request):
                if _wanted(entry, request):
                    yield state, entry

    def find(self, request: p4r.TableEntry) -> tuple[TableState, Entry]:
        """The one entry that `request` names in full. Raises INVALID_ARGUMENT or NOT_FOUND."""
        state = self.state(request.table_id)
        entry = state.default if request.is_default_action else state.entries.get(_entry_id(state.schema, request))
        if entry is None:
            raise P4RuntimeError(StatusCode.NOT_FOUND, f"table {state.schema.name!r} has no such entry")
        return state, entry


def encode_entry(table: Table, entry: Entry, *, default: bool) -> p4r.TableEntry:
    """The canonical message for an entry, without its direct counter."""
    message = p4r.TableEntry(
        table_id=table.id,
        match=() if default else encode_key(table, entry.key),
        priority=entry.priority,
        metadata=entry.metadata,
        controller_metadata=entry.controller_metadata,
        is_default_action=default,
        is_const=entry.const,
    )
    if entry.action is not None:
        message.action.CopyFrom(encode_action(entry.action, entry.parameters))
    return message


def _initial_state(table: Table, native: bmv2.Table, program: Program, actions: dict[str, Action]) -> TableState:
    entries = {}
    for written in native.entries:
        action = actions[program.actions[written.action].name]
        entry = Entry(written.key, written.priority, action, written.parameters, const=native.const_entries)
        entries[written.key, written.priority] = entry
    default = None if native.default_action is None else actions.get(program.actions[native.default_action].name)
    return TableState(table, entries, Entry((), 0, default, native.default_parameters, const=table.const_default))


def _check_extras(table: Table, message: p4r.TableEntry) -> None:
    """Refuse what the table has no resource for."""
    if message.HasField("counter_data"):
        if table.direct_counter is None:
            raise invalid(f"table {table.name!r} has no direct counter")
        if message.is_default_action:
            raise P4RuntimeError(StatusCode.UNIMPLEMENTED, "default entries have no direct counter")
    if message.HasField("meter_config") or message.HasField("meter_counter_data"):
        raise invalid(f"table {table.name!r} has no direct meter")
    if message.HasField("time_since_last_hit"):
        raise invalid("time_since_last_hit cannot be written")
    if message.idle_timeout_ns:
        if not table.idle_timeout:
            raise invalid(f"table {table.name!r} has no idle timeout")
        raise P4RuntimeError(StatusCode.UNIMPLEMENTED, "idle timeouts are not supported")


def _entry_id(table: Table, message: p4r.TableEntry) -> EntryId:
    if not table.fields:
        raise invalid(f"table {table.name!r} has no key, so it has no entries but the default one")
    if table.has_priorities and message.priority <= 0:
        raise invalid(f"table {table.name!r}: priority {message.priority} must be positive")
    if not table.has_priorities and message.priority:
        raise invalid(f"table {table.name!r} has no priorities: priority must be 0, not {message.priority}")
    return decode_key(table, message.match), message.priority


def _refuse_const(table: Table, entry: Entry) -> None:
    if entry.const:
        raise P4RuntimeError(StatusCode.PERMISSION_DENIED, f"table {table.name!r}: this entry is constant")


def _stage_insert(state: TableState, identifier: EntryId, before: Entry | None, message: p4r.TableEntry) -> TableChange:
    table = state.schema
    if table.const_entries:
        raise P4RuntimeError(StatusCode.PERMISSION_DENIED, f"table {table.name!r} is constant")
    if before is not None:
        raise P4RuntimeError(StatusCode.ALREADY_EXISTS, f"table {table.name!r} already has this entry")
    if not message.HasField("action"):
        raise invalid(f"table {table.name!r}: a new entry needs an action")
    action, parameters = decode_action(table, message.action, default=False)
    if len(state.entries) >= table.size:
        raise P4RuntimeError(StatusCode.RESOURCE_EXHAUSTED, f"table {table.name!r} is full ({table.size} entries)")
    after = Entry(*identifier, action, parameters, message.metadata, message.controller_metadata)
    operation = _operation(table, Operation.INSERT, identifier, after)
    return TableChange(state, identifier, None, after, operation, _counter(message))


def _stage_modify(state: TableState, identifier: EntryId, before: Entry, message: p4r.TableEntry) -> TableChange:
    table = state.schema
    if not message.HasField("action"):
        # Without an action only metadata and direct resources change, which a constant entry allows for the latter.
        metadata = message.metadata if not before.const else before.metadata
        cookie = message.controller_metadata if not before.const else before.controller_metadata
        after = replace(before, metadata=metadata, controller_metadata=cookie)
        return TableChange(state, identifier, before, after, None, _counter(message))
    _refuse_const(table, before)
    action, parameters = decode_action(table, message.action, default=False)
    after = Entry(*identifier, action, parameters, message.metadata, message.controller_metadata)
    operation = _operation(table, Operation.MODIFY, identifier, after)
    return TableChange(state, identifier, before, after, operation, _counter(message))


def _stage_default(state: TableState, kind: int, message: p4r.TableEntry) -> TableChange:
    table = state.schema
    if kind != p4r.Update.MODIFY:
        raise invalid(f"table {table.name!r}: the default entry can only be modified")
    if message.match or message.priority:
        raise invalid(f"table {table.name!r}: the default entry has neither match nor priority")
    _refuse_const(table, state.default)
    before = state.default
    if message.HasField("action"):
        action, parameters = decode_action(table, message.action, default=True)
        after = Entry((), 0, action, parameters, message.metadata, message.controller_metadata)
    else:
        # A copy: `revert` tells changes apart by identity.
        after = replace(state.initial_default)
    state.default = after
    operation = _default_operation(state, after)
    return TableChange(state, None, before, after, operation)


def _default_operation(state: TableState, entry: Entry) -> TableOperation:
    name = state.schema.name
    if entry == state.initial_default or entry.action is None:
        return TableOperation(Operation.RESET_DEFAULT, name)
    return TableOperation(Operation.SET_DEFAULT, name, action=entry.action.name, parameters=entry.parameters)


def _operation(table: Table, kind: Operation, identifier: EntryId, entry: Entry | None = None) -> TableOperation:
    key, priority = identifier
    if entry is None or entry.action is None:
        return TableOperation(kind, table.name, key, priority)
    return TableOperation(kind, table.name, key, priority, entry.action.name, entry.parameters)


def _counter(message: p4r.TableEntry) -> tuple[int, int] | None:
    if not message.HasField("counter_data"):
        return None
    return message.counter_data.packet_count, message.counter_data.byte_count


def _candidates(state: TableState, request: p4r.TableEntry) -> list[Entry]:
    table = state.schema
    if request.is_default_action:
        if request.match or request.priority:
            raise invalid(f"table {table.name!r}: the default entry has neither match nor priority")
        return [state.default]
    if not request.match:
        return list(state.entries.values())
    key = decode_key(table, request.match)
    if table.has_priorities and not request.priority:
        return [entry for (known, _), entry in state.entries.items() if known == key]
    entry = state.entries.get((key, request.priority))
    return [] if entry is None else [entry]


def _wanted(entry: Entry, request: p4r.TableEntry) -> bool:
    action_id = request.action.action.action_id
    return not (
        (request.priority and entry.priority != request.priority)
        or (action_id and (entry.action is None or entry.action.id != action_id))
        or (request.metadata and entry.metadata != request.metadata)
        or (request.controller_metadata and entry.controller_metadata != request.controller_metadata)
    )
