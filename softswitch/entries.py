"""Values that cross the engine's border: match keys, table operations, and what the packet thread reports back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple


class Exact(NamedTuple):
    """The field equals `value`."""

    value: int


class Lpm(NamedTuple):
    """The field's first `prefix_length` bits equal those of `value`; length 0 matches everything."""

    value: int
    prefix_length: int


class Ternary(NamedTuple):
    """The field equals `value` where `mask` has ones; mask 0 matches everything."""

    value: int
    mask: int


class Range(NamedTuple):
    """The field lies between `low` and `high`, both included."""

    low: int
    high: int


@dataclass(frozen=True, slots=True)
class Optional:
    """The field equals `value`, or anything when `value` is None."""

    value: int | None


MatchKey = Exact | Lpm | Ternary | Range | Optional
"""One element of a table key. A key names every field of the table, in the table's order, don't-cares included."""


class Operation(Enum):
    """What a `TableOperation` does."""

    INSERT = "insert"
    MODIFY = "modify"
    DELETE = "delete"
    SET_DEFAULT = "set_default"
    RESET_DEFAULT = "reset_default"


@dataclass(frozen=True, slots=True)
class TableOperation:
    """One change of one table.

    `table` and `action` are full names as in the BMv2 JSON (for p4c: the P4Info `preamble.name`). `priority` is
    P4Runtime's (greater wins, from 1) and must be 0 in a table with neither ternary, range nor optional keys.
    `key` and `priority` are empty for the two default operations; `action` is None for DELETE and RESET_DEFAULT.
    """

    operation: Operation
    table: str
    key: tuple[MatchKey, ...] = ()
    priority: int = 0
    action: str | None = None
    parameters: tuple[int, ...] = ()


class PackedOperation(NamedTuple):
    """A change of table `table` that is checked and packed already, as the runtime reads it."""

    table: str
    data: bytes


class ErrorKind(Enum):
    """Why an operation failed; values are the canonical gRPC status names."""

    ALREADY_EXISTS = "ALREADY_EXISTS"
    NOT_FOUND = "NOT_FOUND"
    INVALID_ARGUMENT = "INVALID_ARGUMENT"
    RESOURCE_EXHAUSTED = "RESOURCE_EXHAUSTED"
    PERMISSION_DENIED = "PERMISSION_DENIED"


@dataclass(frozen=True, slots=True)
class EntryError:
    """Why one operation of a batch was not done. `message` names the table and the offending value."""

    kind: ErrorKind
    message: str


@dataclass(frozen=True, slots=True)
class Replica:
    """One copy that a multicast group or clone session makes: out of `port`, with `egress_rid` set to `instance`."""

    port: int
    instance: int = 0


@dataclass(frozen=True, slots=True)
class DigestEvent:
    """A `digest()` of the program: `name` as in the JSON's `learn_lists`, field values in order, unsigned."""

    name: str
    values: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PacketInEvent:
    """A packet that left through the CPU port, packet-in header first."""

    data: bytes


@dataclass(frozen=True, slots=True)
class PortEvent:
    """A port went up or down (its interface vanished, lost carrier, or came back)."""

    port: int
    interface: str
    up: bool


Event = DigestEvent | PacketInEvent | PortEvent
Replicas = Sequence[Replica | tuple[int, int]]
