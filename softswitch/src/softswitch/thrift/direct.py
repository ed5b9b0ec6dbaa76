"""Counters and meters of table entries over Thrift."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from finsy.proto import p4r

from softswitch.p4runtime.entities.meter_config import encode_meter
from softswitch.p4runtime.entities.table_entry import TableState, encode_entry
from softswitch.p4runtime.keys import EntryId
from softswitch.thrift import rates as meter_rates
from softswitch.thrift.access import Access, View
from softswitch.thrift.definitions import bad_table, codes, standard
from softswitch.thrift.numbers import signed, unsigned
from softswitch.thrift.parts import parts
from softswitch.thrift.tables import AT_ONCE, find

_Result = TypeVar("_Result")


class DirectResources:
    """The calls about direct counters and meters of service `standard`."""

    def __init__(self, access: Access) -> None:
        self._access = access

    def bm_mt_read_counter(self, context: int, table: str, handle: int) -> Any:
        """Of one entry."""

        def read(view: View) -> Any:
            state = _counted(view, table)
            (counter,) = view.engine.read_direct_counters(table, [find(view, state, handle)])
            packets, octets = counter or (0, 0)
            return standard.CounterValue(octets=signed(octets), packets=signed(packets))

        return self._do(read)

    def bm_mt_write_counter(self, context: int, table: str, handle: int, value: Any) -> None:
        """Of one entry."""

        def write(view: View) -> None:
            state = _counted(view, table)
            counter = unsigned(value.packets), unsigned(value.octets)
            view.engine.apply([state.write_counter(find(view, state, handle), counter)])

        self._do(write)

    def bm_mt_reset_counters(self, context: int, table: str) -> None:
        """Of all entries."""

        def reset(view: View, entries: Sequence[EntryId]) -> None:
            state = _counted(view, table)
            view.engine.apply([state.write_counter(each, (0, 0)) for each in entries if each in state.entries])

        for entries in parts(self._do(lambda view: list(_counted(view, table).entries)), AT_ONCE):
            self._do(partial(reset, entries=entries))

    def bm_mt_set_meter_rates(self, context: int, table: str, handle: int, rates: Sequence[Any]) -> None:
        """Of one entry."""
        try:
            config = meter_rates.decode(rates)
        except meter_rates.BadRates as error:
            raise bad_table("INVALID_METER_OPERATION", str(error)) from error

        def write(view: View) -> None:
            state, identifier = _metered(view, table, handle)
            message = encode_entry(state.schema, state.entries[identifier], default=False)
            message.ClearField("action")
            message.is_const = False
            direct = p4r.DirectMeterEntry(table_entry=message, config=encode_meter(config))
            with codes(lambda _, reason: bad_table("INVALID_METER_OPERATION", reason), {}):
                view.write(p4r.Update.MODIFY, p4r.Entity(direct_meter_entry=direct))

        self._do(write)

    def bm_mt_get_meter_rates(self, context: int, table: str, handle: int) -> list[Any]:
        """Of one entry; none where it has no rates."""

        def read(view: View) -> list[Any]:
            state, identifier = _metered(view, table, handle)
            return meter_rates.encode(state.entries[identifier].meter)

        return self._do(read)

    def _do(self, work: Callable[[View], _Result]) -> _Result:
        return self._access.do(work, lambda: bad_table("INVALID_TABLE_NAME", "no program is loaded"))


def _counted(view: View, name: str) -> TableState:
    state = view.table(name)
    if not state.schema.direct_counter:
        raise bad_table("COUNTERS_DISABLED", f"table {name!r} has no direct counter")
    return state


def _metered(view: View, name: str, handle: int) -> tuple[TableState, EntryId]:
    state = view.table(name)
    if state.schema.direct_meter is None:
        raise bad_table("METERS_DISABLED", f"table {name!r} has no direct meter")
    return state, find(view, state, handle)
