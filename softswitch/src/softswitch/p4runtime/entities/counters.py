"""Counters, indirect and direct (specification, "CounterEntry & DirectCounterEntry")."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from finsy.proto import p4r
from grpc import StatusCode

from softswitch.engine.abi import Array
from softswitch.engine.carry import Alike
from softswitch.p4runtime.entities.cells import by_id, cells, find, select_cells
from softswitch.p4runtime.entities.effect import Effect, nothing, only_modify
from softswitch.p4runtime.entities.table_entry import counted, encode_entry
from softswitch.p4runtime.errors import P4RuntimeError, invalid
from softswitch.p4runtime.schema import Counter

if TYPE_CHECKING:
    from softswitch.p4runtime.pipeline import Pipeline

Value = tuple[int, int]
"""Packets, bytes."""


def stage(pipeline: Pipeline, kind: int, message: p4r.CounterEntry) -> Effect:
    """Set one cell of an indirect counter, or all. Raises P4RuntimeError."""
    counter = find("counter", pipeline.schema.counters, message.counter_id)
    what = f"counter {counter.name!r}"
    only_modify(kind, what)
    where = cells(what, counter.size, message)
    engine, name = pipeline.engine, counter.name
    value = decode(message.data) if message.HasField("data") else None

    def perform() -> Callable[[], None]:
        if value is None:
            return nothing
        put_back = engine.keep_cells(Array.COUNTERS, name, where.start, len(where))
        engine.write_counters(name, where.start, [value], len(where))
        return put_back

    return Effect(perform)


def stage_direct(pipeline: Pipeline, kind: int, message: p4r.DirectCounterEntry) -> Effect:
    """Set the counter of a table entry. Raises P4RuntimeError."""
    only_modify(kind, "a direct counter")
    if message.table_entry.is_default_action:
        raise P4RuntimeError(StatusCode.UNIMPLEMENTED, "default entries have no direct counter")
    state, entry = pipeline.tables.find(message.table_entry)
    if not state.schema.direct_counter:
        raise invalid(f"table {state.schema.name!r} has no direct counter")
    engine, identifier = pipeline.engine, (entry.key, entry.priority)
    value = decode(message.data) if message.HasField("data") else None

    def put(counter: Value) -> None:
        engine.apply([state.write_counter(identifier, counter)])

    def perform() -> Callable[[], None]:
        if value is None:
            return nothing
        (before,) = engine.read_direct_counters(state.schema.name, [identifier])
        put(value)
        return nothing if before is None else lambda: put(before)

    return Effect(perform)


def select(pipeline: Pipeline, request: p4r.CounterEntry) -> Iterable[p4r.Entity]:
    """The cells that a read asks for. Raises P4RuntimeError."""

    def cell(counter: Counter, index: int, value: Value) -> p4r.Entity:
        message = p4r.CounterEntry(counter_id=counter.id, index=p4r.Index(index=index), data=encode(value))
        return p4r.Entity(counter_entry=message)

    wanted = by_id("counter", pipeline.schema.counters, request.counter_id)
    return select_cells("counter", wanted, request, pipeline.engine.take_counters, cell)


def select_direct(pipeline: Pipeline, request: p4r.DirectCounterEntry) -> Iterable[p4r.Entity]:
    """The counters of the entries that a read asks for. Raises P4RuntimeError."""
    found = pipeline.tables.select_direct(request.table_entry, "direct counter", counted)
    counters = pipeline.tables.of_entries(found, counted, pipeline.engine.read_direct_counters)

    def messages() -> Iterator[p4r.Entity]:
        for (state, entry), counter in zip(found, counters, strict=True):
            if counter is not None:
                message = encode_entry(state.schema, entry, default=False)
                message.ClearField("action")
                direct = p4r.DirectCounterEntry(table_entry=message, data=encode(counter))
                yield p4r.Entity(direct_counter_entry=direct)

    return messages()


def carry(old: Pipeline, new: Pipeline, same: Alike) -> None:
    """Give counters that the new program has in another shape what the old ones have counted, as far as it fits."""
    for counter in old.schema.counters.values():
        if counter.name in same.counters:
            continue
        for block in old.engine.used_blocks(Array.COUNTERS, counter.name, counter.size):
            values = old.engine.take_counters(counter.name, block.start, len(block))
            for index, value in zip(block, values, strict=True):
                if any(value):
                    message = p4r.CounterEntry(counter_id=counter.id, index=p4r.Index(index=index), data=encode(value))
                    stage(new, p4r.Update.MODIFY, message).perform()


def encode(value: Value) -> p4r.CounterData:
    """The message for a counter."""
    packets, octets = value
    return p4r.CounterData(packet_count=packets, byte_count=octets)


def decode(data: p4r.CounterData) -> Value:
    """What a counter is set to. Raises INVALID_ARGUMENT."""
    if data.packet_count < 0 or data.byte_count < 0:
        raise invalid("a counter cannot be negative")
    return data.packet_count, data.byte_count
