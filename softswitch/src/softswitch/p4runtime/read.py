"""Read: snapshots of what clients wrote and what the engine counted (specification, "Read RPC")."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from finsy.proto import p4r
from grpc import StatusCode

from softswitch.engine.meters import Meter
from softswitch.engine.state import EntryKeys
from softswitch.p4runtime import replication, schema
from softswitch.p4runtime.data import encode
from softswitch.p4runtime.effects import cells
from softswitch.p4runtime.errors import P4RuntimeError, invalid
from softswitch.p4runtime.keys import encode_key
from softswitch.p4runtime.meters import encode_marks, encode_meter
from softswitch.p4runtime.pipeline import Pipeline
from softswitch.p4runtime.profiles import ProfileState
from softswitch.p4runtime.schema import Counter, Register, Table, ValueSet
from softswitch.p4runtime.table_entries import Entry, TableState, encode_entry

_Array = TypeVar("_Array", Counter, schema.Meter, Register, ValueSet)
_Value = TypeVar("_Value")

MAX_MESSAGE_BYTES = 1 << 20
"""A response message is closed once it holds this much, well below gRPC's usual limit of 4 MB."""


def read(
    pipeline: Pipeline, requests: Sequence[p4r.Entity]
) -> tuple[Iterator[p4r.ReadResponse], list[P4RuntimeError | None]]:
    """Take what a batch of requests asks for. Returns the responses, in messages of bounded size and made as they
    are asked for, and one result per request, None for success.

    The responses show the state at the time of this call, whatever is written while they are consumed.
    """
    selected: list[Iterable[p4r.Entity]] = []
    errors: list[P4RuntimeError | None] = []
    for request in requests:
        try:
            selected.append(_select(pipeline, request))
            errors.append(None)
        except P4RuntimeError as error:
            errors.append(error)
    return _responses(entity for entities in selected for entity in entities), errors


def _responses(entities: Iterable[p4r.Entity]) -> Iterator[p4r.ReadResponse]:
    response, octets = p4r.ReadResponse(), 0
    for entity in entities:
        response.entities.append(entity)
        octets += entity.ByteSize()
        if octets >= MAX_MESSAGE_BYTES:
            yield response
            response, octets = p4r.ReadResponse(), 0
    if octets:
        yield response


def _select(pipeline: Pipeline, request: p4r.Entity) -> Iterable[p4r.Entity]:
    """The entities of one request. State is taken before this returns; messages are made later."""
    match request.WhichOneof("entity"):
        case "table_entry":
            return _select_table_entries(pipeline, request.table_entry)
        case "counter_entry":
            return _select_counters(pipeline, request.counter_entry)
        case "direct_counter_entry":
            return _select_direct_counters(pipeline, request.direct_counter_entry)
        case "register_entry":
            return _select_registers(pipeline, request.register_entry)
        case "packet_replication_engine_entry":
            return _select_replication(pipeline, request.packet_replication_engine_entry)
        case "digest_entry":
            return _select_digests(pipeline, request.digest_entry)
        case "action_profile_member":
            member = request.action_profile_member
            profiles = _profiles(pipeline, member.action_profile_id, member.member_id)
            return [e for profile in profiles for e in profile.select_members(member.member_id)]
        case "action_profile_group":
            group = request.action_profile_group
            profiles = _profiles(pipeline, group.action_profile_id, group.group_id)
            return [e for profile in profiles for e in profile.select_groups(group.group_id)]
        case "meter_entry":
            return _select_meters(pipeline, request.meter_entry)
        case "direct_meter_entry":
            return _select_direct_meters(pipeline, request.direct_meter_entry)
        case "value_set_entry":
            return _select_value_sets(pipeline, request.value_set_entry.value_set_id)
        case "extern_entry":
            # a program with externs is refused when it is pushed, so a wildcard read finds none
            if request.extern_entry.extern_type_id:
                raise invalid(f"no extern has id {request.extern_entry.extern_type_id}")
            return ()
        case _:
            raise invalid("entity is not set")


def _select_table_entries(pipeline: Pipeline, request: p4r.TableEntry) -> Iterable[p4r.Entity]:
    if request.table_id:
        _check_resources(pipeline.tables.state(request.table_id).schema, request)
    found = list(pipeline.tables.select(request))
    engine = pipeline.engine
    nothing: list[None] = [None] * len(found)
    counters = (
        _of_entries(found, _counted, engine.read_direct_counters) if request.HasField("counter_data") else nothing
    )
    marks = (
        _of_entries(found, _metered, engine.read_direct_meters) if request.HasField("meter_counter_data") else nothing
    )
    idle = _of_entries(found, _ageing, engine.read_idle_us) if request.HasField("time_since_last_hit") else nothing
    with_meters = request.HasField("meter_config")

    def messages() -> Iterator[p4r.Entity]:
        for (state, entry), counter, marked, idle_us in zip(found, counters, marks, idle, strict=True):
            message = encode_entry(state.schema, entry, default=request.is_default_action, meter=with_meters)
            if counter is not None:
                message.counter_data.CopyFrom(_counter_data(counter))
            if marked is not None:
                message.meter_counter_data.CopyFrom(encode_marks(marked))
            if idle_us is not None:
                message.time_since_last_hit.elapsed_ns = idle_us * 1000
            yield p4r.Entity(table_entry=message)

    return messages()


def _check_resources(table: Table, request: p4r.TableEntry) -> None:
    """Refuse to read what the table does not have."""
    if request.HasField("counter_data") and not _counted(table):
        raise invalid(f"table {table.name!r} has no direct counter")
    if (request.HasField("meter_config") or request.HasField("meter_counter_data")) and not _metered(table):
        raise invalid(f"table {table.name!r} has no direct meter")
    if request.HasField("time_since_last_hit"):
        if not _ageing(table):
            raise invalid(f"table {table.name!r} has no idle timeout")
        if request.is_default_action:
            raise invalid(f"table {table.name!r}: the default entry has no idle timeout")


def _counted(table: Table) -> bool:
    return table.direct_counter


def _metered(table: Table) -> bool:
    return table.direct_meter is not None


def _ageing(table: Table) -> bool:
    return table.idle_timeout


def _of_entries(
    found: Sequence[tuple[TableState, Entry]],
    has: Callable[[Table], bool],
    take: Callable[[str, EntryKeys], list[_Value | None]],
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


def _counter_data(value: tuple[int, int]) -> p4r.CounterData:
    packets, octets = value
    return p4r.CounterData(packet_count=packets, byte_count=octets)


def _with_direct(
    pipeline: Pipeline, wanted: p4r.TableEntry, what: str, has: Callable[[Table], bool]
) -> list[tuple[TableState, Entry]]:
    """The entries that a read of direct resources means, of tables that have such. Raises P4RuntimeError."""
    if wanted.is_default_action:
        raise P4RuntimeError(StatusCode.UNIMPLEMENTED, f"default entries have no {what}")
    if wanted.table_id:
        table = pipeline.tables.state(wanted.table_id).schema
        if not has(table):
            raise invalid(f"table {table.name!r} has no {what}")
    if wanted.match:
        return [pipeline.tables.find(wanted)]
    scope = p4r.TableEntry(table_id=wanted.table_id, priority=wanted.priority)
    return [(state, entry) for state, entry in pipeline.tables.select(scope) if has(state.schema)]


def _select_direct_counters(pipeline: Pipeline, request: p4r.DirectCounterEntry) -> Iterable[p4r.Entity]:
    found = _with_direct(pipeline, request.table_entry, "direct counter", _counted)
    counters = _of_entries(found, _counted, pipeline.engine.read_direct_counters)

    def messages() -> Iterator[p4r.Entity]:
        for (state, entry), counter in zip(found, counters, strict=True):
            if counter is not None:
                message = encode_entry(state.schema, entry, default=False)
                message.ClearField("action")
                direct = p4r.DirectCounterEntry(table_entry=message, data=_counter_data(counter))
                yield p4r.Entity(direct_counter_entry=direct)

    return messages()


def _select_direct_meters(pipeline: Pipeline, request: p4r.DirectMeterEntry) -> Iterable[p4r.Entity]:
    found = _with_direct(pipeline, request.table_entry, "direct meter", _metered)
    marks: list[Meter | None] = [None] * len(found)
    if request.HasField("counter_data"):
        marks = _of_entries(found, _metered, pipeline.engine.read_direct_meters)

    def messages() -> Iterator[p4r.Entity]:
        for (state, entry), marked in zip(found, marks, strict=True):
            message = encode_entry(state.schema, entry, default=False)
            message.ClearField("action")
            direct = p4r.DirectMeterEntry(table_entry=message)
            if entry.meter is not None:
                direct.config.CopyFrom(encode_meter(entry.meter))
            if marked is not None:
                direct.counter_data.CopyFrom(encode_marks(marked))
            yield p4r.Entity(direct_meter_entry=direct)

    return messages()


def _select_meters(pipeline: Pipeline, request: p4r.MeterEntry) -> Iterable[p4r.Entity]:
    def cell(meter: schema.Meter, index: int, value: Meter) -> p4r.Entity:
        message = p4r.MeterEntry(meter_id=meter.id, index=p4r.Index(index=index))
        if value.config is not None:
            message.config.CopyFrom(encode_meter(value.config))
        if request.HasField("counter_data"):
            message.counter_data.CopyFrom(encode_marks(value))
        return p4r.Entity(meter_entry=message)

    wanted = _by_id("meter", pipeline.schema.meters, request.meter_id)
    ranges = [cells(f"meter {meter.name!r}", meter.size, request) for meter in wanted]
    return _select_cells(wanted, ranges, pipeline.engine.read_meters, cell)


def _select_value_sets(pipeline: Pipeline, identifier: int) -> Iterable[p4r.Entity]:
    entities = []
    for value_set in _by_id("value set", pipeline.schema.value_sets, identifier):
        message = p4r.ValueSetEntry(value_set_id=value_set.id)
        for member in pipeline.value_sets.get(value_set.id, ()):
            message.members.add(match=encode_key(value_set, member))
        entities.append(p4r.Entity(value_set_entry=message))
    return entities


def _profiles(pipeline: Pipeline, identifier: int, element: int) -> Iterable[ProfileState]:
    if identifier:
        return [pipeline.tables.profile(identifier)]
    if element:
        raise invalid("a read that names no action profile cannot name a member or group")
    return pipeline.tables.profiles.values()


def _select_counters(pipeline: Pipeline, request: p4r.CounterEntry) -> Iterable[p4r.Entity]:
    def cell(counter: Counter, index: int, value: tuple[int, int]) -> p4r.Entity:
        message = p4r.CounterEntry(counter_id=counter.id, index=p4r.Index(index=index), data=_counter_data(value))
        return p4r.Entity(counter_entry=message)

    wanted = _by_id("counter", pipeline.schema.counters, request.counter_id)
    ranges = [cells(f"counter {counter.name!r}", counter.size, request) for counter in wanted]
    return _select_cells(wanted, ranges, pipeline.engine.read_counters, cell)


def _select_registers(pipeline: Pipeline, request: p4r.RegisterEntry) -> Iterable[p4r.Entity]:
    def cell(register: Register, index: int, value: int) -> p4r.Entity:
        data = encode(register.type, (value,))
        message = p4r.RegisterEntry(register_id=register.id, index=p4r.Index(index=index), data=data)
        return p4r.Entity(register_entry=message)

    wanted = _by_id("register", pipeline.schema.registers, request.register_id)
    ranges = [cells(f"register {register.name!r}", register.size, request) for register in wanted]
    return _select_cells(wanted, ranges, pipeline.engine.read_registers, cell)


def _by_id(what: str, arrays: dict[int, _Array], identifier: int) -> list[_Array]:
    """The array with this id, all for id 0. Raises INVALID_ARGUMENT."""
    if not identifier:
        return list(arrays.values())
    if identifier not in arrays:
        raise invalid(f"no {what} has id {identifier}")
    return [arrays[identifier]]


def _select_cells(
    arrays: Sequence[_Array],
    ranges: Sequence[range],
    take: Callable[[str, int, int], list[_Value]],
    message: Callable[[_Array, int, _Value], p4r.Entity],
) -> Iterable[p4r.Entity]:
    taken = [take(array.name, where.start, len(where)) for array, where in zip(arrays, ranges, strict=True)]
    return (
        message(array, index, value)
        for array, where, values in zip(arrays, ranges, taken, strict=True)
        for index, value in zip(where, values, strict=True)
    )


def _select_replication(pipeline: Pipeline, request: p4r.PacketReplicationEngineEntry) -> Iterable[p4r.Entity]:
    match request.WhichOneof("type"):
        case "multicast_group_entry":
            return replication.select_groups(pipeline.replication, request.multicast_group_entry.multicast_group_id)
        case "clone_session_entry":
            return replication.select_sessions(pipeline.replication, request.clone_session_entry.session_id)
        case _:
            raise invalid("packet replication engine entry is not set")


def _select_digests(pipeline: Pipeline, request: p4r.DigestEntry) -> Iterable[p4r.Entity]:
    configs = pipeline.digests.configs()
    if request.digest_id:
        if request.digest_id not in pipeline.schema.digests:
            raise invalid(f"no digest has id {request.digest_id}")
        if request.digest_id not in configs:
            raise P4RuntimeError(StatusCode.NOT_FOUND, f"digest {request.digest_id} is not configured")
        configs = {request.digest_id: configs[request.digest_id]}
    entities = []
    for identifier, config in configs.items():
        entry = p4r.DigestEntry(digest_id=identifier)
        entry.config.max_timeout_ns = config.max_timeout_ns
        entry.config.max_list_size = config.max_list_size
        entry.config.ack_timeout_ns = config.ack_timeout_ns
        entities.append(p4r.Entity(digest_entry=entry))
    return entities
