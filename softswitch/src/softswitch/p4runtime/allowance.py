"""How much one call may mean: wildcards are short to write and long to answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from finsy.proto import p4r
from grpc import StatusCode

from softswitch.p4runtime.entities.cells import Array
from softswitch.p4runtime.errors import P4RuntimeError

if TYPE_CHECKING:
    from softswitch.p4runtime.pipeline import Pipeline

MAX_CELLS = 1 << 20
"""Of counters, meters and registers. A wildcard means all cells of an array."""

MAX_ENTRIES = 1 << 21
"""Of tables, to be looked at."""


class Allowance:
    """What is left of it for the other entities of a call."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._cells, self._entries = MAX_CELLS, MAX_ENTRIES

    def cells(self, entity: p4r.Entity) -> None:
        """Count the cells that an entity means. Raises RESOURCE_EXHAUSTED, which says what to ask instead."""
        schema, message = self._pipeline.schema, None
        known: Mapping[int, Array] = {}
        match entity.WhichOneof("entity"):
            case "counter_entry":
                message, known, identifier = entity.counter_entry, schema.counters, entity.counter_entry.counter_id
            case "meter_entry":
                message, known, identifier = entity.meter_entry, schema.meters, entity.meter_entry.meter_id
            case "register_entry":
                message, known, identifier = entity.register_entry, schema.registers, entity.register_entry.register_id
        if message is None or message.HasField("index"):
            return
        arrays = [array for number, array in known.items() if identifier in (0, number)]
        wanted = sum(array.size for array in arrays)
        if wanted > self._cells:
            names = " and ".join(repr(array.name) for array in arrays)
            raise P4RuntimeError(
                StatusCode.RESOURCE_EXHAUSTED,
                f"{names}: {wanted} cells, and one call may mean {MAX_CELLS} in all: name single cells by their index",
            )
        self._cells -= wanted

    def entries(self, entity: p4r.Entity) -> None:
        """Count the table entries that have to be looked at for a read. Raises as `cells` does."""
        match entity.WhichOneof("entity"):
            case "table_entry":
                wanted = entity.table_entry
            case "direct_counter_entry":
                wanted = entity.direct_counter_entry.table_entry
            case "direct_meter_entry":
                wanted = entity.direct_meter_entry.table_entry
            case _:
                return
        if wanted.match and wanted.priority:
            return
        states = self._pipeline.tables.states
        tables = [state for number, state in states.items() if wanted.table_id in (0, number)]
        count = sum(1 if wanted.match and not t.schema.has_priorities else len(t.entries) for t in tables)
        if count > self._entries:
            raise P4RuntimeError(
                StatusCode.RESOURCE_EXHAUSTED,
                f"{count} more table entries would have to be looked at, and one call may mean {MAX_ENTRIES} in all:"
                " read a table once, or name entries by key and priority",
            )
        self._entries -= count
