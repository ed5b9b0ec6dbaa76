"""What Python and the runtime's C say to each other in numbers: every code, layout and limit, once.

Nothing of ours is imported here, so that generated code may be written by the same numbers. The headers in runtime/ are
the other side; a test compiles them against this module.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import NamedTuple

PRIORITIES = 8
"""Queues of a port at most."""
QUEUE_DEPTH = 64
"""Packets of a queue unless told otherwise."""
DIRECTIONS = 2
MAX_LINES = 1024
"""Ports that have queues or links."""
NEVER = 2**64 - 1
"""A time that does not come."""
NONE = 2**32 - 1
"""UINT32_MAX where a number is missing: no CPU port, no default action, a replication list to delete."""
MAX_PORTS = 1 << 16
MAX_ATTACHED = MAX_PORTS // 64
"""Ports that may have an interface at once."""
INTERFACE_BYTES = 16
"""Of an interface's name, its zero included."""
MAX_FRAME = 1 << 16
"""Bytes of the longest packet."""
WORD_BITS = 64
MAX_NUMBER_BITS = 128
"""Of a key's field or an action's parameter that the native decoder takes."""
MAX_DIGEST_VALUES = 64
DIGEST_VALUE_BYTES = 16


class Part(NamedTuple):
    """Some bytes of a structure."""

    offset: int
    length: int


class Match(IntEnum):
    """`enum ss_match`: how a table is searched."""

    EXACT = 0
    PREFIX = 1
    MASKED = 2
    RANGED = 3


class Operation(IntEnum):
    """`enum ss_operation`: what an operation does to a table, value set or action profile."""

    INSERT = 0
    MODIFY = 1
    DELETE = 2
    SET_DEFAULT = 3
    RESET_DEFAULT = 4
    READ = 5
    WRITE = 6
    CLEAR = 7
    SET_MEMBER = 8
    SET_GROUP = 9


OPERATION = struct.Struct("<IIIIiI")
"""`struct ss_op` without its words: bytes of the whole; number of the table or profile; `Operation`; action, offset or
count of members; priority, prefix length, member or group; bytes to write."""


class Result(IntEnum):
    """`enum ss_result`: what became of an operation."""

    OK = 0
    EXISTS = 1
    ABSENT = 2
    FULL = 3
    NO_MEMORY = 4


class Reference(IntEnum):
    """`enum ss_reference`: what an entry of an indirect table has in place of an action."""

    MEMBER = 0
    GROUP = 1


COUNTER = struct.Struct("<QQ")
"""`struct ss_cell`: packets, bytes."""
ENTRY_BYTES = 40
"""`struct ss_entry` without its words."""
ENTRY_COUNTER = Part(0, COUNTER.size)
HIT = struct.Struct("<Q")
"""When an entry was hit last, in microseconds of the data plane's clock."""


class MeterKind(IntEnum):
    """`enum ss_meter_kind`."""

    UNCONFIGURED = 0
    TWO_RATES = 1
    ONE_RATE = 2


METER_BUCKETS = struct.Struct("<10Q")
"""The first part of `struct ss_meter`: kind, time of the last filling, two buckets of rate, size, tokens, fraction."""
METER_MARKS = struct.Struct("<6Q")
"""The rest: packets and bytes that were marked green, yellow, red."""
METER = Part(0, METER_BUCKETS.size + METER_MARKS.size)
METER_CONFIG = Part(0, METER_BUCKETS.size)
METER_MARKED = Part(METER_BUCKETS.size, METER_MARKS.size)


class Array(IntEnum):
    """`enum ss_array`: the kinds of arrays that a program has."""

    COUNTERS = 0
    REGISTERS = 1
    METERS = 2


class Carry(IntEnum):
    """`enum ss_carry_kind`: what a new program takes over of the one before."""

    COUNTER = 0
    REGISTER = 1
    METER = 2
    COUNTED = 3
    ENTRIES = 4
    PROFILE = 5


CARRY = struct.Struct("<IIIII")
"""`struct ss_carry`: `Carry`; its number in the old and the new program; the first of its `RENUMBERED`
actions, and how many."""
RENUMBERED = struct.Struct("<II")
"""`struct ss_renumbered`: an action's number in the old and the new program."""


class Event(IntEnum):
    """`enum ss_event_type`."""

    DIGEST = 1
    PACKET_IN = 2
    PORT = 3
    LOG = 4
    TRACE = 5


EVENT = struct.Struct("<IIII")
"""`struct ss_event`: bytes of the whole, `Event`, two numbers that depend on it."""
EVENT_ROOM = 1 << 20
"""Bytes of events taken at once; more than the longest event."""
OUTPUT = struct.Struct("<II")
"""Before each packet that `ss_inject` gives: port, length."""


class Field(IntEnum):
    """`enum ss_field_kind`: how the native decoder reads a field of a key."""

    EXACT = 0
    LPM = 1
    TERNARY = 2
    RANGE = 3
    OPTIONAL = 4


ROW = struct.Struct("<QQQQ")
"""`struct ss_row` without its values: number of the table's plan, `p4.v1.Update.Type`, priority, id of the action."""


class InstanceType(IntEnum):
    """`standard_metadata.instance_type`."""

    NORMAL = 0
    INGRESS_CLONE = 1
    EGRESS_CLONE = 2
    RECIRCULATED = 4
    REPLICATED = 5
    RESUBMITTED = 6


class TraceKind(IntEnum):
    """`enum ss_trace_kind`: what a record of a trace tells."""

    CUT = 1
    PACKET = 2
    PASS = 3
    CLONE = 4
    DIGEST = 5
    RESUBMIT = 6
    MULTICAST = 7
    DROP = 8
    COPY = 9
    RECIRCULATE = 10
    OUT = 11
    FAILED = 12
    QUEUED = 13
    DEQUEUED = 14
    STATE = 15
    EXTRACT = 16
    SELECT = 17
    PARSED = 18
    CONTROL = 19
    CONDITION = 20
    TABLE = 21
    STATEMENT = 22
    CHANGE = 23
    CHECKSUMS = 24
    EMIT = 25


class Direction(IntEnum):
    """`enum ss_direction`, as the switch sees it."""

    OUT = 0
    IN = 1
