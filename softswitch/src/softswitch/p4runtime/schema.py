"""What a P4Info says about one program, indexed for the server. `p4info.py` makes it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import ClassVar

from finsy.proto import p4i

from softswitch.bmv2.control import MatchKind
from softswitch.p4runtime import names
from softswitch.p4runtime.data import DataType
from softswitch.p4runtime.names import Names

MATCH_KINDS = {
    p4i.MatchField.EXACT: MatchKind.EXACT,
    p4i.MatchField.LPM: MatchKind.LPM,
    p4i.MatchField.TERNARY: MatchKind.TERNARY,
    p4i.MatchField.RANGE: MatchKind.RANGE,
    p4i.MatchField.OPTIONAL: MatchKind.OPTIONAL,
}

MAX_SIZE = 2**31 - 1
"""Of a table or an array."""


class MeterKind(Enum):
    """How a meter marks: `p4.config.v1.MeterSpec.Type`."""

    TWO_RATE_THREE_COLOR = p4i.MeterSpec.TWO_RATE_THREE_COLOR
    SINGLE_RATE_THREE_COLOR = p4i.MeterSpec.SINGLE_RATE_THREE_COLOR
    SINGLE_RATE_TWO_COLOR = p4i.MeterSpec.SINGLE_RATE_TWO_COLOR


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a table key, parameter of an action, or field of a packet header. `width` is in bits; `names` are
    those that stand for its values, if clients write text."""

    id: int
    name: str
    width: int
    kind: MatchKind = MatchKind.EXACT
    names: Names | None = None

    def decode(self, value: bytes) -> int:
        """What a client has written as a value. Raises ValueError."""
        return names.decode(self.names, value, self.width)

    def encode(self, number: int) -> bytes:
        """A value as a client reads it."""
        return names.encode(self.names, number)


@dataclass(frozen=True)
class Action:
    """An action and its parameters, in the program's order."""

    id: int
    name: str
    parameters: tuple[Field, ...]

    @cached_property
    def positions(self) -> dict[int, int]:
        """Parameter id -> place in `parameters`."""
        return {parameter.id: place for place, parameter in enumerate(self.parameters)}


@dataclass(frozen=True, slots=True)
class ActionUse:
    """How a table may use an action: in its entries, as its default."""

    action: Action
    in_entries: bool
    as_default: bool


@dataclass(frozen=True)
class Table:
    """A table: its key in the program's order, and what its entries may hold. `profile` is the id of the action profile
    of an indirect table."""

    id: int
    name: str
    fields: tuple[Field, ...]
    uses: dict[int, ActionUse]
    size: int
    const_entries: bool
    const_default: bool
    direct_counter: bool
    direct_meter: MeterKind | None
    profile: int | None
    idle_timeout: bool
    what: ClassVar[str] = "table"

    @cached_property
    def positions(self) -> dict[int, int]:
        """Match field id -> place in `fields`."""
        return {field.id: place for place, field in enumerate(self.fields)}

    @cached_property
    def has_priorities(self) -> bool:
        """Whether entries carry a priority: any ternary, range or optional field."""
        return any(f.kind in (MatchKind.TERNARY, MatchKind.RANGE, MatchKind.OPTIONAL) for f in self.fields)


@dataclass(frozen=True)
class ActionProfile:
    """What indirect tables share. `max_group_size` 0 is no limit; `weighed` tells whether sizes are sums of weights or
    of members, of which none weighs more than `max_weight` (0: no limit); `equal` members have no weights."""

    id: int
    name: str
    uses: dict[int, ActionUse]
    with_selector: bool
    size: int
    max_group_size: int
    weighed: bool
    max_weight: int
    equal: bool
    what: ClassVar[str] = "action profile"


@dataclass(frozen=True, slots=True)
class Meter:
    """An indirect meter of `size` cells."""

    id: int
    name: str
    kind: MeterKind
    size: int


@dataclass(frozen=True)
class ValueSet:
    """A parser value set: its members' fields, the first in the highest bits of the key."""

    id: int
    name: str
    fields: tuple[Field, ...]
    size: int
    what: ClassVar[str] = "value set"

    @cached_property
    def positions(self) -> dict[int, int]:
        """Match field id -> place in `fields`."""
        return {field.id: place for place, field in enumerate(self.fields)}


@dataclass(frozen=True, slots=True)
class Counter:
    """An indirect counter of `size` cells."""

    id: int
    name: str
    size: int


@dataclass(frozen=True, slots=True)
class Register:
    """A register array of `size` cells."""

    id: int
    name: str
    size: int
    type: DataType


@dataclass(frozen=True, slots=True)
class Digest:
    """A digest and the type of its messages."""

    id: int
    name: str
    type: DataType


@dataclass(frozen=True)
class Schema:
    """One program as P4Runtime clients see it. Everything but `digest_ids` is by id."""

    tables: dict[int, Table]
    actions: dict[int, Action]
    counters: dict[int, Counter]
    meters: dict[int, Meter]
    profiles: dict[int, ActionProfile]
    value_sets: dict[int, ValueSet]
    registers: dict[int, Register]
    digests: dict[int, Digest]
    packet_in: tuple[Field, ...] | None
    packet_out: tuple[Field, ...] | None

    @cached_property
    def digest_ids(self) -> dict[str, int]:
        """Digest name -> id."""
        return {digest.name: digest.id for digest in self.digests.values()}
