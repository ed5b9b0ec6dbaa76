"""Table operations checked against the program and packed for the runtime."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from softswitch.bmv2.program import Action, MatchKind, Program, Table
from softswitch.codegen.control import pack_parameters
from softswitch.entries import (
    EntryError,
    ErrorKind,
    Exact,
    Lpm,
    MatchKey,
    Operation,
    Optional,
    PackedOperation,
    Range,
    TableOperation,
    Ternary,
)
from softswitch.table_layout import Match, TableLayout

_HEADER = struct.Struct("<IIIIiI")
_WORDS = 2**64 - 1

_OPERATIONS = {
    Operation.INSERT: 0,
    Operation.MODIFY: 1,
    Operation.DELETE: 2,
    Operation.SET_DEFAULT: 3,
    Operation.RESET_DEFAULT: 4,
}
READ_COUNTER, WRITE_COUNTER = 5, 6

RESULTS: dict[int, tuple[ErrorKind, str]] = {
    1: (ErrorKind.ALREADY_EXISTS, "an entry with this key and priority exists"),
    2: (ErrorKind.NOT_FOUND, "no entry has this key and priority"),
    3: (ErrorKind.RESOURCE_EXHAUSTED, "the table is full"),
    4: (ErrorKind.RESOURCE_EXHAUSTED, "out of memory"),
}
"""`enum ss_result` of runtime/table.h."""


class Refused(Exception):
    """An operation that the runtime never sees."""

    def __init__(self, kind: ErrorKind, message: str) -> None:
        super().__init__(message)
        self.error = EntryError(kind, message)


def _invalid(message: str) -> Refused:
    return Refused(ErrorKind.INVALID_ARGUMENT, message)


@dataclass
class TableCodec:
    """Packs operations on one table."""

    number: int
    table: Table
    layout: TableLayout
    actions: dict[str, Action]
    _fields: list[Callable[[MatchKey], tuple[int, int]]] = field(init=False)
    _body: struct.Struct = field(init=False)

    def __post_init__(self) -> None:
        masks = 0 if self.layout.match is Match.EXACT else self.layout.words
        self._fields = [self._field(position) for position in range(len(self.table.keys))]
        self._body = struct.Struct(f"<{self.layout.words + masks + self.layout.data_words}Q")

    def pack(self, operation: TableOperation) -> bytes:
        """Raises Refused."""
        kind = operation.operation
        default = kind in (Operation.SET_DEFAULT, Operation.RESET_DEFAULT)
        self._permit(kind, default)
        action, data = 0, [0] * self.layout.data_words
        if kind in (Operation.INSERT, Operation.MODIFY, Operation.SET_DEFAULT):
            action, data = self._action(operation)
        key = [0] * (self._body.size // 8 - self.layout.data_words) if default else self.key(operation.key)
        if not default:
            self._check_priority(operation.priority)
        return self._bytes(_OPERATIONS[kind], action, self._priority(operation.key, operation.priority), key + data)

    def pack_counter(self, operation: int, key: tuple[MatchKey, ...], priority: int) -> bytes:
        """READ_COUNTER or WRITE_COUNTER of an entry. Raises Refused."""
        body = self.key(key) + [0] * self.layout.data_words
        return self._bytes(operation, 0, self._priority(key, priority), body)

    def pack_program_default(self) -> bytes:
        """The default action that the program gives the table."""
        default = self.table.default_action
        if default is None:
            return self._bytes(_OPERATIONS[Operation.SET_DEFAULT], 2**32 - 1, 0, [0] * (self._body.size // 8))
        action = next(a for a in self.actions.values() if a.id == default)
        data = self._padded(pack_parameters(action, self.table.default_parameters))
        key = [0] * (self._body.size // 8 - self.layout.data_words)
        return self._bytes(_OPERATIONS[Operation.SET_DEFAULT], default, 0, key + data)

    def pack_const_entries(self) -> list[bytes]:
        """The entries that the program gives the table."""
        by_id = {a.id: a for a in self.actions.values()}
        packed = []
        for entry in self.table.entries:
            data = self._padded(pack_parameters(by_id[entry.action], entry.parameters))
            priority = self._priority(entry.key, entry.priority)
            packed.append(self._bytes(0, entry.action, priority, self.key(entry.key) + data))
        return packed

    def _bytes(self, operation: int, action: int, priority: int, words: list[int]) -> bytes:
        size = _HEADER.size + self._body.size
        return _HEADER.pack(size, self.number, operation, action, priority, 0) + self._body.pack(*words)

    def _permit(self, kind: Operation, default: bool) -> None:
        if default:
            if self.table.const_default:
                raise Refused(ErrorKind.PERMISSION_DENIED, f"the default entry of table {self.table.name} is const")
        elif self.table.const_entries:
            raise Refused(ErrorKind.PERMISSION_DENIED, f"the entries of table {self.table.name} are const")
        elif not self.table.keys:
            raise _invalid(f"table {self.table.name} has no key: it has a default entry only")

    def _action(self, operation: TableOperation) -> tuple[int, list[int]]:
        action = self.actions.get(operation.action or "")
        if action is None:
            raise _invalid(f"table {self.table.name} has no action {operation.action!r}")
        constant = self.table.const_default_action
        if operation.operation is Operation.SET_DEFAULT and constant is not None and constant != action.id:
            raise Refused(ErrorKind.PERMISSION_DENIED, f"the default action of table {self.table.name} is const")
        if len(operation.parameters) != len(action.parameters):
            raise _invalid(
                f"action {action.name} takes {len(action.parameters)} parameters, not {len(operation.parameters)}"
            )
        for parameter, value in zip(action.parameters, operation.parameters, strict=True):
            if not 0 <= value < 1 << parameter.width:
                raise _invalid(
                    f"parameter {parameter.name} of {action.name}: {value} does not fit {parameter.width} bits"
                )
        return action.id, self._padded(pack_parameters(action, operation.parameters))

    def _padded(self, words: list[int]) -> list[int]:
        return words + [0] * (self.layout.data_words - len(words))

    def _check_priority(self, priority: int) -> None:
        if self.table.has_priorities and not 0 < priority < 2**31:
            raise _invalid(f"entries of table {self.table.name} need a priority from 1 to 2^31-1, not {priority}")
        if not self.table.has_priorities and priority:
            raise _invalid(f"entries of table {self.table.name} have no priority, but {priority} was given")

    def _priority(self, key: tuple[MatchKey, ...], priority: int) -> int:
        if self.layout.match is Match.PREFIX:
            return next((k.prefix_length for k in key if isinstance(k, Lpm)), 0)
        return priority

    def key(self, key: tuple[MatchKey, ...]) -> list[int]:
        """Key words, then mask words unless the table is exact. Raises Refused."""
        if len(key) != len(self._fields):
            raise _invalid(f"a key of table {self.table.name} has {len(self._fields)} fields, not {len(key)}")
        values, masks = [0] * self.layout.words, [0] * self.layout.words
        for match, convert, pieces in zip(key, self._fields, self.layout.pieces, strict=True):
            value, mask = convert(match)
            for piece in pieces:
                ones = (1 << piece.width) - 1
                values[piece.word] |= (value >> piece.low & ones) << piece.shift
                masks[piece.word] |= (mask >> piece.low & ones) << piece.shift
        return values if self.layout.match is Match.EXACT else values + masks

    def _field(self, position: int) -> Callable[[MatchKey], tuple[int, int]]:
        """Converts one key field to value and mask (low and high of a range)."""
        key = self.table.keys[position]
        ones = (1 << key.width) - 1
        where = f"key field {key.name} of table {self.table.name}"

        def fit(value: int) -> int:
            if not 0 <= value <= ones:
                raise _invalid(f"{where}: {value} does not fit {key.width} bits")
            return value

        def convert(match: MatchKey) -> tuple[int, int]:
            if isinstance(match, Exact) and key.kind is not MatchKind.RANGE:
                return fit(match.value), ones
            if isinstance(match, Lpm) and key.kind is MatchKind.LPM:
                if not 0 <= match.prefix_length <= key.width:
                    raise _invalid(f"{where}: prefix length {match.prefix_length} of {key.width} bits")
                mask = ones >> (key.width - match.prefix_length) << (key.width - match.prefix_length)
                return self._masked(where, fit(match.value), mask), mask
            if isinstance(match, Ternary) and key.kind in (MatchKind.TERNARY, MatchKind.OPTIONAL):
                return self._masked(where, fit(match.value), fit(match.mask)), match.mask
            if isinstance(match, Optional) and key.kind in (MatchKind.TERNARY, MatchKind.OPTIONAL):
                return (0, 0) if match.value is None else (fit(match.value), ones)
            if isinstance(match, Range) and key.kind is MatchKind.RANGE:
                if match.low > match.high:
                    raise _invalid(f"{where}: range {match.low}..{match.high} is empty")
                return fit(match.low), fit(match.high)
            raise _invalid(f"{where}: {type(match).__name__} for a match of kind {key.kind.value}")

        return convert

    @staticmethod
    def _masked(where: str, value: int, mask: int) -> int:
        if value & ~mask:
            raise _invalid(f"{where}: value {value:#x} has bits outside its mask {mask:#x}")
        return value


def codecs(program: Program, layouts: dict[str, TableLayout]) -> dict[str, TableCodec]:
    """A codec for each table, by full name."""
    return {
        name: TableCodec(
            number,
            program.tables[name],
            layout,
            {program.actions[a].name: program.actions[a] for a in program.tables[name].actions},
        )
        for number, (name, layout) in enumerate(layouts.items())
    }


def pack_all(
    table_codecs: dict[str, TableCodec], operations: Sequence[TableOperation | PackedOperation]
) -> tuple[bytes, list[int], list[EntryError | None]]:
    """Packed operations, the positions they have in the batch, and a result list with the refused ones filled in."""
    results: list[EntryError | None] = [None] * len(operations)
    packed, positions = [], []
    for position, operation in enumerate(operations):
        if isinstance(operation, PackedOperation):
            packed.append(operation.data)
            positions.append(position)
            continue
        codec = table_codecs.get(operation.table)
        if codec is None:
            results[position] = EntryError(ErrorKind.NOT_FOUND, f"the program has no table {operation.table!r}")
            continue
        try:
            packed.append(codec.pack(operation))
        except Refused as refused:
            results[position] = refused.error
            continue
        positions.append(position)
    return b"".join(packed), positions, results
