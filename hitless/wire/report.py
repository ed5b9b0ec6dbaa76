"""The report: one resource-metric header from one instance to the switch, all of a UDP payload.

`report_h` in `p4src/headers.p4` defines the layout, which comes here by `hitless.words`. `Report` has a field
of the same name for each of those that are not the same in every report.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from operator import attrgetter
from typing import Final

from siphashc import siphash

from hitless.wire.layout import FieldError, Header, offset, struct_of
from hitless.words import REPORT_LAYOUT, REPORT_MAGIC, REPORT_VERSION

_HEADER = Header(REPORT_LAYOUT)
_STRUCT = struct_of(REPORT_LAYOUT)
"""The same, for the reports that a node sends all the time; in the layout's order."""
_FIXED: Final = {"magic": REPORT_MAGIC, "version": REPORT_VERSION, "reserved_flags": 0, "reserved": 0}
"""Fields that have the same value in every report."""

SIZE = _HEADER.size
"""Length of an encoded report in bytes: the whole UDP payload."""
TAGGED = offset(REPORT_LAYOUT, "tag")
"""Bytes that the tag covers: everything before it."""
KEY_SIZE = 16
"""Bytes of a key."""
BITS: Final = {name: bits for name, bits in REPORT_LAYOUT if name not in _FIXED}
"""Width of each field of a Report, in the layout's order; one bit is a bool."""
_BOOLS = tuple(name for name, bits in BITS.items() if bits == 1)
_WHOLE = attrgetter(*(name for name in BITS if name not in (*_BOOLS, "key_id", "contention", "tag")))
"""The other fields of a Report before its key."""


class ReportError(ValueError):
    """A report that cannot be encoded or decoded; the message names the field and what was expected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One instance's state as its node sees it. Shares are permille of the node's CPU or memory budget."""

    service_id: int
    node_id: int
    epoch: int
    """Start counter of the emitter, kept on disk; compared by serial arithmetic."""
    sequence: int
    """Counts the reports of one epoch; compared by serial arithmetic."""
    ready: bool
    """The instance takes new work. False: alive, keeps its flows, gets nothing new."""
    draining: bool = False
    """The instance is a last resort for new work."""
    cpu: int = 0
    """Use of the node's CPU budget by everything in it, permille."""
    cpu_own: int = 0
    """This instance's share of `cpu`, permille."""
    memory: int = 0
    """Use of the node's memory budget, permille."""
    queue_depth: int = 0
    """Requests waiting for a worker."""
    in_flight: int = 0
    """Requests being executed."""
    concurrency: int = 1
    """Requests the instance executes at a time."""
    backlog: int = 0
    """Microseconds until work arriving now would start."""
    service_interval: int = 0
    """Microseconds: EWMA of the service time divided by `concurrency`."""
    received: int = 0
    """Requests taken since the epoch began, modulo 2^32."""
    contention: int = 0
    """Permille of the time that the instance's processes wanted to run in which others kept them from it: on their
    processor, by using up the budget, or as memory or a disk had to be waited for. Who says nothing says none."""
    key_id: int = 0
    """Key of `tag`; 0 when reports are not authenticated."""
    tag: int = 0
    """SipHash-2-4 over the bytes before this field; 0 when reports are not authenticated."""

    def encode(self) -> bytes:
        """The report as it goes on the wire.

        Raises ReportError when a value does not fit its field.
        """
        return self.packed(self.key_id, self.tag)

    def packed(self, key_id: int, tag: int) -> bytes:
        """The same with another key and tag. Raises ReportError."""
        if self.ready > 1 or self.draining > 1:
            raise self._misfit()
        flags = self.draining << 1 | self.ready
        try:
            return _STRUCT.pack(REPORT_MAGIC, REPORT_VERSION, flags, *_WHOLE(self), key_id, self.contention, tag)
        except (struct.error, TypeError):
            raise self._misfit() from None

    def _misfit(self) -> ReportError:
        """What is wrong with a report whose values do not fit."""
        try:
            _HEADER.pack(_FIXED | {name: getattr(self, name) for name in BITS})
        except FieldError as error:
            return ReportError(f"report {error}")
        return ReportError("report fields are not all integers")


@dataclass(frozen=True, slots=True)
class Key:
    """A secret that an instance shares with the switches that hear it."""

    id: int
    """1 to 255; what the report names it by."""
    secret: bytes
    """`KEY_SIZE` random bytes."""

    def __post_init__(self) -> None:
        if not 1 <= self.id <= 255 or len(self.secret) != KEY_SIZE:
            raise ReportError(f"expected a key of {KEY_SIZE} bytes with an id of 1 to 255, got id {self.id!r}")

    def __repr__(self) -> str:
        # Keys must not get into logs.
        return f"Key({self.id})"


def tag_of(payload: bytes, secret: bytes) -> int:
    """The tag of an encoded report: SipHash-2-4 (Aumasson and Bernstein, 2012) of its first `TAGGED` bytes."""
    return int(siphash(secret, payload[:TAGGED]))


def tagged(report: Report, key: Key) -> bytes:
    """The report as it goes on the wire, authenticated by a key. Raises ReportError as `Report.encode` does."""
    payload = report.packed(key.id, 0)[:TAGGED]
    return payload + tag_of(payload, key.secret).to_bytes(8)


def decode(payload: bytes | bytearray | memoryview) -> Report:
    """Read one report out of a UDP payload.

    Raises ReportError for a wrong length, magic or version, and for reserved bits that are not zero.
    """
    if len(payload) != SIZE:
        raise ReportError(f"report is {len(payload)} bytes long, expected {SIZE}")
    values = _HEADER.unpack(payload)
    for name, expected in _FIXED.items():
        if values[name] != expected:
            raise ReportError(f"report field {name} is {values[name]:#x}, expected {expected:#x}")
        del values[name]
    for name in _BOOLS:
        values[name] = bool(values[name])
    return Report(**values)  # type: ignore[arg-type]
