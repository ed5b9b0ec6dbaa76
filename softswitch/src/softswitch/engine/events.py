"""Takes records out of the runtime's event ring. What the data plane logs goes to the logger `softswitch.dataplane`."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import struct
from threading import Lock

from softswitch.bmv2.program import Program
from softswitch.codegen.program import digest_values
from softswitch.engine.trace import TraceReader
from softswitch.entries import DigestEvent, Event, LostEvents, PacketInEvent, PortEvent

_LOG = logging.getLogger("softswitch.dataplane")
_HEADER = struct.Struct("<IIII")
_TRACE_LOG = logging.getLogger("softswitch.trace")
_DIGEST, _PACKET_IN, _PORT, _LINE, _TRACE = 1, 2, 3, 4, 5
_ROOM = 1 << 20
_VALUE_BYTES = 16


class EventReader:
    """The one consumer of an engine's ring; a lock makes several threads one."""

    def __init__(self, native: ctypes.CDLL, handle: ctypes.c_void_p) -> None:
        self._native = native
        self._handle = handle
        self._fd = int(native.ss_event_fd(handle))
        self._buffer = ctypes.create_string_buffer(_ROOM)
        self._lock = Lock()
        self._closed = False
        self.program: Program | None = None
        self.trace_reader: TraceReader | None = None

    def close(self) -> None:
        """The ring is about to go."""
        with self._lock:
            self._closed = True

    def read(self) -> list[Event]:
        """Everything there is now; never blocks."""
        events: list[Event] = []
        with self._lock:
            if self._closed:
                raise RuntimeError("the switch is closed")
            # the signal is taken first: what comes in between signals again
            with contextlib.suppress(BlockingIOError):
                os.read(self._fd, 8)
            while length := self._native.ss_read_events(self._handle, self._buffer, _ROOM):
                records = memoryview(self._buffer)[:length].tobytes()
                at = 0
                while at < length:
                    size, kind, a, b = _HEADER.unpack_from(records, at)
                    event = self._event(kind, a, b, records[at + _HEADER.size : at + size])
                    if event is not None:
                        events.append(event)
                    at += size
        return events

    def lost(self) -> LostEvents:
        """What found no room since the start."""
        with self._lock:
            if self._closed:
                raise RuntimeError("the switch is closed")
            kinds = (_PACKET_IN, _DIGEST, _PORT)
            return LostEvents(*(int(self._native.ss_dropped_events(self._handle, kind)) for kind in kinds))

    def _event(self, kind: int, a: int, b: int, body: bytes) -> Event | None:
        if kind == _DIGEST:
            return self._digest(a, b, body)
        if kind == _PACKET_IN:
            return PacketInEvent(body[:a])
        if kind == _PORT:
            interface = body[:16].rstrip(b"\0").decode()
            _LOG.log(logging.INFO if b else logging.WARNING, "port %d (%s) is %s", a, interface, "up" if b else "down")
            return PortEvent(a, interface, bool(b))
        if kind == _LINE:
            _LOG.log(a, "%s", body[:b].decode(errors="replace"))
        if kind == _TRACE and self.trace_reader is not None:
            _TRACE_LOG.debug("%s", self.trace_reader.read(body[: a * 8]))
        return None

    def _digest(self, identifier: int, count: int, body: bytes) -> Event | None:
        learn_list = self.program.learn_lists.get(identifier) if self.program else None
        sizes = [digest_values(w) for w in learn_list.widths] if learn_list else []
        if learn_list is None or sum(sizes) != count:
            return None  # of a program that was replaced meanwhile
        values, at = [], 0
        for size in sizes:
            values.append(int.from_bytes(body[at : at + size * _VALUE_BYTES], "little"))
            at += size * _VALUE_BYTES
        return DigestEvent(learn_list.name, tuple(values))
