"""The invocation protocol (UDP): header, fragmentation, reassembly. Sans-I/O: callers pass datagrams and the time.

Every fragment of a message carries the same 42-byte header but for its index, so that a switch can steer each of
them alike by client and request id. Fragments are of equal length, ceil(total / count), the last one has the rest.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import NamedTuple

from hitless.wire.fair import FairStore
from hitless.wire.layout import offset, struct_of
from hitless.words import (
    INVOCATION_BYTES,
    INVOCATION_LAYOUT,
    INVOCATION_MAGIC,
    INVOCATION_ONCE,
    INVOCATION_VERSION,
    InvocationType,
)

HEADER_SIZE = INVOCATION_BYTES
"""Bytes of the header in front of each fragment."""
FRAGMENT_PAYLOAD = 1400
"""Most payload bytes of one fragment: with header, UDP, IP and an IP-in-IP tunnel it fits 1500 bytes."""
MAX_DATAGRAM = HEADER_SIZE + FRAGMENT_PAYLOAD + 1
"""Bytes to receive at a time: a longer datagram is cut to this, and so found malformed."""
MAX_PAYLOAD = 4 * 1024 * 1024
"""Most bytes of one message's payload."""

Address = tuple[str, int]
"""IPv4 address and UDP port."""
Datagram = bytes | bytearray | memoryview

_PARTIAL_BYTES = 1280
"""What an incomplete message takes beside its fragments and its place in the store: header, key, table of fragments."""
_FRAGMENT_BYTES = 160
"""What a fragment takes beside its payload, at most: while their table grows, the old one is there, too."""

_LAYOUT = struct_of(INVOCATION_LAYOUT)
_INDEX = struct.Struct("!H")
_INDEX_OFFSET = offset(INVOCATION_LAYOUT, "fragment_index")


class InvocationError(ValueError):
    """A datagram or message that is not the protocol's; says which field and what was expected."""


class Header(NamedTuple):
    """The header of one fragment: the fields of INVOCATION_LAYOUT in its order."""

    magic: int
    version: int
    type: int
    flags: int
    """INVOCATION_ONCE or nothing."""
    attempt: int
    """Counts the sendings of one request, from 0."""
    service_id: int
    client_id: int
    request_id: int
    parent_id: int
    """The request that caused this one, 0 for none."""
    deadline_ms: int
    """Milliseconds that the client will still wait."""
    status: int
    """Of an answer: an HTTP status. Of a request: 0."""
    fragment_index: int
    fragment_count: int
    total_length: int
    """Bytes of the whole message's payload."""


class Message(NamedTuple):
    """A whole request or answer."""

    type: InvocationType
    service_id: int
    client_id: int
    request_id: int
    payload: bytes
    parent_id: int = 0
    deadline_ms: int = 0
    status: int = 0
    attempt: int = 0
    once: bool = False
    """A request that is not sent again, whatever becomes of it: a switch that steers it need not remember where to."""

    def answer(self, status: int, payload: bytes, *, error: bool = False) -> Message:
        """The response to this request, or an error in place of one."""
        return Message(
            InvocationType.ERROR if error else InvocationType.RESPONSE,
            self.service_id,
            self.client_id,
            self.request_id,
            payload,
            parent_id=self.parent_id,
            status=status,
            attempt=self.attempt,
        )

    def ack(self) -> Message:
        """Tells the client that this request need not be sent again."""
        return Message(
            InvocationType.ACK,
            self.service_id,
            self.client_id,
            self.request_id,
            b"",
            self.parent_id,
            attempt=self.attempt,
        )


def decode_header(datagram: Datagram) -> Header:
    """Read and check a fragment's header against the datagram's length. Raises InvocationError."""
    try:
        header = Header._make(_LAYOUT.unpack_from(datagram))
    except struct.error:
        raise InvocationError(f"datagram of {len(datagram)} bytes, expected a header of {HEADER_SIZE}") from None
    if header.magic != INVOCATION_MAGIC:
        raise InvocationError(f"magic is {header.magic:#06x}, expected {INVOCATION_MAGIC:#06x}")
    if header.version != INVOCATION_VERSION:
        raise InvocationError(f"version is {header.version}, expected {INVOCATION_VERSION}")
    if not InvocationType.REQUEST <= header.type <= InvocationType.ACK:
        raise InvocationError(f"type is {header.type}, expected 1 to 4")
    if header.fragment_index >= header.fragment_count:
        raise InvocationError(f"fragment index is {header.fragment_index} of {header.fragment_count}")
    expected = _fragment_length(header)
    if len(datagram) - HEADER_SIZE != expected:
        raise InvocationError(f"fragment of {len(datagram) - HEADER_SIZE} bytes, expected {expected}")
    return header


def fragments(message: Message, fragment_payload: int = FRAGMENT_PAYLOAD) -> list[memoryview]:
    """The datagrams of a message, views into one buffer.

    Raises InvocationError when a field does not fit or the payload is longer than MAX_PAYLOAD.
    """
    total = len(message.payload)
    if total > MAX_PAYLOAD:
        raise InvocationError(f"payload of {total} bytes, expected at most {MAX_PAYLOAD}")
    count = max(1, -(-total // fragment_payload))
    chunk = -(-total // count)
    try:
        header = _LAYOUT.pack(
            *Header(
                magic=INVOCATION_MAGIC,
                version=INVOCATION_VERSION,
                type=message.type,
                flags=INVOCATION_ONCE if message.once else 0,
                attempt=message.attempt,
                service_id=message.service_id,
                client_id=message.client_id,
                request_id=message.request_id,
                parent_id=message.parent_id,
                deadline_ms=message.deadline_ms,
                status=message.status,
                fragment_index=0,
                fragment_count=count,
                total_length=total,
            )
        )
    except struct.error as error:
        raise InvocationError(f"{message.type.name.lower()} has a field that does not fit: {error}") from None
    buffer = bytearray(count * HEADER_SIZE + total)
    view = memoryview(buffer)
    payload = memoryview(message.payload)
    datagrams = []
    start = 0
    for index in range(count):
        body = payload[index * chunk : (index + 1) * chunk]
        end = start + HEADER_SIZE + len(body)
        view[start : start + HEADER_SIZE] = header
        _INDEX.pack_into(buffer, start + _INDEX_OFFSET, index)
        view[start + HEADER_SIZE : end] = body
        datagrams.append(view[start:end])
        start = end
    return datagrams


def _fragment_length(header: Header) -> int:
    """Payload bytes that this fragment must have. Raises InvocationError when total and count contradict."""
    total, count = header.total_length, header.fragment_count
    if total > MAX_PAYLOAD:
        raise InvocationError(f"total length is {total}, expected at most {MAX_PAYLOAD}")
    chunk = -(-total // count)
    if count > 1 and (count - 1) * chunk >= total:
        raise InvocationError(f"fragment count is {count} for {total} bytes: the last one would be empty")
    return min(chunk, total - header.fragment_index * chunk)


@dataclass(slots=True)
class ReassemblyCounts:
    """What a Reassembler has seen, for metrics."""

    messages: int = 0
    """Completed."""
    malformed: int = 0
    """Datagrams that are not the protocol's."""
    inconsistent: int = 0
    """Fragments that contradict an earlier one of the same message."""
    joined: int = 0
    """Fragments that joined others of their message, without completing it."""
    duplicates: int = 0
    """Fragments that were here already."""
    timed_out: int = 0
    """Messages given up because fragments were missing."""
    evicted: int = 0
    """Messages given up because memory was short."""


@dataclass(slots=True, eq=False)
class _Partial:
    first: Header
    started: float
    fragments: dict[int, bytes] = field(default_factory=dict)


class Reassembler:
    """Puts fragments together, in any order and with duplicates, within bounds of memory and time.

    What is kept is what has arrived, whatever a fragment says that is to come. When the bound of memory is reached,
    the oldest incomplete message of the address that holds most is given up (FairStore): a flood of fragments costs
    the messages of its own address.
    """

    def __init__(self, *, timeout: float = 2.0, max_bytes: int = 64 * 1024 * 1024) -> None:
        """`timeout`: seconds from a message's first fragment until it is given up. `max_bytes`: all that is kept."""
        self.counts = ReassemblyCounts()
        self._timeout = timeout
        self._partials: FairStore[_Partial] = FairStore(max_bytes)

    def receive(self, datagram: Datagram, source: Address, now: float) -> Message | None:
        """Take one datagram from `source`; the message that it completes, if any.

        Raises InvocationError for a malformed or contradicting datagram (it is counted and changes nothing).
        """
        try:
            header = decode_header(datagram)
        except InvocationError:
            self.counts.malformed += 1
            raise
        return self.add(header, datagram, source, now)

    def add(self, header: Header, datagram: Datagram, source: Address, now: float) -> Message | None:
        """As `receive`, for a datagram whose header the caller has decoded."""
        body = bytes(memoryview(datagram)[HEADER_SIZE:])
        if header.fragment_count == 1:
            self.counts.messages += 1
            return _message(header, body)
        key = (source, header.client_id, header.request_id, header.type)
        kept = self._partials.get(key)
        if kept is None:
            kept = self._partials.add(source[0], key, _Partial(header, now), _PARTIAL_BYTES)
        partial = kept.value
        first = partial.first
        if (header.service_id, header.fragment_count, header.total_length) != (
            first.service_id,
            first.fragment_count,
            first.total_length,
        ):
            self.counts.inconsistent += 1
            raise InvocationError(
                f"request {header.request_id}: a fragment says count {header.fragment_count}, {header.total_length} "
                f"bytes, an earlier one {first.fragment_count} and {first.total_length}"
            )
        if header.fragment_index in partial.fragments:
            self.counts.duplicates += 1
            return None
        partial.fragments[header.fragment_index] = body
        if len(partial.fragments) == header.fragment_count:
            self._partials.remove(kept)
            self.counts.messages += 1
            return _message(first, b"".join(map(partial.fragments.__getitem__, range(header.fragment_count))))
        if len(partial.fragments) > 1:
            self.counts.joined += 1
        self._partials.grow(kept, _FRAGMENT_BYTES + len(body))
        while self._partials.give_way() is not None:
            self.counts.evicted += 1
        return None

    def expire(self, now: float) -> list[Header]:
        """Give up messages whose first fragment came longer than the timeout ago; the first header of each."""
        expired = []
        while (kept := self._partials.oldest()) is not None and now >= kept.value.started + self._timeout:
            self._partials.remove(kept)
            self.counts.timed_out += 1
            expired.append(kept.value.first)
        return expired

    def next_timer(self) -> float | None:
        """When `expire` has something to give up; None when no message is incomplete."""
        oldest = self._partials.oldest()
        return None if oldest is None else oldest.value.started + self._timeout

    def __len__(self) -> int:
        """Incomplete messages."""
        return len(self._partials)

    @property
    def size(self) -> int:
        """Bytes that incomplete messages take, with all that is kept about them."""
        return self._partials.size


def _message(header: Header, payload: bytes) -> Message:
    return Message(
        InvocationType(header.type),
        header.service_id,
        header.client_id,
        header.request_id,
        payload,
        header.parent_id,
        header.deadline_ms,
        header.status,
        header.attempt,
        bool(header.flags & INVOCATION_ONCE),
    )
