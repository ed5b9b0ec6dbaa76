"""Staging updates of entities that are no table entries: counters, meters, registers, value sets, replication, digest
configurations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from finsy.proto import p4r
from grpc import StatusCode

from softswitch.entries import DirectOperation, Exact, Lpm, MeterConfig, Ternary, ValueSetOperation
from softswitch.p4runtime import replication
from softswitch.p4runtime.data import decode
from softswitch.p4runtime.digests import DigestConfig
from softswitch.p4runtime.errors import P4RuntimeError, check_presence, invalid
from softswitch.p4runtime.keys import Key, decode_key
from softswitch.p4runtime.meters import decode_meter, refuse_marks
from softswitch.p4runtime.pipeline import Pipeline
from softswitch.p4runtime.schema import Field

_Value = TypeVar("_Value")


def _nothing() -> None:
    return None


@dataclass(frozen=True, slots=True)
class Effect:
    """A staged update. `perform` does it in the engine and returns how to undo that there; `revert` takes it out of
    the model."""

    perform: Callable[[], Callable[[], None]]
    revert: Callable[[], None] = _nothing


def cells(what: str, size: int, message: p4r.CounterEntry | p4r.MeterEntry | p4r.RegisterEntry) -> range:
    """The cells that an entry's index means: one, or all when it is unset. Raises INVALID_ARGUMENT, OUT_OF_RANGE."""
    if not message.HasField("index"):
        return range(size)
    index = message.index.index
    if index < 0:
        raise invalid(f"{what}: index {index} is negative")
    if index >= size:
        raise P4RuntimeError(StatusCode.OUT_OF_RANGE, f"{what}: index {index} is not below its size {size}")
    return range(index, index + 1)


def stage_counter(pipeline: Pipeline, kind: int, message: p4r.CounterEntry) -> Effect:
    """Set one cell of an indirect counter, or all. Raises P4RuntimeError."""
    counter = pipeline.schema.counters.get(message.counter_id)
    if counter is None:
        raise invalid(f"no counter has id {message.counter_id}")
    _only_modify(kind, f"counter {counter.name!r}")
    where = cells(f"counter {counter.name!r}", counter.size, message)
    engine, name = pipeline.engine, counter.name
    value = _counter_value(message.data) if message.HasField("data") else None

    def perform() -> Callable[[], None]:
        if value is None:
            return _nothing
        before = engine.read_counters(name, where.start, len(where))
        for index in where:
            engine.write_counter(name, index, *value)

        def undo() -> None:
            for index, old in zip(where, before, strict=True):
                engine.write_counter(name, index, *old)

        return undo

    return Effect(perform)


def stage_direct_counter(pipeline: Pipeline, kind: int, message: p4r.DirectCounterEntry) -> Effect:
    """Set the counter of a table entry. Raises P4RuntimeError."""
    _only_modify(kind, "a direct counter")
    if message.table_entry.is_default_action:
        raise P4RuntimeError(StatusCode.UNIMPLEMENTED, "default entries have no direct counter")
    state, entry = pipeline.tables.find(message.table_entry)
    table = state.schema
    if not table.direct_counter:
        raise invalid(f"table {table.name!r} has no direct counter")
    engine = pipeline.engine
    value = _counter_value(message.data) if message.HasField("data") else None

    def perform() -> Callable[[], None]:
        if value is None:
            return _nothing
        before = engine.read_direct_counters(table.name, [(entry.key, entry.priority)])[0]
        engine.write_direct_counter(table.name, entry.key, entry.priority, *value)

        def undo() -> None:
            if before is not None:
                engine.write_direct_counter(table.name, entry.key, entry.priority, *before)

        return undo

    return Effect(perform)


def stage_meter(pipeline: Pipeline, kind: int, message: p4r.MeterEntry) -> Effect:
    """Configure one cell of an indirect meter, or all. Raises P4RuntimeError."""
    meter = pipeline.schema.meters.get(message.meter_id)
    if meter is None:
        raise invalid(f"no meter has id {message.meter_id}")
    what = f"meter {meter.name!r}"
    _only_modify(kind, what)
    where = cells(what, meter.size, message)
    refuse_marks(message.counter_data)
    config = decode_meter(meter.kind, message.config, what) if message.HasField("config") else None
    clear = message.HasField("counter_data")
    engine, name = pipeline.engine, meter.name

    def perform() -> Callable[[], None]:
        before = [cell.config for cell in engine.read_meters(name, where.start, len(where))]
        engine.configure_meters(name, where.start, [config] * len(where))
        if clear:
            engine.clear_meters(name, where.start, len(where))
        return lambda: engine.configure_meters(name, where.start, before)

    return Effect(perform)


def stage_direct_meter(pipeline: Pipeline, kind: int, message: p4r.DirectMeterEntry) -> Effect:
    """Configure the meter of a table entry. Raises P4RuntimeError."""
    _only_modify(kind, "a direct meter")
    if message.table_entry.is_default_action:
        raise P4RuntimeError(StatusCode.UNIMPLEMENTED, "default entries have no direct meter")
    state, before = pipeline.tables.find(message.table_entry)
    table = state.schema
    if table.direct_meter is None:
        raise invalid(f"table {table.name!r} has no direct meter")
    refuse_marks(message.counter_data)
    config = None
    if message.HasField("config"):
        config = decode_meter(table.direct_meter, message.config, f"table {table.name!r}")
    after = replace(before, meter=config)
    identifier = before.key, before.priority
    state.entries[identifier] = after
    clear = message.HasField("counter_data")

    def put(meter: MeterConfig | None, clear: bool) -> None:
        operation = DirectOperation(table.name, *identifier, meter=meter, reset_meter=meter is None, clear_marks=clear)
        pipeline.engine.apply([operation])

    def perform() -> Callable[[], None]:
        put(config, clear)
        return lambda: put(before.meter, False)

    def revert() -> None:
        if state.entries.get(identifier) is after:
            state.entries[identifier] = before

    return Effect(perform, revert)


def stage_value_set(pipeline: Pipeline, kind: int, message: p4r.ValueSetEntry) -> Effect:
    """Give a parser value set its members. Raises P4RuntimeError."""
    value_set = pipeline.schema.value_sets.get(message.value_set_id)
    if value_set is None:
        raise invalid(f"no value set has id {message.value_set_id}")
    what = f"value set {value_set.name!r}"
    _only_modify(kind, what)
    after = tuple(decode_key(value_set, member.match) for member in message.members)
    if len(set(after)) != len(after):
        raise P4RuntimeError(StatusCode.ALREADY_EXISTS, f"{what}: two members are the same")
    if len(after) > value_set.size:
        raise P4RuntimeError(StatusCode.RESOURCE_EXHAUSTED, f"{what} has room for {value_set.size} members")
    sets, engine = pipeline.value_sets, pipeline.engine
    before = sets.get(value_set.id, ())
    sets[value_set.id] = after

    def put(members: tuple[Key, ...]) -> None:
        packed = tuple(_whole_key(value_set.fields, member) for member in members)
        engine.apply([ValueSetOperation(value_set.name, packed)])

    def perform() -> Callable[[], None]:
        put(after)
        return lambda: put(before)

    def revert() -> None:
        sets[value_set.id] = before

    return Effect(perform, revert)


def _whole_key(fields: Sequence[Field], member: Key) -> tuple[int, int]:
    """Value and mask of a member over all its fields, the first in the highest bits."""
    value = mask = 0
    for field, match in zip(fields, member, strict=True):
        ones = (1 << field.width) - 1
        part, part_mask = 0, 0
        match match:
            case Exact(number):
                part, part_mask = number, ones
            case Ternary(number, bits):
                part, part_mask = number, bits
            case Lpm(number, length):
                part, part_mask = number, ones ^ ones >> length
        value, mask = value << field.width | part, mask << field.width | part_mask
    return value, mask


def stage_register(pipeline: Pipeline, kind: int, message: p4r.RegisterEntry) -> Effect:
    """Set one cell of a register, or all. Raises P4RuntimeError."""
    register = pipeline.schema.registers.get(message.register_id)
    if register is None:
        raise invalid(f"no register has id {message.register_id}")
    _only_modify(kind, f"register {register.name!r}")
    where = cells(f"register {register.name!r}", register.size, message)
    try:
        (value,) = decode(register.type, message.data)
    except ValueError as error:
        raise invalid(f"register {register.name!r}: {error}") from error
    engine, name = pipeline.engine, register.name

    def perform() -> Callable[[], None]:
        before = engine.read_registers(name, where.start, len(where))
        for index in where:
            engine.write_register(name, index, value)

        def undo() -> None:
            for index, old in zip(where, before, strict=True):
                engine.write_register(name, index, old)

        return undo

    return Effect(perform)


def stage_replication(pipeline: Pipeline, kind: int, message: p4r.PacketReplicationEngineEntry) -> Effect:
    """Change a multicast group or clone session. Raises P4RuntimeError."""
    match message.WhichOneof("type"):
        case "multicast_group_entry":
            return _stage_group(pipeline, kind, message.multicast_group_entry)
        case "clone_session_entry":
            return _stage_session(pipeline, kind, message.clone_session_entry)
        case _:
            raise invalid("packet replication engine entry is not set")


def _stage_group(pipeline: Pipeline, kind: int, message: p4r.MulticastGroupEntry) -> Effect:
    identifier, groups, engine = message.multicast_group_id, pipeline.replication.groups, pipeline.engine
    replication.check_group_id(identifier)
    check_presence(kind, identifier in groups, f"multicast group {identifier}")

    def put(group: replication.Group | None) -> None:
        if group is None:
            engine.delete_multicast_group(identifier)
        else:
            engine.set_multicast_group(identifier, replication.native_replicas(group.replicas))

    after = None if kind == p4r.Update.DELETE else replication.decode_group(message)
    return _exchange(groups, identifier, after, put)


def _stage_session(pipeline: Pipeline, kind: int, message: p4r.CloneSessionEntry) -> Effect:
    identifier, sessions, engine = message.session_id, pipeline.replication.sessions, pipeline.engine
    replication.check_session_id(identifier)
    check_presence(kind, identifier in sessions, f"clone session {identifier}")

    def put(session: replication.Session | None) -> None:
        if session is None:
            engine.delete_clone_session(identifier)
        else:
            native = replication.native_replicas(session.replicas)
            engine.set_clone_session(identifier, native, session.packet_length)

    after = None if kind == p4r.Update.DELETE else replication.decode_session(message)
    return _exchange(sessions, identifier, after, put)


def stage_digest(pipeline: Pipeline, kind: int, message: p4r.DigestEntry) -> Effect:
    """Enable, configure or disable a digest. Raises P4RuntimeError."""
    digest = pipeline.schema.digests.get(message.digest_id)
    if digest is None:
        raise invalid(f"no digest has id {message.digest_id}")
    digests = pipeline.digests
    before = digests.configs().get(digest.id)
    check_presence(kind, before is not None, f"configuration of digest {digest.name!r}")
    config = message.config
    if min(config.max_timeout_ns, config.max_list_size, config.ack_timeout_ns) < 0:
        raise invalid(f"digest {digest.name!r}: its configuration has a negative number")

    def put(to: DigestConfig | None) -> None:
        if to is None:
            digests.disable(digest.id)
        else:
            digests.enable(digest.id, to)

    after = DigestConfig(config.max_timeout_ns, config.max_list_size, config.ack_timeout_ns)
    put(None if kind == p4r.Update.DELETE else after)
    return Effect(perform=lambda: _nothing, revert=lambda: put(before))


def _exchange(
    model: dict[int, _Value], identifier: int, after: _Value | None, put: Callable[[_Value | None], None]
) -> Effect:
    """Stage `after` (None: nothing) for `identifier` in a model whose engine side `put` sets."""
    before = model.get(identifier)

    def store(value: _Value | None) -> None:
        if value is None:
            del model[identifier]
        else:
            model[identifier] = value

    def perform() -> Callable[[], None]:
        put(after)
        return lambda: put(before)

    store(after)
    return Effect(perform, revert=lambda: store(before))


def _only_modify(kind: int, what: str) -> None:
    if kind != p4r.Update.MODIFY:
        raise invalid(f"{what} can only be modified")


def _counter_value(data: p4r.CounterData) -> tuple[int, int]:
    if data.packet_count < 0 or data.byte_count < 0:
        raise invalid("a counter cannot be negative")
    return data.packet_count, data.byte_count
