"""Table entries as clients wrote them (specification, "TableEntry"): all tables of a program, what a read selects of
them, what a new program takes over."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

from finsy.proto import p4r
from grpc import StatusCode

from softswitch.engine.compiled import Compiled
from softswitch.engine.meters import Meter
from softswitch.engine.state import EntryKeys
from softswitch.p4runtime.entities import counters
from softswitch.p4runtime.entities.meter_config import encode_marks
from softswitch.p4runtime.entities.profile_entries import Ports
from softswitch.p4runtime.entities.profiles import ProfileState
from softswitch.p4runtime.entities.table_change import TableChange, stage
from softswitch.p4runtime.entities.table_entry import (
    Entry,
    TableState,
    ageing,
    counted,
    encode_entry,
    entry_id,
    metered,
)
from softswitch.p4runtime.errors import P4RuntimeError, invalid
from softswitch.p4runtime.keys import decode_key
from softswitch.p4runtime.schema import Schema, Table

if TYPE_CHECKING:
    from softswitch.p4runtime.pipeline import Pipeline

_Value = TypeVar("_Value")

Found = Sequence[tuple[TableState, Entry]]


class TableStore:
    """All tables of a pipeline, as they are right after the program was loaded."""

    def __init__(self, schema: Schema, compiled: Compiled, ports: Ports = dict) -> None:
        self.profiles = {
            identifier: ProfileState(profile, compiled.codecs.profiles[profile.name], ports)
            for identifier, profile in schema.profiles.items()
        }
        self.states = {
            identifier: _initial_state(table, schema, compiled, self.profiles)
            for identifier, table in schema.tables.items()
        }

    def stage(self, kind: int, message: p4r.TableEntry) -> TableChange:
        """Check one update and do it in the model. Raises P4RuntimeError, having changed nothing."""
        return stage(self.state(message.table_id), kind, message)

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
        """The entries that a read request asks for (specification, "Wildcard Reads"). A member, group or one-shot in it
        filters nothing: the specification has actions filter by id alone. Raises INVALID_ARGUMENT."""
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

    def select_direct(self, wanted: p4r.TableEntry, what: str, has: Callable[[Table], bool]) -> Found:
        """The entries that a read of direct resources means, of tables that have such. Raises P4RuntimeError."""
        if wanted.is_default_action:
            raise P4RuntimeError(StatusCode.UNIMPLEMENTED, f"default entries have no {what}")
        if wanted.table_id:
            table = self.state(wanted.table_id).schema
            if not has(table):
                raise invalid(f"table {table.name!r} has no {what}")
        if wanted.match:
            return [self.find(wanted)]
        scope = p4r.TableEntry(table_id=wanted.table_id, priority=wanted.priority)
        return [(state, entry) for state, entry in self.select(scope) if has(state.schema)]

    def find(self, request: p4r.TableEntry) -> tuple[TableState, Entry]:
        """The one entry that `request` names in full. Raises INVALID_ARGUMENT or NOT_FOUND."""
        state = self.state(request.table_id)
        entry = state.default if request.is_default_action else state.entries.get(entry_id(state.schema, request))
        if entry is None:
            raise P4RuntimeError(StatusCode.NOT_FOUND, f"table {state.schema.name!r} has no such entry")
        return state, entry

    @staticmethod
    def of_entries(
        found: Found, has: Callable[[Table], bool], take: Callable[[str, EntryKeys], list[_Value | None]]
    ) -> list[_Value | None]:
        """What the engine has of each entry; None where the table has no such thing, and for default entries."""
        by_table: dict[str, list[tuple[int, Entry]]] = {}
        for place, (state, entry) in enumerate(found):
            if has(state.schema) and entry.key:
                by_table.setdefault(state.schema.name, []).append((place, entry))
        taken: list[_Value | None] = [None] * len(found)
        for name, entries in by_table.items():
            values = take(name, [(e.key, e.priority) for _, e in entries])
            for (place, _), value in zip(entries, values, strict=True):
                taken[place] = value
        return taken


def select(pipeline: Pipeline, request: p4r.TableEntry) -> Iterable[p4r.Entity]:
    """The entries that a read asks for, with the direct resources that it names. Raises P4RuntimeError."""
    tables, engine = pipeline.tables, pipeline.engine
    if request.table_id:
        _check_resources(tables.state(request.table_id).schema, request)
    found = list(tables.select(request))

    def asked(
        part: str, has: Callable[[Table], bool], take: Callable[[str, EntryKeys], list[_Value | None]]
    ) -> list[_Value | None]:
        return tables.of_entries(found, has, take) if request.HasField(part) else [None] * len(found)

    counts = asked("counter_data", counted, engine.read_direct_counters)
    marks: list[Meter | None] = asked("meter_counter_data", metered, engine.read_direct_meters)
    idle = asked("time_since_last_hit", ageing, engine.read_idle_us)
    with_meters = request.HasField("meter_config")

    def messages() -> Iterator[p4r.Entity]:
        for (state, entry), counter, marked, idle_us in zip(found, counts, marks, idle, strict=True):
            message = encode_entry(state.schema, entry, default=request.is_default_action, meter=with_meters)
            if counter is not None:
                message.counter_data.CopyFrom(counters.encode(counter))
            if marked is not None:
                message.meter_counter_data.CopyFrom(encode_marks(marked))
            if idle_us is not None:
                message.time_since_last_hit.elapsed_ns = idle_us * 1000
            yield p4r.Entity(table_entry=message)

    return messages()


def unchanged(old: Pipeline, new: Pipeline, names: Collection[str]) -> set[int]:
    """The tables of these names that clients see the same way in both programs."""
    return {
        identifier
        for identifier, table in new.schema.tables.items()
        if table.name in names and old.schema.tables.get(identifier) == table
    }


def carry(old: Pipeline, new: Pipeline, whole: Collection[int]) -> None:
    """Take over entries and changed default entries, those of the tables `whole` as they are: the engines will exchange
    them. Raises P4RuntimeError for what does not fit."""
    now_us = new.engine.clock_us()
    operations: list[bytes] = []
    for identifier, state in new.tables.states.items():
        if identifier in whole:
            continue
        for entry_key in [name for name, entry in state.entries.items() if not entry.const]:
            operations.append(state.delete(entry_key))
            del state.entries[entry_key]
    for identifier, state in old.tables.states.items():
        if state.default != state.initial_default:
            message = encode_entry(state.schema, state.default, default=True)
            operations += new.tables.stage(p4r.Update.MODIFY, message).operations(now_us)
        if identifier in whole:
            successor = new.tables.states[identifier]
            successor.entries.clear()
            successor.entries.update(state.entries)
            for name, entry in state.entries.items() if state.schema.idle_timeout else ():
                new.idle.set(identifier, name, entry.idle_timeout_ns, new.clock())
        else:
            for entity in _entries_to_carry(old, state):
                change = new.tables.stage(p4r.Update.INSERT, entity.table_entry)
                operations += change.operations(now_us)
                set_timer(new, change)
    if any(new.engine.apply(operations)):
        raise invalid("its tables have no room for the entries that there are")


def _entries_to_carry(pipeline: Pipeline, state: TableState) -> Iterable[p4r.Entity]:
    table = state.schema
    if table.const_entries:
        return []
    request = p4r.TableEntry(table_id=table.id)
    if counted(table):
        request.counter_data.SetInParent()
    if metered(table):
        request.meter_config.SetInParent()
    return (entity for entity in select(pipeline, request) if not entity.table_entry.is_const)


def set_timer(pipeline: Pipeline, change: TableChange) -> None:
    """Let the idle timeout of an entry that was written run."""
    if change.state.schema.idle_timeout and change.id is not None:
        timeout = 0 if change.after is None else change.after.idle_timeout_ns
        pipeline.idle.set(change.state.schema.id, change.id, timeout, pipeline.clock())


def _check_resources(table: Table, request: p4r.TableEntry) -> None:
    """Refuse to read what the table does not have."""
    if request.HasField("counter_data") and not counted(table):
        raise invalid(f"table {table.name!r} has no direct counter")
    if (request.HasField("meter_config") or request.HasField("meter_counter_data")) and not metered(table):
        raise invalid(f"table {table.name!r} has no direct meter")
    if request.HasField("time_since_last_hit"):
        if not ageing(table):
            raise invalid(f"table {table.name!r} has no idle timeout")
        if request.is_default_action:
            raise invalid(f"table {table.name!r}: the default entry has no idle timeout")


def _initial_state(
    table: Table, schema: Schema, compiled: Compiled, profiles: Mapping[int, ProfileState]
) -> TableState:
    program, native = compiled.program, compiled.program.tables[table.name]
    actions = {action.name: action for action in schema.actions.values()}
    entries = {}
    for written in native.entries:
        action = actions[program.actions[written.action].name]
        entry = Entry(written.key, written.priority, action, written.parameters, const=native.const_entries)
        entries[written.key, written.priority] = entry
    initial = None if native.default_action is None else actions.get(program.actions[native.default_action].name)
    default = Entry((), 0, initial, native.default_parameters, const=table.const_default)
    profile = None if table.profile is None else profiles[table.profile]
    return TableState(table, compiled.codecs.tables[table.name], entries, default, profile)


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
