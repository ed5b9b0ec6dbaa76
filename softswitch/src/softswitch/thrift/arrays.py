"""Indirect counters and meters, and registers, over Thrift."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol, TypeVar

from softswitch.engine.meters import MeterConfig
from softswitch.thrift import rates as meter_rates
from softswitch.thrift.access import Access, View
from softswitch.thrift.definitions import bad_counter, bad_meter, bad_register, standard
from softswitch.thrift.numbers import signed, unsigned
from softswitch.thrift.parts import parts

_Result = TypeVar("_Result")

_AT_ONCE = 4096
"""Cells that are read or written between two calls of controllers."""

MAX_CELLS = 1 << 22
"""Of a register that is read as a whole: what fits into one answer."""

_Bad = Callable[[str, str], Exception]


class _Array(Protocol):
    @property
    def size(self) -> int: ...


_Kind = TypeVar("_Kind", bound=_Array)


class Counters:
    """The calls about indirect counters of service `standard`."""

    def __init__(self, access: Access) -> None:
        self._access = access

    def bm_counter_read(self, context: int, counter: str, index: int) -> Any:
        """One cell."""

        def read(view: View) -> Any:
            _check(_counters(view), counter, index, "COUNTER", bad_counter)
            ((packets, octets),) = view.engine.read_counters(counter, index, 1)
            return standard.CounterValue(octets=signed(octets), packets=signed(packets))

        return self._do(read)

    def bm_counter_write(self, context: int, counter: str, index: int, value: Any) -> None:
        """One cell."""

        def write(view: View) -> None:
            _check(_counters(view), counter, index, "COUNTER", bad_counter)
            view.engine.write_counters(counter, index, [(unsigned(value.packets), unsigned(value.octets))])

        self._do(write)

    def bm_counter_reset_all(self, context: int, counter: str) -> None:
        """All cells."""
        size = self._do(lambda view: _check(_counters(view), counter, 0, "COUNTER", bad_counter).size)

        def clear(view: View, cells: Sequence[int]) -> None:
            _check(_counters(view), counter, cells[-1], "COUNTER", bad_counter)
            view.engine.write_counters(counter, cells[0], [(0, 0)] * len(cells))

        for cells in parts(range(size), _AT_ONCE):
            self._do(partial(clear, cells=cells))

    def _do(self, work: Callable[[View], _Result]) -> _Result:
        return self._access.do(work, lambda: bad_counter("INVALID_COUNTER_NAME", "no program is loaded"))


class Meters:
    """The calls about indirect meters of service `standard`."""

    def __init__(self, access: Access) -> None:
        self._access = access

    def bm_meter_set_rates(self, context: int, meter: str, index: int, rates: Sequence[Any]) -> None:
        """One cell."""
        config = _rates(rates)

        def configure(view: View) -> None:
            _check(_meters(view), meter, index, "METER", bad_meter)
            view.engine.configure_meters(meter, index, [config])

        self._do(configure)

    def bm_meter_array_set_rates(self, context: int, meter: str, rates: Sequence[Any]) -> None:
        """All cells."""
        config = _rates(rates)
        size = self._do(lambda view: _check(_meters(view), meter, 0, "METER", bad_meter).size)

        def configure(view: View, cells: Sequence[int]) -> None:
            _check(_meters(view), meter, cells[-1], "METER", bad_meter)
            view.engine.configure_meters(meter, cells[0], [config] * len(cells))

        for cells in parts(range(size), _AT_ONCE):
            self._do(partial(configure, cells=cells))

    def bm_meter_get_rates(self, context: int, meter: str, index: int) -> list[Any]:
        """Of one cell; none where it has no rates."""

        def read(view: View) -> list[Any]:
            _check(_meters(view), meter, index, "METER", bad_meter)
            return meter_rates.encode(view.engine.read_meters(meter, index, 1)[0].config)

        return self._do(read)

    def _do(self, work: Callable[[View], _Result]) -> _Result:
        return self._access.do(work, lambda: bad_meter("INVALID_METER_NAME", "no program is loaded"))


class Registers:
    """The calls about registers of service `standard`."""

    def __init__(self, access: Access) -> None:
        self._access = access

    def bm_register_read(self, context: int, array: str, index: int) -> int:
        """One cell; of a wide one the low 64 bits."""

        def read(view: View) -> int:
            _check(view.program.registers, array, index, "REGISTER", bad_register)
            return signed(view.engine.read_registers(array, index, 1)[0])

        return self._do(read)

    def bm_register_read_all(self, context: int, array: str) -> list[int]:
        """All cells, not all of one moment."""
        size = self._size(array)
        if size > MAX_CELLS:
            reason = f"register {array!r} has {size} cells: read them one by one (at most {MAX_CELLS} at once)"
            raise bad_register("ERROR", reason)

        def read(view: View, cells: Sequence[int]) -> list[int]:
            _check(view.program.registers, array, cells[-1], "REGISTER", bad_register)
            return [signed(value) for value in view.engine.read_registers(array, cells[0], len(cells))]

        values: list[int] = []
        for cells in parts(range(size), _AT_ONCE):
            values += self._do(partial(read, cells=cells))
        return values

    def bm_register_write(self, context: int, array: str, index: int, value: int) -> None:
        """One cell."""
        self._write(array, range(index, index + 1), value)

    def bm_register_write_range(self, context: int, array: str, first: int, beyond: int, value: int) -> None:
        """The cells from `first` on that are before `beyond`."""
        if not 0 <= first <= beyond <= self._size(array):
            raise bad_register("INVALID_INDEX", f"register {array!r}: cells {first}..{beyond - 1} are not all there")
        for cells in parts(range(first, beyond), _AT_ONCE):
            self._write(array, cells, value)

    def bm_register_reset(self, context: int, array: str) -> None:
        """All cells."""
        for cells in parts(range(self._size(array)), _AT_ONCE):
            self._write(array, cells, 0)

    def _write(self, array: str, cells: Sequence[int], value: int) -> None:
        def write(view: View) -> None:
            register = _check(view.program.registers, array, cells[-1], "REGISTER", bad_register)
            view.engine.write_registers(array, cells[0], [unsigned(value, register.width)] * len(cells))

        self._do(write)

    def _size(self, array: str) -> int:
        return self._do(lambda view: _check(view.program.registers, array, 0, "REGISTER", bad_register).size)

    def _do(self, work: Callable[[View], _Result]) -> _Result:
        return self._access.do(work, lambda: bad_register("INVALID_REGISTER_NAME", "no program is loaded"))


def _counters(view: View) -> Mapping[str, Any]:
    return {name: counter for name, counter in view.program.counters.items() if counter.table is None}


def _meters(view: View) -> Mapping[str, Any]:
    return {name: meter for name, meter in view.program.meters.items() if meter.table is None}


def _check(known: Mapping[str, _Kind], name: str, index: int, what: str, bad: _Bad) -> _Kind:
    """The array that has this cell. Raises INVALID_…_NAME, INVALID_INDEX."""
    array = known.get(name)
    if array is None:
        raise bad(f"INVALID_{what}_NAME", f"there is no {what.lower()} {name!r}")
    if not 0 <= index < array.size:
        raise bad("INVALID_INDEX", f"{what.lower()} {name!r} has cells 0..{array.size - 1}, not {index}")
    return array


def _rates(rates: Sequence[Any]) -> MeterConfig:
    try:
        return meter_rates.decode(rates)
    except meter_rates.BadRates as error:
        raise bad_meter(error.code, str(error)) from error
