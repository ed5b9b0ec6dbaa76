"""Values that cross the engine's border: match keys, table operations, and what the packet thread reports back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

PORT_WIDTH = 9
"""Bits of a port in v1model."""
MAX_PORT = 2**PORT_WIDTH - 1
MAX_MULTICAST_GROUP = 2**16 - 1
"""Groups are numbered from 1."""
MAX_CLONE_SESSION = 2**15 - 1
"""Sessions are numbered from 0."""


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
    `key` and `priority` are empty for the two default operations; `action` is None for DELETE and RESET_DEFAULT. In an
    indirect table `member` or `group` stands in place of an action: a number that a MemberOperation or GroupOperation
    has set.
    """

    operation: Operation
    table: str
    key: tuple[MatchKey, ...] = ()
    priority: int = 0
    action: str | None = None
    parameters: tuple[int, ...] = ()
    member: int | None = None
    group: int | None = None


@dataclass(frozen=True, slots=True)
class MemberOperation:
    """Gives member `member` of an action profile an action. Nothing has to be undone for a member that goes."""

    profile: str
    member: int
    action: str
    parameters: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class GroupOperation:
    """Says among which members group `group` of an action profile selects: the hash modulo their count is the place of
    the one chosen."""

    profile: str
    group: int
    members: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class ValueSetOperation:
    """Gives a value set its members: (value, mask) over the whole key, its first part in the highest bits."""

    value_set: str
    members: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class MeterConfig:
    """Rates in packets or bytes a second, bursts in packets or bytes.

    A meter of two rates (RFC 2698), or with `excess_burst` of one rate (RFC 2697).
    """

    committed_rate: int
    committed_burst: int
    peak_rate: int
    peak_burst: int
    excess_burst: int | None = None


@dataclass(frozen=True, slots=True)
class DirectOperation:
    """Sets what belongs to one entry: its counter (packets, bytes), its meter, what its meter has counted to zero."""

    table: str
    key: tuple[MatchKey, ...]
    priority: int = 0
    counter: tuple[int, int] | None = None
    meter: MeterConfig | None = None
    reset_meter: bool = False
    clear_marks: bool = False


class PackedOperation(NamedTuple):
    """A change of table `table` that is checked and packed already, as the runtime reads it."""

    table: str
    data: bytes


Checkable = TableOperation | MemberOperation | GroupOperation | ValueSetOperation | DirectOperation
EngineOperation = Checkable | PackedOperation
"""What an engine does; those that are not packed it checks first."""


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
    """A port went up or down (its interface vanished, lost carrier, or came back; it was added or removed)."""

    port: int
    interface: str
    up: bool


class LostEvents(NamedTuple):
    """How many there was no room for, as nobody took them in time."""

    packet_ins: int
    digests: int
    ports: int


Event = DigestEvent | PacketInEvent | PortEvent
Replicas = Sequence[Replica | tuple[int, int]]
