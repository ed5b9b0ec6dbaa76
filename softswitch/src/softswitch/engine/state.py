"""What a program remembers between packets (`struct ss_state`), read and written: entries of tables, members and groups
of action profiles, value sets, counters, meters and registers."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Mapping, Sequence

from softswitch.bmv2.match import Key
from softswitch.bmv2.program import CounterArray, MeterArray, RegisterArray
from softswitch.codegen.program import register_bytes
from softswitch.engine import abi
from softswitch.engine.abi import Array, Part
from softswitch.engine.compiled import Compiled
from softswitch.engine.decoding import Decoder, TableForm
from softswitch.engine.meters import NO_MARKS, Meter, MeterConfig, pack_config, unpack
from softswitch.engine.packing import TableCodec

_BLOCK = 1 << 16
"""Cells that are looked at together."""

EntryKeys = Sequence[tuple[Key, int]]
"""(key, priority) of entries of one table."""


class ProgramState:
    """The state of the program that an `Engine`, which is made of this, has loaded. Without one, calls raise
    RuntimeError."""

    def __init__(self, native: ctypes.CDLL, switch: ctypes.c_void_p) -> None:
        self._native = native
        self._switch = switch
        self._loaded: Compiled | None = None

    def clock_us(self) -> int:
        """The data plane's clock, as `ingress_global_timestamp` shows it: monotonic µs since construction, 48 bits."""
        return int(self._native.ss_clock_us(self._open()))

    def decoder(self, tables: Sequence[TableForm]) -> Decoder:
        """Takes apart WriteRequests for tables of the loaded program."""
        return Decoder(self._native, tables)

    def apply(self, operations: Sequence[bytes]) -> list[int]:
        """Do packed operations in order, the whole batch between two packets; one `abi.Result` each, 0 for success.

        A failed operation does not stop the rest.
        """
        return self.apply_packed(b"".join(operations), len(operations))

    def apply_packed(self, operations: bytes, count: int) -> list[int]:
        """The same of operations one behind the other."""
        self._running()
        return self._apply(operations, count)

    def read_counters(self, name: str, start: int, count: int) -> list[tuple[int, int]]:
        """(packets, bytes) of cells start .. start+count-1. Raises KeyError, IndexError."""
        return list(self.take_counters(name, start, count))

    def take_counters(self, name: str, start: int, count: int) -> Iterator[tuple[int, int]]:
        """The same, as they are now, unpacked when asked for."""
        data = self._cells(Array.COUNTERS, name, start, count, Part(0, abi.COUNTER.size))
        return abi.COUNTER.iter_unpack(data)

    def write_counters(self, name: str, start: int, values: Sequence[tuple[int, int]], repeat: int = 1) -> None:
        """Set cells from `start` on to (packets, bytes), `repeat` times over. Raises KeyError, IndexError."""
        data = b"".join(abi.COUNTER.pack(*value) for value in values) * repeat
        self._cells(Array.COUNTERS, name, start, len(values) * repeat, Part(0, abi.COUNTER.size), data)

    def read_meters(self, name: str, start: int, count: int) -> list[Meter]:
        """Cells start .. start+count-1 of an indirect meter. Raises KeyError, IndexError."""
        return list(self.take_meters(name, start, count))

    def take_meters(self, name: str, start: int, count: int) -> Iterator[Meter]:
        """The same, as they are now, unpacked when asked for."""
        data, size = self._cells(Array.METERS, name, start, count, abi.METER), abi.METER.length
        return (unpack(data[at : at + size]) for at in range(0, len(data), size))

    def configure_meters(self, name: str, start: int, configs: Sequence[MeterConfig | None], repeat: int = 1) -> None:
        """Configure cells of an indirect meter from `start` on, `repeat` times over; None makes all green. Raises
        KeyError, IndexError."""
        now = self.clock_us()
        data = b"".join(pack_config(config, now) for config in configs) * repeat
        self._cells(Array.METERS, name, start, len(configs) * repeat, abi.METER_CONFIG, data)

    def clear_meters(self, name: str, start: int, count: int) -> None:
        """Set what cells of an indirect meter have counted by colour to zero. Raises KeyError, IndexError."""
        self._cells(Array.METERS, name, start, count, abi.METER_MARKED, NO_MARKS * count)

    def read_registers(self, name: str, start: int, count: int) -> list[int]:
        """Values of cells start .. start+count-1. Raises KeyError, IndexError."""
        return list(self.take_registers(name, start, count))

    def take_registers(self, name: str, start: int, count: int) -> Iterator[int]:
        """The same, as they are now, unpacked when asked for."""
        size = register_bytes(self._running().program.registers[name])
        data = self._cells(Array.REGISTERS, name, start, count, Part(0, size))
        return (int.from_bytes(data[at : at + size], "little") for at in range(0, len(data), size))

    def write_registers(self, name: str, start: int, values: Sequence[int], repeat: int = 1) -> None:
        """Set cells from `start` on, `repeat` times over. Raises KeyError, IndexError, ValueError when a value does not
        fit."""
        array = self._running().program.registers[name]
        for value in values:
            if not 0 <= value < 1 << array.width:
                raise ValueError(f"register {name}: {value} does not fit {array.width} bits")
        size = register_bytes(array)
        data = b"".join(value.to_bytes(size, "little") for value in values) * repeat
        self._cells(Array.REGISTERS, name, start, len(values) * repeat, Part(0, size), data)

    def keep_cells(self, kind: Array, name: str, start: int, count: int) -> Callable[[], None]:
        """Remember what cells hold, of meters how they are configured. Returns what puts it back. Raises KeyError,
        IndexError."""
        part = self._part(kind, name)
        data = self._cells(kind, name, start, count, part)

        def put_back() -> None:
            self._cells(kind, name, start, count, part, data)

        return put_back

    def used_blocks(self, kind: Array, name: str, size: int) -> Iterator[range]:
        """The cells of an array of this size that may be something else than zero, block by block. Raises KeyError."""
        part = self._part(kind, name)
        for first in range(0, size, _BLOCK):
            block = range(first, min(first + _BLOCK, size))
            data = self._cells(kind, name, first, len(block), part)
            if data != bytes(len(data)):
                yield block

    def _part(self, kind: Array, name: str) -> Part:
        """What of a cell is a client's to set."""
        match kind:
            case Array.COUNTERS:
                return Part(0, abi.COUNTER.size)
            case Array.METERS:
                return abi.METER_CONFIG
            case Array.REGISTERS:
                return Part(0, register_bytes(self._running().program.registers[name]))

    def read_direct_counters(self, table: str, entries: EntryKeys) -> list[tuple[int, int] | None]:
        """(packets, bytes) per (key, priority); None where there is no such entry. Raises KeyError for a table
        without a direct counter."""
        codec = self._codec(table)
        found = self._entries(codec, codec.counter, entries)
        return [None if data is None else abi.COUNTER.unpack(data) for data in found]

    def read_direct_meters(self, table: str, entries: EntryKeys) -> list[Meter | None]:
        """The meter of each entry; None where there is no such entry. Raises KeyError for a table without a direct
        meter."""
        codec = self._codec(table)
        return [None if data is None else unpack(data) for data in self._entries(codec, codec.meter, entries)]

    def read_idle_us(self, table: str, entries: EntryKeys) -> list[int | None]:
        """Microseconds since each entry was hit last, or inserted; None where there is no such entry. Raises KeyError
        for a table without idle timeout."""
        codec = self._codec(table)
        found, now = self._entries(codec, codec.hit, entries), self.clock_us()
        return [None if data is None else max(now - abi.HIT.unpack(data)[0], 0) for data in found]

    def _codec(self, table: str) -> TableCodec:
        return self._running().codecs.tables[table]

    def _open(self) -> ctypes.c_void_p:
        if not self._switch:
            raise RuntimeError("the switch is closed")
        return self._switch

    def _running(self) -> Compiled:
        if self._loaded is None:
            raise RuntimeError("no program is loaded")
        return self._loaded

    def _apply(
        self,
        packed: bytes,
        count: int,
        program: ctypes.c_void_p | None = None,
        cells: ctypes.Array[ctypes.c_char] | None = None,
        cell: int = 0,
    ) -> list[int]:
        """Do packed operations, on the running program unless on `program`. What they read comes to `cells`, `cell`
        bytes for each."""
        if not count:
            return []
        results = (ctypes.c_int32 * count)()
        self._native.ss_apply(self._open(), program, packed, count, results, cells, cell)
        return list(results)

    def _entries(self, codec: TableCodec, part: Part, entries: EntryKeys) -> list[bytes | None]:
        """A part of each entry."""
        length = part.length
        cells = ctypes.create_string_buffer(max(len(entries) * length, 1))
        packed = b"".join(codec.read(key, priority, part) for key, priority in entries)
        results = self._apply(packed, len(entries), cells=cells, cell=length)
        data = cells.raw
        return [None if code else data[i * length : (i + 1) * length] for i, code in enumerate(results)]

    def _cells(self, kind: Array, name: str, start: int, count: int, part: Part, values: bytes | None = None) -> bytes:
        """Read a part of each of these cells of an array, or write `values` there. Raises KeyError, IndexError."""
        loaded, (offset, length) = self._running(), part
        numbers, arrays = _arrays(loaded, kind)
        number, size = numbers[name], arrays[name].size
        if start < 0 or count < 0 or start + count > size:
            raise IndexError(f"{name} has {size} cells, not {start}..{start + count - 1}")
        buffer = ctypes.create_string_buffer(values if values is not None else b"", max(count * length, 1))
        self._native.ss_array(self._open(), kind, values is not None, number, start, count, offset, length, buffer)
        return buffer.raw[: count * length]


def _arrays(
    loaded: Compiled, kind: Array
) -> tuple[dict[str, int], Mapping[str, CounterArray | RegisterArray | MeterArray]]:
    """The arrays of a kind: their numbers, and what they are."""
    match kind:
        case Array.COUNTERS:
            return loaded.counters, loaded.program.counters
        case Array.REGISTERS:
            return loaded.registers, loaded.program.registers
        case Array.METERS:
            return loaded.meters, loaded.program.meters
