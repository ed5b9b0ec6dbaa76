"""Serialized WriteRequests, decoded and packed by the runtime (runtime/decode.c) for tables that Python describes.

Whatever is anything else than INSERT, MODIFY and DELETE of plain entries, wrong, or only unusual, it does not take.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from softswitch.bmv2.control import MatchKind
from softswitch.engine import abi
from softswitch.engine.packing import TableCodec

_KINDS = {
    MatchKind.EXACT: abi.Field.EXACT,
    MatchKind.LPM: abi.Field.LPM,
    MatchKind.TERNARY: abi.Field.TERNARY,
    MatchKind.RANGE: abi.Field.RANGE,
    MatchKind.OPTIONAL: abi.Field.OPTIONAL,
}


class KeyField(NamedTuple):
    """A field of a table's key as clients know it. `width` is in bits."""

    id: int
    kind: MatchKind
    width: int


class ActionForm(NamedTuple):
    """An action that entries of a table may have: its id to clients, its full name, its parameters' ids and widths."""

    id: int
    name: str
    parameters: Sequence[tuple[int, int]]


class TableForm(NamedTuple):
    """A table whose entries are nothing but key, priority and action."""

    id: int
    codec: TableCodec
    fields: Sequence[KeyField]
    actions: Sequence[ActionForm]


def words(width: int) -> int:
    """Of a number of this many bits in a row."""
    return (width + abi.WORD_BITS - 1) // abi.WORD_BITS


class Decoded(NamedTuple):
    """What became of a request: the operations, packed, and a row for each of its updates (`struct ss_row`)."""

    operations: bytes
    rows: Iterator[tuple[int, ...]]


class Decoder:
    """Knows some tables; a row names one by its place in `tables`. In a row's values each field of the key has its
    value and its mask (prefix length, upper end), then follow the action's data."""

    def __init__(self, native: ctypes.CDLL, tables: Sequence[TableForm]) -> None:
        self._native = native
        plans = [_plan(table) for table in tables]
        numbers = [len(plans), *(number for plan in plans for number in (len(plan) + 1, *plan))]
        self._plans = (ctypes.c_uint32 * len(numbers))(*numbers)
        self._row = struct.Struct(f"{abi.ROW.format}{max((_values(table) for table in tables), default=0)}Q")
        self._operation_bytes = max((table.codec.operation_bytes for table in tables), default=0)

    def decode(self, request: bytes, count: int) -> Decoded | None:
        """A request of `count` updates, None when a part of it is not plain."""
        rows = ctypes.create_string_buffer(count * self._row.size)
        operations = ctypes.create_string_buffer(max(count * self._operation_bytes, 1))
        size = self._native.ss_decode(
            self._plans, request, len(request), count, operations, len(operations), rows, self._row.size // 8
        )
        return None if size < 0 else Decoded(ctypes.string_at(operations, size), self._row.iter_unpack(rows))


def _values(table: TableForm) -> int:
    return 2 * sum(words(field.width) for field in table.fields) + table.codec.layout.data_words


def _plan(table: TableForm) -> list[int]:
    """`struct plan` after its first number."""
    layout, codec = table.codec.layout, table.codec
    key_values = 2 * sum(words(field.width) for field in table.fields)
    plan = [table.id, codec.number, layout.match, layout.words, layout.data_words, codec.table.has_priorities]
    plan += [key_values, len(table.fields), len(table.actions)]
    for field, pieces in zip(table.fields, layout.pieces, strict=True):
        plan += [field.id, _KINDS[field.kind], field.width, len(pieces)]
        for piece in pieces:
            plan += [piece.word, piece.shift, piece.low, piece.width]
    for action in table.actions:
        plan += [action.id, codec.actions[action.name].id, len(action.parameters)]
        for identifier, width in action.parameters:
            plan += [identifier, width]
    return plan
