"""Affinity: the bounded two-way store that keeps a flow, or a request in several datagrams, on its instance.

In the program: affinity.p4. A key stands in one of two slots of its service's share, by either half of its hash, or
nowhere; an entry is replaced only when it has expired. What finds no slot goes by a bucket that it shares with others.
"""

import zlib
from dataclasses import dataclass

from hitless.steering.arithmetic import U48, passed
from hitless.words import BUCKETS, CLOSING_AFTER, FLOWS_PER_WAY, HANDSHAKE_AFTER, FlowPlace, FlowState

US_PER_MS = 1000


@dataclass(frozen=True, slots=True)
class Share:
    """A service's part of the store, the same in each way."""

    first: int = 0
    slots: int = FLOWS_PER_WAY
    """None: there is no such share."""

    def slots_of(self, key: bytes) -> tuple[int, int]:
        """Where a key may stand: by the low half of its CRC-32 in the first way, by the high half in the second."""
        hashed = zlib.crc32(key)
        return (
            self.first + ((hashed & 0xFFFF) * self.slots >> 16),
            FLOWS_PER_WAY + self.first + ((hashed >> 16) * self.slots >> 16),
        )


NO_SHARE = Share(0, 0)


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
    deadline_ms: int = 0
    """Of a request that may be repeated until then; 0: it does not say."""

    @property
    def pooled(self) -> bool:
        """Whether it may take, or keep in use, a bucket if it finds no slot."""
        return self.starts or self.segment is not None


@dataclass(frozen=True, slots=True)
class Entry:
    """A slot's content."""

    key: bytes = b""
    state: FlowState = FlowState.FREE
    member: int = 0
    generation: int = 0
    expires: int = 0
    """Until when nobody may replace it (µs)."""

    def live(self, now: int) -> bool:
        """Whether it has not expired."""
        return self.state is not FlowState.FREE and not passed(now, self.expires)


FREE = Entry()


@dataclass(frozen=True, slots=True)
class Bucket:
    """What flows of a service that have no slot and hash alike have in common."""

    member: int
    generation: int
    expires: int
    """Until when it keeps its member (µs)."""


@dataclass(frozen=True, slots=True)
class Lookup:
    """What the store says of a packet."""

    slot: int | None = None
    """Where its entry is, or may be written; None: it gets none."""
    entry: Entry | None = None
    """The entry it found."""
    bucket: Bucket | None = None
    """In use: it goes with the others there, as it has no entry."""
    place: FlowPlace = FlowPlace.NONE
    """What a flow that begins has found."""


class FlowStore:
    """The flows that one switch remembers."""

    def __init__(self) -> None:
        self._slots: dict[int, Entry] = {}
        self._buckets: dict[int, Bucket] = {}

    def find(self, now: int, work: Work, share: Share, old: Share) -> Lookup:
        """The packet's own entry; else, if it may start a flow, a slot that is free or expired; else a bucket.

        A live entry in the `old` share moves to the new one, as soon as that has a slot for it.
        """
        slots = share.slots_of(work.key)
        for slot in slots:
            if self._is_of(slot, work):
                return Lookup(slot, self._slots[slot])
        free = next((slot for slot in slots if not self._slots.get(slot, FREE).live(now)), None)
        for slot in old.slots_of(work.key) if old.slots else ():
            if self._is_of(slot, work) and self._slots[slot].live(now):
                return Lookup(slot if free is None else free, self._slots[slot])
        if not work.starts or free is None:
            place = FlowPlace.BUCKET if work.starts else FlowPlace.NONE
            return Lookup(bucket=self._bucket(now, work), place=place)
        # A SYN says that its flow begins. A datagram may be of a flow that had to begin without a slot.
        bucket = None if work.segment is not None else self._bucket(now, work)
        return Lookup(free, bucket=bucket, place=FlowPlace.FIRST if free == slots[0] else FlowPlace.SECOND)

    def write(
        self,
        lookup: Lookup,
        now: int,
        work: Work,
        before: FlowState,
        member: int,
        generation: int,
        idle_after: int,
    ) -> None:
        """Remember where a packet went; `before` is the state of the entry that kept it there, or FREE."""
        state, keep = FlowState.OPEN, idle_after
        if work.segment is not None:
            if work.segment.ends or before is FlowState.CLOSING:
                state, keep = FlowState.CLOSING, CLOSING_AFTER
            elif work.segment.syn and before is not FlowState.OPEN:
                state, keep = FlowState.OPENING, HANDSHAKE_AFTER
        elif work.deadline_ms:
            keep = min(keep, work.deadline_ms * US_PER_MS)
        if lookup.slot is not None:
            self._slots[lookup.slot] = Entry(work.key, state, member, generation, (now + keep) & U48)
        elif work.pooled:
            if lookup.bucket is not None:
                keep = max(keep, (lookup.bucket.expires - now) & U48)
            self._buckets[bucket_of(work.key)] = Bucket(member, generation, (now + keep) & U48)

    def _is_of(self, slot: int, work: Work) -> bool:
        entry = self._slots.get(slot, FREE)
        return entry.state is not FlowState.FREE and entry.key == work.key

    def _bucket(self, now: int, work: Work) -> Bucket | None:
        bucket = self._buckets.get(bucket_of(work.key))
        return None if bucket is None or passed(now, bucket.expires) else bucket


def bucket_of(key: bytes) -> int:
    """The bucket of a flow that finds no slot: its service has BUCKETS of its own."""
    return key[0] * BUCKETS + (zlib.crc32(key) >> 16) % BUCKETS


def keeps(now: int, work: Work, entry: Entry) -> bool:
    """Whether an entry holds the packet, if its instance lives.

    What cannot start a flow revives an expired entry that nobody took. A SYN after FIN or RST is a new flow on old
    ports.
    """
    if not work.starts:
        return True
    over = work.segment is not None and entry.state is FlowState.CLOSING
    return entry.live(now) and not over
