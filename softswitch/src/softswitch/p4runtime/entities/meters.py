"""Meters, indirect and direct (specification, "MeterEntry & DirectMeterEntry")."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from finsy.proto import p4r
from grpc import StatusCode

from softswitch.engine.abi import Array
from softswitch.engine.carry import Alike
from softswitch.engine.meters import Meter, MeterConfig
from softswitch.p4runtime import schema
from softswitch.p4runtime.entities.cells import by_id, cells, find, select_cells
from softswitch.p4runtime.entities.effect import Effect, only_modify
from softswitch.p4runtime.entities.meter_config import decode_meter, encode_marks, encode_meter, refuse_marks
from softswitch.p4runtime.entities.table_entry import encode_entry, metered
from softswitch.p4runtime.errors import P4RuntimeError, invalid

if TYPE_CHECKING:
    from softswitch.p4runtime.pipeline import Pipeline


def stage(pipeline: Pipeline, kind: int, message: p4r.MeterEntry) -> Effect:
    """Configure one cell of an indirect meter, or all. Raises P4RuntimeError."""
    meter = find("meter", pipeline.schema.meters, message.meter_id)
    what = f"meter {meter.name!r}"
    only_modify(kind, what)
    where = cells(what, meter.size, message)
    refuse_marks(message.counter_data)
    config = decode_meter(meter.kind, message.config, what) if message.HasField("config") else None
    clear = message.HasField("counter_data")
    engine, name = pipeline.engine, meter.name

    def perform() -> Callable[[], None]:
        put_back = engine.keep_cells(Array.METERS, name, where.start, len(where))
        engine.configure_meters(name, where.start, [config], len(where))
        if clear:
            engine.clear_meters(name, where.start, len(where))
        return put_back

    return Effect(perform)


def stage_direct(pipeline: Pipeline, kind: int, message: p4r.DirectMeterEntry) -> Effect:
    """Configure the meter of a table entry. Raises P4RuntimeError."""
    only_modify(kind, "a direct meter")
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
    engine = pipeline.engine

    def put(meter: MeterConfig | None, clear: bool) -> None:
        operations = [state.write_meter(identifier, meter, engine.clock_us())]
        engine.apply([*operations, state.clear_marks(identifier)] if clear else operations)

    def perform() -> Callable[[], None]:
        put(config, clear)
        return lambda: put(before.meter, False)

    def revert() -> None:
        if state.entries.get(identifier) is after:
            state.entries[identifier] = before

    return Effect(perform, revert)


def select(pipeline: Pipeline, request: p4r.MeterEntry) -> Iterable[p4r.Entity]:
    """The cells that a read asks for. Raises P4RuntimeError."""
    with_marks = request.HasField("counter_data")

    def cell(meter: schema.Meter, index: int, value: Meter) -> p4r.Entity:
        return p4r.Entity(meter_entry=_encode(meter, index, value, with_marks=with_marks))

    wanted = by_id("meter", pipeline.schema.meters, request.meter_id)
    return select_cells("meter", wanted, request, pipeline.engine.take_meters, cell)


def select_direct(pipeline: Pipeline, request: p4r.DirectMeterEntry) -> Iterable[p4r.Entity]:
    """The meters of the entries that a read asks for. Raises P4RuntimeError."""
    found = pipeline.tables.select_direct(request.table_entry, "direct meter", metered)
    marks: list[Meter | None] = [None] * len(found)
    if request.HasField("counter_data"):
        marks = pipeline.tables.of_entries(found, metered, pipeline.engine.read_direct_meters)

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


def carry(old: Pipeline, new: Pipeline, same: Alike) -> None:
    """Configure meters that the new program has in another shape as the old ones are. Raises P4RuntimeError for what
    does not fit."""
    for meter in old.schema.meters.values():
        if meter.name in same.meters:
            continue
        for block in old.engine.used_blocks(Array.METERS, meter.name, meter.size):
            values = old.engine.take_meters(meter.name, block.start, len(block))
            for index, value in zip(block, values, strict=True):
                if value.config is not None:
                    stage(new, p4r.Update.MODIFY, _encode(meter, index, value, with_marks=False)).perform()


def _encode(meter: schema.Meter, index: int, value: Meter, *, with_marks: bool) -> p4r.MeterEntry:
    message = p4r.MeterEntry(meter_id=meter.id, index=p4r.Index(index=index))
    if value.config is not None:
        message.config.CopyFrom(encode_meter(value.config))
    if with_marks:
        message.counter_data.CopyFrom(encode_marks(value))
    return message
