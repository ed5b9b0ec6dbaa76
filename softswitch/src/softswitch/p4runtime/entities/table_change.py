"""A write of a table entry: a pure model that says what the engine has to do.

It is staged: checked against the schema and the entries, done in the model, and returned as a `TableChange`, which
tells the engine's operations and can be taken back.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from finsy.proto import p4r
from grpc import StatusCode

from softswitch.engine.abi import Operation
from softswitch.engine.meters import MeterConfig
from softswitch.p4runtime.entities import counters
from softswitch.p4runtime.entities.table_entry import (
    Entry,
    TableState,
    check_resources,
    decode_entry,
    decode_entry_meter,
    entry_id,
)
from softswitch.p4runtime.errors import P4RuntimeError, invalid
from softswitch.p4runtime.keys import EntryId, decode_table_action
from softswitch.p4runtime.schema import Table


@dataclass(frozen=True, slots=True)
class Direct:
    """What a write sets of an entry's direct resources: its counter, its meter (`reset`: to none), its meter's counts
    to zero."""

    counter: tuple[int, int] | None = None
    meter: MeterConfig | None = None
    reset: bool = False
    clear: bool = False


_NOTHING = Direct()


@dataclass(slots=True)
class TableChange:
    """A staged write. `id` None means the default entry; `operation` None that only what belongs to the entry changes.
    What the entry refers to is made ready in `preparation`."""

    state: TableState
    id: EntryId | None
    before: Entry | None
    after: Entry | None
    operation: Operation | None
    preparation: tuple[bytes, ...] = ()
    direct: Direct = _NOTHING

    @property
    def what(self) -> str:
        """What it changes, for a message."""
        return f"table {self.state.schema.name!r}"

    def operations(self, now_us: int) -> list[bytes]:
        """What the engine, whose clock shows `now_us`, has to do."""
        return [*self.preparation, *self._put(self.operation, self.after), *self._direct(self.direct, now_us)]

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

    def inverse(self, now_us: int) -> list[bytes]:
        """What brings the engine back, once `revert` was called. What a counter was is lost."""
        if self.id is None or self.before is None:
            return self._put(Operation.DELETE, self.before)
        kind = Operation.INSERT if self.after is None else Operation.MODIFY
        operations = [*self.preparation, *self._put(kind, self.before)]
        if self.state.schema.direct_meter is not None:
            meter = self.before.meter
            operations += self._direct(Direct(meter=meter, reset=meter is None), now_us)
        return operations

    def _put(self, operation: Operation | None, entry: Entry | None) -> list[bytes]:
        if operation is None:
            return []
        if self.id is None:
            return [] if entry is None else [self.state.put_default(entry)]
        return [self.state.delete(self.id) if entry is None else self.state.put(operation, self.id, entry)]

    def _direct(self, direct: Direct, now_us: int) -> list[bytes]:
        writes: list[bytes] = []
        if self.id is not None and direct.counter is not None:
            writes.append(self.state.write_counter(self.id, direct.counter))
        if self.id is not None and (direct.meter is not None or direct.reset):
            writes.append(self.state.write_meter(self.id, direct.meter, now_us))
        if self.id is not None and direct.clear:
            writes.append(self.state.clear_marks(self.id))
        return writes


def stage(state: TableState, kind: int, message: p4r.TableEntry) -> TableChange:
    """Check one update and do it in the model. Raises P4RuntimeError, having changed nothing."""
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
        _exchange(state, before, None)
        change = TableChange(state, identifier, before, None, Operation.DELETE)
    if change.after is None:
        del state.entries[identifier]
    else:
        state.entries[identifier] = change.after
    return change


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
    direct = _direct(message, None, after)
    return TableChange(state, identifier, None, after, Operation.INSERT, _exchange(state, None, after), direct)


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
        return TableChange(state, identifier, before, after, None, (), _direct(message, before, after))
    _refuse_const(table, before)
    after = decode_entry(state, identifier, message)
    direct = _direct(message, before, after)
    return TableChange(state, identifier, before, after, Operation.MODIFY, _exchange(state, before, after), direct)


def _exchange(state: TableState, before: Entry | None, after: Entry | None) -> tuple[bytes, ...]:
    """Tell the action profile that an entry refers to something else. Returns what makes it ready for that."""
    if state.profile is None:
        return ()
    operations: tuple[bytes, ...] = ()
    if after is not None and after.reference is not None:
        operations = state.profile.take(after.reference)
    if before is not None and before.reference is not None:
        state.profile.give(before.reference)
    return operations


def _direct(message: p4r.TableEntry, before: Entry | None, after: Entry) -> Direct:
    had = None if before is None else before.meter
    counter = counters.decode(message.counter_data) if message.HasField("counter_data") else None
    return Direct(
        counter=counter,
        meter=after.meter if after.meter != had else None,
        reset=had is not None and after.meter is None,
        clear=message.HasField("meter_counter_data"),
    )


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
    return TableChange(state, None, before, after, Operation.SET_DEFAULT)
