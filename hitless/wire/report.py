"""The report: one resource-metric header from one instance to the switch (52 bytes, big-endian).

The layout is defined by `report_h` in `p4src/headers.p4`; this codec is tested against it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace

from siphashc import siphash

MAGIC = 0x4854
VERSION = 1
SIZE = 52
"""Length of an encoded report in bytes: the whole UDP payload."""

TAGGED = 44
"""Bytes that the tag covers: everything before it."""
KEY_SIZE = 16
"""Bytes of a key."""

_READY = 0x01
_DRAINING = 0x02
_LAYOUT = struct.Struct("!HBBHHIIHHHHHHIIIB3sQ")
_NO_RESERVED = bytes(3)
_WIDTHS = {
    "service_id": 16,
    "node_id": 16,
    "epoch": 32,
    "sequence": 32,
    "cpu": 16,
    "cpu_own": 16,
    "memory": 16,
    "queue_depth": 16,
    "in_flight": 16,
    "concurrency": 16,
    "backlog": 32,
    "service_interval": 32,
    "received": 32,
    "key_id": 8,
    "tag": 64,
}


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
    key_id: int = 0
    """Key of `tag`; 0 when reports are not authenticated."""
    tag: int = 0
    """SipHash-2-4 over the bytes before this field; 0 when reports are not authenticated."""

    def encode(self) -> bytes:
        """The report as it goes on the wire.

        Raises ReportError when a value does not fit its field.
        """
        flags = (_READY if self.ready else 0) | (_DRAINING if self.draining else 0)
        try:
            return _LAYOUT.pack(
                MAGIC,
                VERSION,
                flags,
                self.service_id,
                self.node_id,
                self.epoch,
                self.sequence,
                self.cpu,
                self.cpu_own,
                self.memory,
                self.queue_depth,
                self.in_flight,
                self.concurrency,
                self.backlog,
                self.service_interval,
                self.received,
                self.key_id,
                _NO_RESERVED,
                self.tag,
            )
        except struct.error:
            raise ReportError(self._misfit()) from None

    def _misfit(self) -> str:
        for name, bits in _WIDTHS.items():
            value = getattr(self, name)
            if not isinstance(value, int) or not 0 <= value < 1 << bits:
                return f"report field {name} is {value!r}, expected an integer of 0 to {(1 << bits) - 1}"
        return "report cannot be encoded"


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
    payload = replace(report, key_id=key.id, tag=0).encode()
    return payload[:TAGGED] + tag_of(payload, key.secret).to_bytes(8)


def decode(payload: bytes | bytearray | memoryview) -> Report:
    """Read one report out of a UDP payload.

    Raises ReportError for a wrong length, magic or version, and for reserved bits that are not zero.
    """
    if len(payload) != SIZE:
        raise ReportError(f"report is {len(payload)} bytes long, expected {SIZE}")
    (
        magic,
        version,
        flags,
        service_id,
        node_id,
        epoch,
        sequence,
        cpu,
        cpu_own,
        memory,
        queue_depth,
        in_flight,
        concurrency,
        backlog,
        service_interval,
        received,
        key_id,
        reserved,
        tag,
    ) = _LAYOUT.unpack(payload)
    if magic != MAGIC:
        raise ReportError(f"report magic is {magic:#06x}, expected {MAGIC:#06x}")
    if version != VERSION:
        raise ReportError(f"report version is {version}, expected {VERSION}")
    if flags & ~(_READY | _DRAINING):
        raise ReportError(f"report flags are {flags:#04x}, expected no bits beside ready (1) and draining (2)")
    if reserved != _NO_RESERVED:
        raise ReportError(f"report reserved bytes are {reserved.hex()}, expected zeros")
    return Report(
        service_id=service_id,
        node_id=node_id,
        epoch=epoch,
        sequence=sequence,
        ready=bool(flags & _READY),
        draining=bool(flags & _DRAINING),
        cpu=cpu,
        cpu_own=cpu_own,
        memory=memory,
        queue_depth=queue_depth,
        in_flight=in_flight,
        concurrency=concurrency,
        backlog=backlog,
        service_interval=service_interval,
        received=received,
        key_id=key_id,
        tag=tag,
    )


def serial_newer(a: int, b: int) -> bool:
    """Whether 32-bit serial number `a` comes after `b` (RFC 1982, SERIAL_BITS = 32; at distance 2^31: no)."""
    return 0 < (a - b) & 0xFFFFFFFF < 0x80000000


def is_newer(epoch: int, sequence: int, than_epoch: int, than_sequence: int) -> bool:
    """Whether (epoch, sequence) is newer than the last accepted pair: what decides if a report is taken."""
    if epoch == than_epoch:
        return serial_newer(sequence, than_sequence)
    return serial_newer(epoch, than_epoch)
