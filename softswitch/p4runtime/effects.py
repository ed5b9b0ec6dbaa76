"""Staging updates of entities that are no table entries: counters, registers, replication, digest configurations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from finsy.proto import p4r
from grpc import StatusCode

from softswitch.p4runtime import replication
from softswitch.p4runtime.data import decode
from softswitch.p4runtime.digests import DigestConfig
from softswitch.p4runtime.errors import P4RuntimeError, invalid
from softswitch.p4runtime.pipeline import Pipeline

_Value = TypeVar("_Value")


def _nothing() -> None:
    return None


@dataclass(frozen=True, slots=True)
class Effect:
    """A staged update. `perform` does it in the engine and returns how to undo that there; `revert` takes it out of
    the model."""

    perform: Callable[[], Callable[[], None]]
    revert: Callable[[], None] = _nothing


def cells(what: str, size: int, message: p4r.CounterEntry | p4r.RegisterEntry) -> range:
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
    state, entry = pipeline.tables.find(message.table_entry)
    table = state.schema
    if table.direct_counter is None:
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
    replication.check_presence(kind, identifier in groups, f"multicast group {identifier}")

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
    replication.check_presence(kind, identifier in sessions, f"clone session {identifier}")

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
    replication.check_presence(kind, before is not None, f"configuration of digest {digest.name!r}")
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
