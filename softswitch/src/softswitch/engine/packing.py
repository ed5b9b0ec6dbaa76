"""Operations as the runtime reads them (`struct ss_op`). What is packed has been checked by whoever took it in: the
program's loader, or the P4Runtime models."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from softswitch.bmv2.control import Action, Table
from softswitch.bmv2.match import Key, Lpm
from softswitch.bmv2.program import Program
from softswitch.codegen.control import pack_parameters
from softswitch.codegen.table_layout import TableLayout, longest_data
from softswitch.engine import abi
from softswitch.engine.abi import Match, Operation, Part, Reference


class Content(NamedTuple):
    """What an entry does: the number of an action with its data, or what it refers to in an action profile."""

    number: int
    data: Sequence[int]


def member(number: int) -> Content:
    """The content of an entry that refers to a member of an action profile."""
    return Content(Reference.MEMBER, [number])


def group(number: int) -> Content:
    """The content of an entry that refers to a group of an action profile."""
    return Content(Reference.GROUP, [number])


@dataclass
class TableCodec:
    """Packs operations on one table."""

    number: int
    table: Table
    layout: TableLayout
    actions: dict[str, Action]
    key_words: int = field(init=False)
    """Of a key and, unless the table is exact, its mask."""
    _body: struct.Struct = field(init=False)

    def __post_init__(self) -> None:
        self.key_words = self.layout.words * (1 if self.layout.match is Match.EXACT else 2)
        self._body = struct.Struct(f"<{self.key_words + self.layout.data_words}Q")
        self._ones = [(1 << key.width) - 1 for key in self.table.keys]

    @property
    def operation_bytes(self) -> int:
        """Of an operation that writes nothing behind its words."""
        return abi.OPERATION.size + self._body.size

    def action(self, name: str, parameters: Sequence[int]) -> Content:
        """The content of an entry of a direct table."""
        action = self.actions[name]
        return Content(action.id, pack_parameters(action, parameters))

    def entry(self, operation: Operation, key: Key, priority: int, content: Content = Content(0, ())) -> bytes:  # noqa: B008
        """INSERT, MODIFY or DELETE an entry."""
        return self._pack(operation, content.number, self._priority(key, priority), self._key(key), content.data)

    def default(self, content: Content) -> bytes:
        """Set the default entry."""
        return self._pack(Operation.SET_DEFAULT, content.number, 0, (), content.data)

    def reset_default(self) -> bytes:
        """Bring the program's default entry back."""
        return self._pack(Operation.RESET_DEFAULT, 0, 0, (), ())

    def read(self, key: Key, priority: int, part: Part) -> bytes:
        """Read a part of an entry."""
        return self._pack(Operation.READ, part.offset, self._priority(key, priority), self._key(key), ())

    def write(self, key: Key, priority: int, part: Part, data: bytes) -> bytes:
        """Write over a part of an entry."""
        return self._pack(Operation.WRITE, part.offset, self._priority(key, priority), self._key(key), (), data)

    @property
    def counter(self) -> Part:
        """An entry's counter. Raises KeyError when the table has none."""
        if self.table.counter is None:
            raise KeyError(f"table {self.table.name} has no direct counter")
        return abi.ENTRY_COUNTER

    @property
    def hit(self) -> Part:
        """When an entry was hit last. Raises KeyError when the table does not keep that."""
        if not self.layout.idle:
            raise KeyError(f"table {self.table.name} has no idle timeout")
        return self._words_from(self.layout.idle_at, abi.HIT.size)

    @property
    def meter(self) -> Part:
        """An entry's meter. Raises KeyError when the table has none."""
        if not self.layout.metered:
            raise KeyError(f"table {self.table.name} has no direct meter")
        return self._words_from(self.layout.meter_at, abi.METER.length)

    def meter_part(self, part: Part) -> Part:
        """A part of an entry's meter. Raises KeyError when the table has none."""
        return Part(self.meter.offset + part.offset, part.length)

    def initial(self) -> list[bytes]:
        """The default action and the entries that the program gives the table. Raises ValueError for two entries that
        are one."""
        by_id = {action.id: action for action in self.actions.values()}
        default = self.table.default_action
        nothing = Content(abi.NONE, ())
        packed = [self.default(nothing if default is None else self._of(by_id[default], self.table.default_parameters))]
        seen = set()
        for entry in self.table.entries:
            if (entry.key, entry.priority) in seen:
                raise ValueError(
                    f"two entries of table {self.table.name} in the program have the same key and priority"
                )
            seen.add((entry.key, entry.priority))
            content = self._of(by_id[entry.action], entry.parameters)
            packed.append(self.entry(Operation.INSERT, entry.key, entry.priority, content))
        return packed

    @staticmethod
    def _of(action: Action, parameters: Sequence[int]) -> Content:
        return Content(action.id, pack_parameters(action, parameters))

    @staticmethod
    def _words_from(word: int, length: int) -> Part:
        return Part(abi.ENTRY_BYTES + word * (abi.WORD_BITS // 8), length)

    def _priority(self, key: Key, priority: int) -> int:
        """In a table of prefixes the longest wins."""
        if self.layout.match is Match.PREFIX:
            return next((match.prefix_length for match in key if isinstance(match, Lpm)), 0)
        return priority

    def _key(self, key: Key) -> list[int]:
        values, masks = [0] * self.layout.words, [0] * self.layout.words
        for match, ones, pieces in zip(key, self._ones, self.layout.pieces, strict=True):
            value, mask = match.bounds(ones)
            for piece in pieces:
                bits = (1 << piece.width) - 1
                values[piece.word] |= (value >> piece.low & bits) << piece.shift
                masks[piece.word] |= (mask >> piece.low & bits) << piece.shift
        return values if self.layout.match is Match.EXACT else values + masks

    def _pack(
        self,
        operation: Operation,
        number: int,
        priority: int,
        key: Sequence[int],
        data: Sequence[int],
        written: bytes = b"",
    ) -> bytes:
        words = [*(key or [0] * self.key_words), *data, *[0] * (self.layout.data_words - len(data))]
        size = self.operation_bytes + len(written)
        header = abi.OPERATION.pack(size, self.number, operation, number, priority, len(written))
        return header + self._body.pack(*words) + written


@dataclass(frozen=True)
class ProfileCodec:
    """Packs operations on one action profile. `actions` has for each name the number by which members know it."""

    number: int
    actions: dict[str, tuple[int, Action]]
    data_words: int

    def member(self, member: int, action: str, parameters: Sequence[int]) -> bytes:
        """Give a member an action. Nothing has to be undone for a member that goes."""
        number, known = self.actions[action]
        words = pack_parameters(known, parameters)
        return self._pack(Operation.SET_MEMBER, number, member, words + [0] * (self.data_words - len(words)))

    def group(self, group: int, members: Sequence[int]) -> bytes:
        """Say among which members a group selects: the hash modulo their count is the place of the one chosen."""
        return self._pack(Operation.SET_GROUP, len(members), group, members)

    def _pack(self, operation: Operation, action_or_count: int, number: int, words: Sequence[int]) -> bytes:
        body = struct.pack(f"<{len(words)}Q", *words)
        size = abi.OPERATION.size + len(body)
        return abi.OPERATION.pack(size, self.number, operation, action_or_count, number, 0) + body


@dataclass(frozen=True)
class ValueSetCodec:
    """Packs operations on one value set."""

    number: int
    words: int

    def members(self, members: Iterable[tuple[int, int]]) -> list[bytes]:
        """Empty the set and fill it again: (value, mask) over the whole key, its first part in the highest bits."""
        cleared = self._pack(Operation.CLEAR, 0, 0)
        return [cleared, *(self._pack(Operation.INSERT, value, mask) for value, mask in members)]

    def _pack(self, operation: Operation, value: int, mask: int) -> bytes:
        body = b"".join(number.to_bytes(self.words * abi.WORD_BITS // 8, "little") for number in (value, mask))
        return abi.OPERATION.pack(abi.OPERATION.size + len(body), self.number, operation, 0, 0, 0) + body


@dataclass(frozen=True)
class Codecs:
    """How to pack operations on all that a program has, by full name."""

    tables: dict[str, TableCodec]
    profiles: dict[str, ProfileCodec]
    value_sets: dict[str, ValueSetCodec]


def codecs(program: Program, layouts: dict[str, TableLayout], value_sets: dict[str, TableLayout]) -> Codecs:
    """A codec for each table, action profile and value set. The runtime numbers value sets after the tables."""
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
