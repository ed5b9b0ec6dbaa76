"""Operations checked against the program and packed for the runtime."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from softswitch.bmv2.control import Action, MatchKind, Table
from softswitch.bmv2.program import Program
from softswitch.codegen.control import pack_parameters
from softswitch.codegen.table_layout import ENTRY_WORDS_AT, Match, TableLayout, longest_data
from softswitch.engine.meters import CONFIG, MARKED, METER_BYTES, NO_MARKS, pack_config
from softswitch.entries import (
    Checkable,
    DirectOperation,
    EngineOperation,
    EntryError,
    ErrorKind,
    Exact,
    GroupOperation,
    Lpm,
    MatchKey,
    MemberOperation,
    Operation,
    Optional,
    PackedOperation,
    Range,
    TableOperation,
    Ternary,
    ValueSetOperation,
)

_HEADER = struct.Struct("<IIIIiI")
_WORDS = 2**64 - 1

_OPERATIONS = {
    Operation.INSERT: 0,
    Operation.MODIFY: 1,
    Operation.DELETE: 2,
    Operation.SET_DEFAULT: 3,
    Operation.RESET_DEFAULT: 4,
}
_INSERT = _OPERATIONS[Operation.INSERT]
_READ, _WRITE, _CLEAR, _SET_MEMBER, _SET_GROUP = range(5, 10)
_MEMBER, _GROUP = 0, 1

COUNTER = (0, 16)
"""Offset and length of an entry's direct counter."""

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

    def pack_read(self, key: tuple[MatchKey, ...], priority: int, offset: int) -> bytes:
        """Read an entry's bytes from `offset` on. Raises Refused."""
        return self._bytes(_READ, offset, self._priority(key, priority), self.key(key) + [0] * self.layout.data_words)

    def pack_write(self, key: tuple[MatchKey, ...], priority: int, offset: int, data: bytes) -> bytes:
        """Write over an entry's bytes from `offset` on. Raises Refused."""
        body = self.key(key) + [0] * self.layout.data_words
        return self._bytes(_WRITE, offset, self._priority(key, priority), body, data)

    @property
    def hit(self) -> tuple[int, int]:
        """Offset and length of when an entry was hit last. Raises KeyError when the table does not keep that."""
        if not self.layout.idle:
            raise KeyError(f"table {self.table.name} has no idle timeout")
        return ENTRY_WORDS_AT + self.layout.idle_at * 8, 8

    @property
    def meter(self) -> tuple[int, int]:
        """Offset and length of an entry's meter. Raises KeyError when the table has none."""
        if not self.layout.metered:
            raise KeyError(f"table {self.table.name} has no direct meter")
        return ENTRY_WORDS_AT + self.layout.meter_at * 8, METER_BYTES

    @property
    def counter(self) -> tuple[int, int]:
        """Offset and length of an entry's counter. Raises KeyError when the table has none."""
        if self.table.counter is None:
            raise KeyError(f"table {self.table.name} has no direct counter")
        return COUNTER

    def pack_direct(self, operation: DirectOperation, now_us: int) -> list[bytes]:
        """Raises Refused, KeyError for what the table does not have."""
        writes = []
        if operation.counter is not None:
            writes.append((self.counter[0], struct.pack("<QQ", *operation.counter)))
        if operation.meter is not None or operation.reset_meter:
            writes.append((self.meter[0] + CONFIG[0], pack_config(operation.meter, now_us)))
        if operation.clear_marks:
            writes.append((self.meter[0] + MARKED[0], NO_MARKS))
        return [self.pack_write(operation.key, operation.priority, *write) for write in writes]

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
        """The entries that the program gives the table. Raises Refused."""
        by_id = {a.id: a for a in self.actions.values()}
        packed: dict[tuple[int, ...], bytes] = {}
        for entry in self.table.entries:
            data = self._padded(pack_parameters(by_id[entry.action], entry.parameters))
            key, priority = self.key(entry.key), self._priority(entry.key, entry.priority)
            if (priority, *key) in packed:
                raise _invalid(f"two entries of table {self.table.name} in the program have the same key and priority")
            packed[priority, *key] = self._bytes(_INSERT, entry.action, priority, key + data)
        return list(packed.values())

    def _bytes(self, operation: int, action: int, priority: int, words: list[int], data: bytes = b"") -> bytes:
        size = _HEADER.size + self._body.size + len(data)
        header = _HEADER.pack(size, self.number, operation, action, priority, len(data))
        return header + self._body.pack(*words) + data

    def _permit(self, kind: Operation, default: bool) -> None:
        if default:
            if self.table.const_default:
                raise Refused(ErrorKind.PERMISSION_DENIED, f"the default entry of table {self.table.name} is const")
        elif self.table.const_entries:
            raise Refused(ErrorKind.PERMISSION_DENIED, f"the entries of table {self.table.name} are const")
        elif not self.table.keys:
            raise _invalid(f"table {self.table.name} has no key: it has a default entry only")

    def _action(self, operation: TableOperation) -> tuple[int, list[int]]:
        if self.table.profile is not None:
            return self._reference(operation)
        action = self.actions.get(operation.action or "")
        if action is None:
            raise _invalid(f"table {self.table.name} has no action {operation.action!r}")
        constant = self.table.const_default_action
        if operation.operation is Operation.SET_DEFAULT and constant is not None and constant != action.id:
            raise Refused(ErrorKind.PERMISSION_DENIED, f"the default action of table {self.table.name} is const")
        return action.id, self._padded(_parameters(action, operation.parameters))

    def _reference(self, operation: TableOperation) -> tuple[int, list[int]]:
        if operation.operation is Operation.SET_DEFAULT:
            raise Refused(ErrorKind.PERMISSION_DENIED, f"the default action of table {self.table.name} is const")
        if operation.member is not None:
            return _MEMBER, [operation.member]
        if operation.group is not None:
            return _GROUP, [operation.group]
        raise _invalid(f"table {self.table.name} takes members and groups of {self.table.profile}, not actions")

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


def _parameters(action: Action, values: tuple[int, ...]) -> list[int]:
    if len(values) != len(action.parameters):
        raise _invalid(f"action {action.name} takes {len(action.parameters)} parameters, not {len(values)}")
    for parameter, value in zip(action.parameters, values, strict=True):
        if not 0 <= value < 1 << parameter.width:
            raise _invalid(f"parameter {parameter.name} of {action.name}: {value} does not fit {parameter.width} bits")
    return pack_parameters(action, values)


@dataclass(frozen=True)
class ProfileCodec:
    """Packs operations on one action profile."""

    number: int
    actions: dict[str, tuple[int, Action]]
    data_words: int

    def pack(self, operation: MemberOperation | GroupOperation) -> bytes:
        """Raises Refused."""
        if isinstance(operation, GroupOperation):
            return self._bytes(_SET_GROUP, len(operation.members), operation.group, list(operation.members))
        if operation.action not in self.actions:
            raise _invalid(f"action profile {operation.profile} has no action {operation.action!r}")
        action_number, action = self.actions[operation.action]
        words = _parameters(action, operation.parameters)
        return self._bytes(_SET_MEMBER, action_number, operation.member, words + [0] * (self.data_words - len(words)))

    def _bytes(self, operation: int, action: int, number: int, words: list[int]) -> bytes:
        body = struct.pack(f"<{len(words)}Q", *words)
        return _HEADER.pack(_HEADER.size + len(body), self.number, operation, action, number, 0) + body


@dataclass(frozen=True)
class ValueSetCodec:
    """Packs operations on one value set."""

    number: int
    words: int

    def pack(self, operation: ValueSetOperation) -> list[bytes]:
        """What empties the set and fills it again."""
        packed = [self._bytes(_CLEAR, 0, 0)]
        return packed + [self._bytes(_INSERT, value & mask, mask) for value, mask in operation.members]

    def _bytes(self, operation: int, *numbers: int) -> bytes:
        body = b"".join(number.to_bytes(self.words * 8, "little") for number in numbers)
        return _HEADER.pack(_HEADER.size + len(body), self.number, operation, 0, 0, 0) + body


@dataclass(frozen=True)
class Codecs:
    """How to pack operations on all that a program has, by full name."""

    tables: dict[str, TableCodec]
    profiles: dict[str, ProfileCodec]
    value_sets: dict[str, ValueSetCodec]

    def pack(self, operation: Checkable, now_us: int) -> list[bytes]:
        """Raises Refused, KeyError for what the program does not have."""
        match operation:
            case TableOperation():
                return [self.tables[operation.table].pack(operation)]
            case DirectOperation():
                return self.tables[operation.table].pack_direct(operation, now_us)
            case MemberOperation() | GroupOperation():
                return [self.profiles[operation.profile].pack(operation)]
            case ValueSetOperation():
                return self.value_sets[operation.value_set].pack(operation)


def codecs(program: Program, layouts: dict[str, TableLayout], value_sets: dict[str, TableLayout]) -> Codecs:
    """A codec for each table, action profile and value set."""
    tables = {
        name: TableCodec(
            number,
            program.tables[name],
            layout,
            {program.actions[a].name: program.actions[a] for a in program.tables[name].actions},
        )
        for number, (name, layout) in enumerate(layouts.items())
    }
    profiles = {}
    for number, profile in enumerate(program.profiles):
        actions = program.profile_actions(profile)
        by_name = {action.name: (place, action) for place, action in enumerate(actions)}
        profiles[profile] = ProfileCodec(number, by_name, longest_data(actions))
    sets = enumerate(value_sets.items(), start=len(layouts))
    return Codecs(tables, profiles, {name: ValueSetCodec(number, layout.words) for number, (name, layout) in sets})


def name_of(operation: EngineOperation) -> str:
    """What an operation is on, for a message."""
    match operation:
        case TableOperation() | DirectOperation() | PackedOperation():
            return f"table {operation.table}"
        case MemberOperation() | GroupOperation():
            return f"action profile {operation.profile}"
        case ValueSetOperation():
            return f"value set {operation.value_set}"


def pack_all(
    known: Codecs, operations: Sequence[EngineOperation], now_us: int
) -> tuple[bytes, list[int], list[EntryError | None]]:
    """Packed operations, the positions of what they are made from in the batch, and a result list with the refused ones
    filled in."""
    results: list[EntryError | None] = [None] * len(operations)
    packed: list[bytes] = []
    positions: list[int] = []
    for position, operation in enumerate(operations):
        if isinstance(operation, PackedOperation):
            packed.append(operation.data)
            positions.append(position)
            continue
        try:
            parts = known.pack(operation, now_us)
        except Refused as refused:
            results[position] = refused.error
        except KeyError:
            results[position] = EntryError(ErrorKind.NOT_FOUND, f"the program does not have it: {name_of(operation)}")
        else:
            packed += parts
            positions += [position] * len(parts)
    return b"".join(packed), positions, results
