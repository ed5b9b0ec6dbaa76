"""The entries of one pipeline's tables as clients wrote them: a pure model that says what the engine has to do.

A write is staged: checked against the schema and the entries, done in the model, and returned as a `TableChange`,
which tells the engine's operation and can be taken back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from finsy.proto import p4r
from grpc import StatusCode

from softswitch.bmv2.program import Program
from softswitch.entries import DirectOperation, EngineOperation, MeterConfig, Operation, PackedOperation, TableOperation
from softswitch.p4runtime.errors import P4RuntimeError, invalid
from softswitch.p4runtime.keys import EntryId, decode_key, decode_table_action
from softswitch.p4runtime.profile_entries import Ports
from softswitch.p4runtime.profiles import ProfileState
from softswitch.p4runtime.schema import Schema, Table
from softswitch.p4runtime.table_entries import (
    Entry,
    TableState,
    check_resources,
    decode_entry,
    decode_entry_meter,
    entry_id,
)


@dataclass(slots=True)
class TableChange:
    """A staged write. `id` None means the default entry; `operation` None that the engine has nothing to change. What
    the entry refers to is made ready in `preparation`, its direct resources are set in `direct`."""

    state: TableState
    id: EntryId | None
    before: Entry | None
    after: Entry | None
    operation: TableOperation | PackedOperation | None
    preparation: tuple[EngineOperation, ...] = ()
    direct: DirectOperation | None = None

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
            self.preparation = _exchange(self.state, self.after, self.before)

    def inverse(self) -> list[EngineOperation]:
        """What brings the engine back, once `revert` was called. What a counter was is lost."""
        if self.id is None:
            assert self.before is not None
            return [_default_operation(self.state, self.before)]
        if self.before is None:
            return [_operation(self.state, Operation.DELETE, self.id)]
        kind = Operation.INSERT if self.after is None else Operation.MODIFY
        operations = [*self.preparation, _operation(self.state, kind, self.id, self.before)]
        if self.state.schema.direct_meter is not None:
            operations.append(_meter_operation(self.state.schema, self.id, self.before.meter))
        return operations


class TableStore:
    """All tables of a pipeline, as they are right after the program was loaded."""

    def __init__(self, schema: Schema, program: Program, ports: Ports = dict) -> None:
        self.profiles = {identifier: ProfileState(profile, ports) for identifier, profile in schema.profiles.items()}
        self.states = {
            identifier: _initial_state(table, schema, program, self.profiles)
            for identifier, table in schema.tables.items()
        }

    def stage(self, kind: int, message: p4r.TableEntry) -> TableChange:
        """Check one update and do it in the model. Raises P4RuntimeError, having changed nothing."""
        state = self.state(message.table_id)
        table = state.schema
        if message.is_const:
            raise invalid(f"table {table.name!r}: is_const is the server's to set")
        if kind != p4r.Update.DELETE:
            check_resources(table, message)
        if message.is_default_action:
            return _stage_default(state, kind, message)
        identifier = entry_id(table, message)
        before = state.entries.get(identifier)
        if kind == p4r.Update.INSERT:
            change = _stage_insert(state, identifier, before, message)
        elif before is None:
            raise P4RuntimeError(StatusCode.NOT_FOUND, f"table {table.name!r} has no such entry")
        elif kind == p4r.Update.MODIFY:
            change = _stage_modify(state, identifier, before, message)
        else:
            _refuse_const(table, before)
            operation = _operation(state, Operation.DELETE, identifier)
            _exchange(state, before, None)
            change = TableChange(state, identifier, before, None, operation)
        if change.after is None:
            del state.entries[identifier]
        else:
            state.entries[identifier] = change.after
        return change

    def profile(self, profile_id: int) -> ProfileState:
        """Raises INVALID_ARGUMENT for an unknown action profile."""
        profile = self.profiles.get(profile_id)
        if profile is None:
            raise invalid(f"no action profile has id {profile_id}")
        return profile

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
        if request.HasField("action") and request.action.WhichOneof("type") not in (None, "action"):
            raise P4RuntimeError(StatusCode.UNIMPLEMENTED, "a read can be filtered by action, not by member or group")
        for state in states:
            for entry in _candidates(state, request):
                if _wanted(entry, request):
                    yield state, entry

    def find(self, request: p4r.TableEntry) -> tuple[TableState, Entry]:
        """The one entry that `request` names in full. Raises INVALID_ARGUMENT or NOT_FOUND."""
        state = self.state(request.table_id)
        entry = state.default if request.is_default_action else state.entries.get(entry_id(state.schema, request))
        if entry is None:
            raise P4RuntimeError(StatusCode.NOT_FOUND, f"table {state.schema.name!r} has no such entry")
        return state, entry


def _initial_state(table: Table, schema: Schema, program: Program, profiles: Mapping[int, ProfileState]) -> TableState:
    native = program.tables[table.name]
    actions = {action.name: action for action in schema.actions.values()}
    entries = {}
    for written in native.entries:
        action = actions[program.actions[written.action].name]
        entry = Entry(written.key, written.priority, action, written.parameters, const=native.const_entries)
        entries[written.key, written.priority] = entry
    initial = None if native.default_action is None else actions.get(program.actions[native.default_action].name)
    default = Entry((), 0, initial, native.default_parameters, const=table.const_default)
    profile = None if table.profile is None else profiles[table.profile]
    return TableState(table, entries, default, profile)


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
    after = decode_entry(state, identifier, message)
    if len(state.entries) >= table.size:
        raise P4RuntimeError(StatusCode.RESOURCE_EXHAUSTED, f"table {table.name!r} is full ({table.size} entries)")
    preparation = _exchange(state, None, after)
    operation = _operation(state, Operation.INSERT, identifier, after)
    direct = _direct_operation(state, identifier, message, None, after)
    return TableChange(state, identifier, None, after, operation, preparation, direct)


def _stage_modify(state: TableState, identifier: EntryId, before: Entry, message: p4r.TableEntry) -> TableChange:
    table = state.schema
    if not message.HasField("action"):
        # Without an action only metadata and direct resources change, which a constant entry allows for the latter.
        metadata = message.metadata if not before.const else before.metadata
        cookie = message.controller_metadata if not before.const else before.controller_metadata
        timeout = message.idle_timeout_ns if not before.const else 0
        after = replace(
            before,
            metadata=metadata,
            controller_metadata=cookie,
            idle_timeout_ns=timeout,
            meter=decode_entry_meter(state.schema, message),
        )
        direct = _direct_operation(state, identifier, message, before, after)
        return TableChange(state, identifier, before, after, None, (), direct)
    _refuse_const(table, before)
    after = decode_entry(state, identifier, message)
    preparation = _exchange(state, before, after)
    operation = _operation(state, Operation.MODIFY, identifier, after)
    direct = _direct_operation(state, identifier, message, before, after)
    return TableChange(state, identifier, before, after, operation, preparation, direct)


def _exchange(state: TableState, before: Entry | None, after: Entry | None) -> tuple[EngineOperation, ...]:
    """Tell the action profile that an entry refers to something else. Returns what makes it ready for that."""
    if state.profile is None:
        return ()
    operations: tuple[EngineOperation, ...] = ()
    if after is not None and after.reference is not None:
        operations = state.profile.take(after.reference)
    if before is not None and before.reference is not None:
        state.profile.give(before.reference)
    return operations


def _direct_operation(
    state: TableState, identifier: EntryId, message: p4r.TableEntry, before: Entry | None, after: Entry
) -> DirectOperation | None:
    counter = None
    if message.HasField("counter_data"):
        counter = message.counter_data.packet_count, message.counter_data.byte_count
    meter = after.meter if before is None or after.meter != before.meter else None
    reset = before is not None and before.meter is not None and after.meter is None
    clear = message.HasField("meter_counter_data")
    if counter is None and meter is None and not reset and not clear:
        return None
    return DirectOperation(state.schema.name, *identifier, counter, meter, reset, clear)


def _meter_operation(table: Table, identifier: EntryId, meter: MeterConfig | None) -> DirectOperation:
    return DirectOperation(table.name, *identifier, meter=meter, reset_meter=meter is None)


def _stage_default(state: TableState, kind: int, message: p4r.TableEntry) -> TableChange:
    table = state.schema
    if kind != p4r.Update.MODIFY:
        raise invalid(f"table {table.name!r}: the default entry can only be modified")
    if message.match or message.priority:
        raise invalid(f"table {table.name!r}: the default entry has neither match nor priority")
    _refuse_const(table, state.default)
    before = state.default
    if message.HasField("action"):
        action, parameters = decode_table_action(table, message.action, default=True)
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


def _operation(state: TableState, kind: Operation, identifier: EntryId, entry: Entry | None = None) -> TableOperation:
    key, priority = identifier
    name = state.schema.name
    if entry is not None and entry.reference is not None and state.profile is not None:
        member, group = state.profile.target(entry.reference)
        return TableOperation(kind, name, key, priority, member=member, group=group)
    if entry is None or entry.action is None:
        return TableOperation(kind, name, key, priority)
    return TableOperation(kind, name, key, priority, entry.action.name, entry.parameters)


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
