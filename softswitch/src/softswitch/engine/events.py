"""What the packet path reports, taken out of the runtime's event ring. What the data plane logs goes to the logger
`softswitch.dataplane`."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import sys
from dataclasses import dataclass
from threading import Lock
from typing import NamedTuple

from softswitch.bmv2.program import Program
from softswitch.codegen.program import digest_values
from softswitch.engine import abi
from softswitch.engine.trace import TraceReader

_LOG = logging.getLogger("softswitch.dataplane")
_TRACE_LOG = logging.getLogger("softswitch.trace")


_SIGNAL = (1).to_bytes(8, sys.byteorder)


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
    log_lines: int


Event = DigestEvent | PacketInEvent | PortEvent


class EventReader:
    """The one consumer of an engine's ring; a lock makes several threads one."""

    def __init__(self, native: ctypes.CDLL, switch: ctypes.c_void_p) -> None:
        self._native = native
        self._switch = switch
        self._fd = int(native.ss_event_fd(switch))
        self._buffer = ctypes.create_string_buffer(abi.EVENT_ROOM)
        self._lock = Lock()
        self._closed = False
        self._records, self._at = b"", 0
        self.program: Program | None = None
        self.trace_reader: TraceReader | None = None

    def close(self) -> None:
        """The ring is about to go."""
        with self._lock:
            self._closed = True

    def read(self, most: int | None = None) -> list[Event]:
        """Everything there is now, or no more than `most`; never blocks. The descriptor stays readable while there is
        something left."""
        events: list[Event] = []
        with self._lock:
            if self._closed:
                raise RuntimeError("the switch is closed")
            left = sys.maxsize if most is None else most
            while left and (self._at < len(self._records) or self._take()):
                size, kind, a, b = abi.EVENT.unpack_from(self._records, self._at)
                event = self._event(abi.Event(kind), a, b, self._records[self._at + abi.EVENT.size : self._at + size])
                if event is not None:
                    events.append(event)
                self._at += size
                left -= 1
        return events

    def _take(self) -> bool:
        """Whether there were records in the ring. Only when there are none the signal is taken, and given back if some
        have come in between."""
        length = self._native.ss_read_events(self._switch, self._buffer, len(self._buffer))
        if not length:
            with contextlib.suppress(BlockingIOError):
                os.read(self._fd, 8)
            length = self._native.ss_read_events(self._switch, self._buffer, len(self._buffer))
            if length:
                os.write(self._fd, _SIGNAL)
        self._records, self._at = memoryview(self._buffer)[:length].tobytes(), 0
        return bool(length)

    def lost(self) -> LostEvents:
        """What found no room since the start."""
        with self._lock:
            if self._closed:
                raise RuntimeError("the switch is closed")
            kinds = (abi.Event.PACKET_IN, abi.Event.DIGEST, abi.Event.PORT, abi.Event.LOG)
            return LostEvents(*(int(self._native.ss_dropped_events(self._switch, kind)) for kind in kinds))

    def _event(self, kind: abi.Event, a: int, b: int, body: bytes) -> Event | None:
        match kind:
            case abi.Event.DIGEST:
                return self._digest(a, b, body)
            case abi.Event.PACKET_IN:
                return PacketInEvent(body[:a])
            case abi.Event.PORT:
                interface = body[: abi.INTERFACE_BYTES].rstrip(b"\0").decode()
                level, state = (logging.INFO, "up") if b else (logging.WARNING, "down")
                _LOG.log(level, "port %d (%s) is %s", a, interface, state)
                return PortEvent(a, interface, bool(b))
            case abi.Event.LOG:
                _LOG.log(a, "%s", body[:b].decode(errors="replace"))
            case abi.Event.TRACE if self.trace_reader is not None:
                _TRACE_LOG.debug("%s", self.trace_reader.read(body[: a * abi.WORD_BITS // 8]))
        return None

    def _digest(self, identifier: int, count: int, body: bytes) -> Event | None:
        learn_list = self.program.learn_lists.get(identifier) if self.program else None
        sizes = [digest_values(w) for w in learn_list.widths] if learn_list else []
        if learn_list is None or sum(sizes) != count:
            return None  # of a program that was replaced meanwhile
        values, at = [], 0
        for size in sizes:
            values.append(int.from_bytes(body[at : at + size * abi.DIGEST_VALUE_BYTES], "little"))
            at += size * abi.DIGEST_VALUE_BYTES
        return DigestEvent(learn_list.name, tuple(values))
