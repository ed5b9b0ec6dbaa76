"""The entries of one pipeline's tables as clients wrote them: a pure model that says what the engine has to do.

A write is staged: checked against the schema and the entries, done in the model, and returned as a `TableChange`,
which tells the engine's operation and can be taken back.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from finsy.proto import p4r
from grpc import StatusCode

from softswitch.bmv2 import control as bmv2
from softswitch.bmv2.program import Program
from softswitch.entries import DirectOperation, EngineOperation, MeterConfig, Operation, PackedOperation, TableOperation
from softswitch.p4runtime.errors import P4RuntimeError, invalid
from softswitch.p4runtime.keys import Key, decode_key, decode_table_action, encode_action, encode_key
from softswitch.p4runtime.meters import decode_meter, encode_meter, refuse_marks
from softswitch.p4runtime.profile_entries import Reference, encode_reference
from softswitch.p4runtime.profiles import Ports, ProfileState
from softswitch.p4runtime.schema import Action, MeterKind, Schema, Table


@dataclass(slots=True)  # never changed; frozen ones take three times as long to make
class Entry:
    """One entry, or with an empty key the default entry. `action` None: a default that does nothing, or in an indirect
    table an entry that does what `reference` says. `meter` None: everything is green."""

    key: Key
    priority: int
    action: Action | None
    parameters: tuple[int, ...]
    metadata: bytes = b""
    controller_metadata: int = 0
    const: bool = False
    reference: Reference | None = None
    idle_timeout_ns: int = 0
    meter: MeterConfig | None = None


EntryId = tuple[Key, int]
"""Key and priority: what names an entry within its table."""


class TableState:
    """The entries of one table and its default entry."""

    def __init__(
        self,
        schema: Table,
        entries: dict[EntryId, Entry],
        default: Entry,
        profile: ProfileState | None = None,
        meter_kind: MeterKind | None = None,
    ) -> None:
        self.schema = schema
        self.profile = profile
        self.meter_kind = meter_kind
        self.entries = entries
        self.initial_default = default
        self.default = default


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
        if self.state.meter_kind is not None:
            operations.append(_meter_operation(self.state.schema, self.id, self.before.meter))
        return operations


class TableStore:
    """All tables of a pipeline, as they are right after the program was loaded."""

    def __init__(self, schema: Schema, program: Program, ports: Ports = dict) -> None:
        by_name = {action.name: action for action in schema.actions.values()}
        self.profiles = {identifier: ProfileState(profile, ports) for identifier, profile in schema.profiles.items()}
        self.states = {
            identifier: _initial_state(table, program.tables[table.name], program, by_name)
            for identifier, table in schema.tables.items()
        }
        for state in self.states.values():
            if state.schema.profile is not None:
                state.profile = self.profiles[state.schema.profile]
            if state.schema.direct_meter is not None:
                state.meter_kind = schema.direct_meters[state.schema.direct_meter].kind

    def stage(self, kind: int, message: p4r.TableEntry) -> TableChange:
        """Check one update and do it in the model. Raises P4RuntimeError, having changed nothing."""
        state = self.state(message.table_id)
        table = state.schema
        if message.is_const:
            raise invalid(f"table {table.name!r}: is_const is the server's to set")
        if kind != p4r.Update.DELETE:
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
        entry = state.default if request.is_default_action else state.entries.get(_entry_id(state.schema, request))
        if entry is None:
            raise P4RuntimeError(StatusCode.NOT_FOUND, f"table {state.schema.name!r} has no such entry")
        return state, entry


def encode_entry(table: Table, entry: Entry, *, default: bool, meter: bool = False) -> p4r.TableEntry:
    """The canonical message for an entry, without its direct resources, but with its meter if that is asked for."""
    message = p4r.TableEntry(
        table_id=table.id,
        match=() if default else encode_key(table, entry.key),
        priority=entry.priority,
        metadata=entry.metadata,
        controller_metadata=entry.controller_metadata,
        is_default_action=default,
        is_const=entry.const,
        idle_timeout_ns=entry.idle_timeout_ns,
    )
    if entry.action is not None:
        message.action.action.CopyFrom(encode_action(entry.action, entry.parameters))
    if entry.reference is not None:
        message.action.CopyFrom(encode_reference(entry.reference))
    if meter and entry.meter is not None:
        message.meter_config.CopyFrom(encode_meter(entry.meter))
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
        if table.direct_meter is None:
            raise invalid(f"table {table.name!r} has no direct meter")
        if message.is_default_action:
            raise P4RuntimeError(StatusCode.UNIMPLEMENTED, "default entries have no direct meter")
        refuse_marks(message.meter_counter_data)
    if message.HasField("time_since_last_hit"):
        raise invalid("time_since_last_hit cannot be written")
    if message.idle_timeout_ns:
        if not table.idle_timeout:
            raise invalid(f"table {table.name!r} has no idle timeout")
        if message.is_default_action:
            raise invalid(f"table {table.name!r}: the default entry has no idle timeout")
        if message.idle_timeout_ns < 0:
            raise invalid(f"table {table.name!r}: idle_timeout_ns must not be negative")


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
    after = _decode_entry(state, identifier, message)
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
            meter=_decode_meter(state, message),
        )
        direct = _direct_operation(state, identifier, message, before, after)
        return TableChange(state, identifier, before, after, None, (), direct)
    _refuse_const(table, before)
    after = _decode_entry(state, identifier, message)
    preparation = _exchange(state, before, after)
    operation = _operation(state, Operation.MODIFY, identifier, after)
    direct = _direct_operation(state, identifier, message, before, after)
    return TableChange(state, identifier, before, after, operation, preparation, direct)


def _decode_entry(state: TableState, identifier: EntryId, message: p4r.TableEntry) -> Entry:
    action: Action | None = None
    parameters: tuple[int, ...] = ()
    reference: Reference | None = None
    if state.profile is not None:
        reference = state.profile.decode_reference(message.action, state.schema.name)
    else:
        action, parameters = decode_table_action(state.schema, message.action, default=False)
    return Entry(
        *identifier,
        action,
        parameters,
        message.metadata,
        message.controller_metadata,
        reference=reference,
        idle_timeout_ns=message.idle_timeout_ns,
        meter=_decode_meter(state, message),
    )


def _decode_meter(state: TableState, message: p4r.TableEntry) -> MeterConfig | None:
    if state.meter_kind is None or not message.HasField("meter_config"):
        return None
    return decode_meter(state.meter_kind, message.meter_config, f"table {state.schema.name!r}")


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
