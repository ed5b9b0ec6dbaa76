"""What a program remembers between packets (`struct ss_state`), read and written: entries of tables, members and groups
of action profiles, value sets, counters, meters and registers."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Mapping, Sequence

from softswitch.bmv2.program import CounterArray, MeterArray, RegisterArray
from softswitch.codegen.program import register_bytes
from softswitch.engine.compiled import Compiled
from softswitch.engine.meters import CONFIG, MARKED, METER_BYTES, NO_MARKS, Meter, pack_config, unpack
from softswitch.engine.operations import RESULTS, Refused, TableCodec, name_of, pack_all
from softswitch.entries import EngineOperation, EntryError, MatchKey, MeterConfig

_COUNTERS, _REGISTERS, _METERS = range(3)
_COUNTER = struct.Struct("<QQ")

EntryKeys = Sequence[tuple[tuple[MatchKey, ...], int]]
"""(key, priority) of entries of one table."""


class ProgramState:
    """The state of the program that an `Engine`, which is made of this, has loaded. Without one, calls raise
    RuntimeError."""

    def __init__(self, native: ctypes.CDLL, handle: ctypes.c_void_p) -> None:
        self._native = native
        self._handle = handle
        self._loaded: Compiled | None = None

    def clock_us(self) -> int:
        """The data plane's clock, as `ingress_global_timestamp` shows it: monotonic µs since construction, 48 bits."""
        return int(self._native.ss_clock_us(self._open()))

    def codec(self, table: str) -> TableCodec:
        """How operations on a table of the loaded program are packed. Raises KeyError."""
        return self._running().codecs.tables[table]

    def decode(
        self,
        plans: ctypes.Array[ctypes.c_uint32],
        request: bytes,
        count: int,
        op_bytes: int,
        rows: ctypes.Array[ctypes.c_char],
        row_words: int,
    ) -> bytes | None:
        """The operations, packed, of a serialized WriteRequest whose `count` updates insert plain entries into tables
        of `plans`, and what they say in `rows`; None when it is not such a request. An operation has `op_bytes` at
        most. See runtime/decode.c."""
        ops = (ctypes.c_uint64 * max(count * op_bytes // 8, 1))()
        size = self._native.ss_decode(plans, request, len(request), count, ops, ctypes.sizeof(ops), rows, row_words)
        return None if size < 0 else ctypes.string_at(ops, size)

    def apply_packed(self, operations: bytes, count: int) -> list[int]:
        """Do what `decode` packed; 0 for each operation that was done."""
        return self._apply(operations, count)

    def apply(self, operations: Sequence[EngineOperation]) -> list[EntryError | None]:
        """Do the operations in order, the whole batch between two packets; one result each, None for success.

        A failed operation does not stop the rest. Const tables give PERMISSION_DENIED, full tables RESOURCE_EXHAUSTED.
        """
        loaded = self._running()
        packed, positions, results = pack_all(loaded.codecs, operations, self.clock_us())
        for position, code in zip(positions, self._apply(packed, len(positions)), strict=True):
            if code:
                kind, message = RESULTS[code]
                results[position] = EntryError(kind, f"{name_of(operations[position])}: {message}")
        return results

    def read_counters(self, name: str, start: int, count: int) -> list[tuple[int, int]]:
        """(packets, bytes) of cells start .. start+count-1. Raises KeyError, IndexError."""
        return list(_COUNTER.iter_unpack(self._cells(_COUNTERS, name, start, count, (0, _COUNTER.size))))

    def write_counter(self, name: str, index: int, packets: int, octets: int) -> None:
        """Set one cell. Raises KeyError, IndexError."""
        self._cells(_COUNTERS, name, index, 1, (0, _COUNTER.size), _COUNTER.pack(packets, octets))

    def read_meters(self, name: str, start: int, count: int) -> list[Meter]:
        """Cells start .. start+count-1 of an indirect meter. Raises KeyError, IndexError."""
        data = self._cells(_METERS, name, start, count, (0, METER_BYTES))
        return [unpack(data[at : at + METER_BYTES]) for at in range(0, len(data), METER_BYTES)]

    def configure_meters(self, name: str, start: int, configs: Sequence[MeterConfig | None]) -> None:
        """Configure cells of an indirect meter from `start` on; None makes all green. Raises KeyError, IndexError."""
        now = self.clock_us()
        data = b"".join(pack_config(config, now) for config in configs)
        self._cells(_METERS, name, start, len(configs), CONFIG, data)

    def clear_meters(self, name: str, start: int, count: int) -> None:
        """Set what cells of an indirect meter have counted by colour to zero. Raises KeyError, IndexError."""
        self._cells(_METERS, name, start, count, MARKED, NO_MARKS * count)

    def read_registers(self, name: str, start: int, count: int) -> list[int]:
        """Values of cells start .. start+count-1. Raises KeyError, IndexError."""
        size = register_bytes(self._running().program.registers[name])
        data = self._cells(_REGISTERS, name, start, count, (0, size))
        return [int.from_bytes(data[at : at + size], "little") for at in range(0, len(data), size)]

    def write_register(self, name: str, index: int, value: int) -> None:
        """Set one cell. Raises KeyError, IndexError, ValueError when the value does not fit."""
        array = self._running().program.registers[name]
        if not 0 <= value < 1 << array.width:
            raise ValueError(f"register {name}: {value} does not fit {array.width} bits")
        size = register_bytes(array)
        self._cells(_REGISTERS, name, index, 1, (0, size), value.to_bytes(size, "little"))

    def read_direct_counters(self, table: str, entries: EntryKeys) -> list[tuple[int, int] | None]:
        """(packets, bytes) per (key, priority); None where there is no such entry. Raises KeyError for a table
        without a direct counter, ValueError for a malformed key."""
        codec = self.codec(table)
        found = self._entries(codec, codec.counter, entries)
        return [None if data is None else struct.unpack("<QQ", data) for data in found]

    def read_direct_meters(self, table: str, entries: EntryKeys) -> list[Meter | None]:
        """The meter of each entry; None where there is no such entry. Raises KeyError for a table without a direct
        meter, ValueError for a malformed key."""
        codec = self.codec(table)
        return [None if data is None else unpack(data) for data in self._entries(codec, codec.meter, entries)]

    def read_idle_us(self, table: str, entries: EntryKeys) -> list[int | None]:
        """Microseconds since each entry was hit last, or inserted; None where there is no such entry. Raises KeyError
        for a table without idle timeout, ValueError for a malformed key."""
        codec = self.codec(table)
        found, now = self._entries(codec, codec.hit, entries), self.clock_us()
        return [None if data is None else max(now - int.from_bytes(data, "little"), 0) for data in found]

    def write_direct_counter(
        self, table: str, key: tuple[MatchKey, ...], priority: int, packets: int, octets: int
    ) -> None:
        """Set an entry's counter. Raises KeyError, ValueError for a malformed key."""
        codec = self.codec(table)
        offset, _ = codec.counter
        try:
            packed = codec.pack_write(key, priority, offset, _COUNTER.pack(packets, octets))
        except Refused as refused:
            raise ValueError(str(refused)) from refused
        if self._apply(packed, 1)[0]:
            raise KeyError(f"table {table} has no such entry")

    def _open(self) -> ctypes.c_void_p:
        if not self._handle:
            raise RuntimeError("the switch is closed")
        return self._handle

    def _running(self) -> Compiled:
        if self._loaded is None:
            raise RuntimeError("no program is loaded")
        return self._loaded

    def _apply(
        self,
        packed: bytes,
        count: int,
        handle: ctypes.c_void_p | None = None,
        cells: ctypes.Array[ctypes.c_char] | None = None,
        cell: int = 0,
    ) -> list[int]:
        """Do packed operations, on the running program unless `handle` is of another one. What they read comes to
        `cells`, `cell` bytes for each."""
        if not count:
            return []
        results = (ctypes.c_int32 * count)()
        self._native.ss_apply(self._open(), handle, packed, count, results, cells, cell)
        return list(results)

    def _entries(self, codec: TableCodec, part: tuple[int, int], entries: EntryKeys) -> list[bytes | None]:
        """A part (offset, length) of each entry."""
        offset, length = part
        cells = ctypes.create_string_buffer(max(len(entries) * length, 1))
        try:
            packed = b"".join(codec.pack_read(key, priority, offset) for key, priority in entries)
        except Refused as refused:
            raise ValueError(str(refused)) from refused
        results = self._apply(packed, len(entries), cells=cells, cell=length)
        data = cells.raw
        return [None if code else data[i * length : (i + 1) * length] for i, code in enumerate(results)]

    def _cells(
        self, kind: int, name: str, start: int, count: int, part: tuple[int, int], values: bytes | None = None
    ) -> bytes:
        """Read a part (offset, length) of each of these cells of an array, or write `values` there. Raises KeyError,
        IndexError."""
        loaded, (offset, length) = self._running(), part
        numbers, arrays = _arrays(loaded, kind)
        number, size = numbers[name], arrays[name].size
        if start < 0 or count < 0 or start + count > size:
            raise IndexError(f"{name} has {size} cells, not {start}..{start + count - 1}")
        buffer = ctypes.create_string_buffer(values if values is not None else b"", max(count * length, 1))
        self._native.ss_array(self._open(), kind, values is not None, number, start, count, offset, length, buffer)
        return buffer.raw[: count * length]


def _arrays(
    loaded: Compiled, kind: int
) -> tuple[dict[str, int], Mapping[str, CounterArray | RegisterArray | MeterArray]]:
    """The arrays of a kind: their numbers, and what they are."""
    if kind == _COUNTERS:
        return loaded.counters, loaded.program.counters
    if kind == _REGISTERS:
        return loaded.registers, loaded.program.registers
    return loaded.meters, loaded.program.meters
