"""What entries of tables hold, and their messages (specification, "TableEntry")."""

from __future__ import annotations

from dataclasses import dataclass

from finsy.proto import p4r
from grpc import StatusCode

from softswitch.bmv2.match import Key
from softswitch.engine import abi
from softswitch.engine.abi import Operation
from softswitch.engine.meters import NO_MARKS, MeterConfig, pack_config
from softswitch.engine.packing import Content, TableCodec
from softswitch.p4runtime.entities.meter_config import decode_meter, encode_meter, refuse_marks
from softswitch.p4runtime.entities.profile_entries import Reference, encode_reference
from softswitch.p4runtime.entities.profiles import ProfileState
from softswitch.p4runtime.errors import P4RuntimeError, invalid
from softswitch.p4runtime.keys import EntryId, decode_key, decode_table_action, encode_action, encode_key
from softswitch.p4runtime.schema import Action, Table


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


class TableState:
    """The entries of one table and its default entry. `profile` is None unless the table is indirect. `codec` packs
    what the engine has to do about them."""

    def __init__(
        self,
        schema: Table,
        codec: TableCodec,
        entries: dict[EntryId, Entry],
        default: Entry,
        profile: ProfileState | None,
    ) -> None:
        self.schema = schema
        self.codec = codec
        self.profile = profile
        self.entries = entries
        self.initial_default = default
        self.default = default

    def put(self, operation: Operation, identifier: EntryId, entry: Entry) -> bytes:
        """INSERT or MODIFY an entry in the engine."""
        return self.codec.entry(operation, *identifier, self._content(entry))

    def delete(self, identifier: EntryId) -> bytes:
        """Take an entry out of the engine."""
        return self.codec.entry(Operation.DELETE, *identifier)

    def put_default(self, entry: Entry) -> bytes:
        """Set the default entry in the engine."""
        if entry == self.initial_default or entry.action is None:
            return self.codec.reset_default()
        return self.codec.default(self._content(entry))

    def write_counter(self, identifier: EntryId, counter: tuple[int, int]) -> bytes:
        """Set an entry's counter in the engine."""
        return self.codec.write(*identifier, self.codec.counter, abi.COUNTER.pack(*counter))

    def write_meter(self, identifier: EntryId, config: MeterConfig | None, now_us: int) -> bytes:
        """Configure an entry's meter in the engine, whose clock shows `now_us`."""
        return self.codec.write(*identifier, self.codec.meter_part(abi.METER_CONFIG), pack_config(config, now_us))

    def clear_marks(self, identifier: EntryId) -> bytes:
        """Set what an entry's meter has counted by colour to zero in the engine."""
        return self.codec.write(*identifier, self.codec.meter_part(abi.METER_MARKED), NO_MARKS)

    def _content(self, entry: Entry) -> Content:
        if entry.reference is not None and self.profile is not None:
            return self.profile.content(entry.reference)
        assert entry.action is not None
        return self.codec.action(entry.action.name, entry.parameters)


def counted(table: Table) -> bool:
    """Whether entries have a counter."""
    return table.direct_counter


def metered(table: Table) -> bool:
    """Whether entries have a meter."""
    return table.direct_meter is not None


def ageing(table: Table) -> bool:
    """Whether entries have an idle timeout."""
    return table.idle_timeout


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


def check_resources(table: Table, message: p4r.TableEntry) -> None:
    """Refuse a write of what the table has no resource for. Raises INVALID_ARGUMENT, UNIMPLEMENTED."""
    if message.HasField("counter_data"):
        if not table.direct_counter:
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


def entry_id(table: Table, message: p4r.TableEntry) -> EntryId:
    """What names the entry of a message, which is not the default one. Raises INVALID_ARGUMENT."""
    if not table.fields:
        raise invalid(f"table {table.name!r} has no key, so it has no entries but the default one")
    if table.has_priorities and message.priority <= 0:
        raise invalid(f"table {table.name!r}: priority {message.priority} must be positive")
    if not table.has_priorities and message.priority:
        raise invalid(f"table {table.name!r} has no priorities: priority must be 0, not {message.priority}")
    return decode_key(table, message.match), message.priority


def decode_entry(state: TableState, identifier: EntryId, message: p4r.TableEntry) -> Entry:
    """The entry of a message with an action. Raises P4RuntimeError."""
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
        meter=decode_entry_meter(state.schema, message),
    )


def decode_entry_meter(table: Table, message: p4r.TableEntry) -> MeterConfig | None:
    """The configuration of an entry's direct meter. Raises INVALID_ARGUMENT."""
    if table.direct_meter is None or not message.HasField("meter_config"):
        return None
    return decode_meter(table.direct_meter, message.meter_config, f"table {table.name!r}")
