"""Affinity: the bounded two-way store that keeps a flow, or a request in several datagrams, on its instance.

In the program: affinity.p4. A key stands in one of two slots, by either of two hashes, or nowhere; an entry is replaced
only when it has expired.
"""

import zlib
from dataclasses import dataclass

from hitless.steering.arithmetic import elapsed
from hitless.steering.words import CLOSING_AFTER, FLOWS_PER_WAY, HANDSHAKE_AFTER, FlowState


@dataclass(frozen=True, slots=True)
class Segment:
    """What steering sees of a TCP header."""

    syn: bool = False
    ack: bool = False
    ends: bool = False
    """FIN or RST."""


@dataclass(frozen=True, slots=True)
class Work:
    """A packet to a service, as affinity sees it."""

    key: bytes
    """Of the flow or request: the service's index, the protocol, and what tells it from others; 14 bytes."""
    starts: bool = True
    """It may start a flow: a SYN, a datagram, a fragment of a request; not a segment in mid-flow, nor an answer."""
    segment: Segment | None = None
    """For TCP."""
    quoted: bool = False
    """It is an ICMP error about a packet of the flow: no sign of life, and no new work."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A slot's content."""

    key: bytes = b""
    state: FlowState = FlowState.FREE
    member: int = 0
    generation: int = 0
    seen: int = 0
    """When a packet of the flow was last steered (µs)."""

    def live(self, now: int, idle_after: int) -> bool:
        """Whether it has not expired: then nobody may replace it."""
        keep = {FlowState.OPENING: HANDSHAKE_AFTER, FlowState.CLOSING: CLOSING_AFTER}.get(self.state, idle_after)
        return self.state is not FlowState.FREE and elapsed(now, self.seen) <= keep


FREE = Entry()


@dataclass(frozen=True, slots=True)
class Lookup:
    """What the store says of a packet."""

    slot: int | None = None
    """Where its entry is, or may be written; None: it gets none."""
    entry: Entry | None = None
    """The entry it found."""


class FlowStore:
    """The flows that one switch remembers."""

    def __init__(self) -> None:
        self._slots: dict[int, Entry] = {}

    def find(self, now: int, work: Work, idle_after: int) -> Lookup:
        """The packet's own entry; else, if it may start a flow, a slot that is free or expired; else nothing."""
        slots = slots_of(work.key)
        entries = [self._slots.get(slot, FREE) for slot in slots]
        for slot, entry in zip(slots, entries, strict=True):
            if entry.state is not FlowState.FREE and entry.key == work.key:
                return Lookup(slot, entry)
        if work.starts:
            for slot, entry in zip(slots, entries, strict=True):
                if not entry.live(now, idle_after):
                    return Lookup(slot)
        return Lookup()

    def write(self, slot: int, now: int, work: Work, before: FlowState, member: int, generation: int) -> None:
        """Remember where a packet went; `before` is the state of the entry that kept it there, or FREE."""
        state = FlowState.OPEN
        if work.segment is not None:
            if work.segment.ends or before is FlowState.CLOSING:
                state = FlowState.CLOSING
            elif work.segment.syn and before is not FlowState.OPEN:
                state = FlowState.OPENING
        self._slots[slot] = Entry(work.key, state, member, generation, now)


def slots_of(key: bytes) -> tuple[int, int]:
    """Where a key may stand: CRC-32 in the first way, CRC-16/ARC in the second."""
    return zlib.crc32(key) % FLOWS_PER_WAY, FLOWS_PER_WAY + crc16(key)


def crc16(data: bytes) -> int:
    """CRC-16/ARC: polynomial 0x8005 reflected, initial value 0."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xA001 if crc & 1 else 0)
    return crc


def keeps(now: int, work: Work, entry: Entry, idle_after: int) -> bool:
    """Whether an entry holds the packet, if its instance lives.

    What cannot start a flow revives an expired entry that nobody took. A SYN after FIN or RST is a new flow on old
    ports.
    """
    if not work.starts:
        return True
    over = work.segment is not None and entry.state is FlowState.CLOSING
    return entry.live(now, idle_after) and not over
