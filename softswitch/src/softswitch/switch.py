"""The switch as a Python object: packets in, packets out, no interface and no root. For tests and notebooks."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from threading import RLock
from types import TracebackType
from typing import Any, SupportsBytes, TypeAlias

from finsy.proto import p4i, p4r
from google.protobuf import text_format

from softswitch import files
from softswitch.bmv2.v1model import MAX_PORT
from softswitch.codegen.cc import CompilerMissing
from softswitch.engine.abi import Direction
from softswitch.engine.engine import Engine
from softswitch.engine.events import DigestEvent
from softswitch.engine.shaping import Departure, Link, PortShaping, ShapedPorts
from softswitch.engine.trace import Trace
from softswitch.files import LoadError, WriteError
from softswitch.p4runtime.device import Device
from softswitch.p4runtime.errors import P4RuntimeError

FOR_EVER_US = 2**48
"""Longer than the switch's clock can show."""
KEPT_DIGESTS = 100_000
"""Digests that wait for `Switch.digests`; older ones are forgotten."""

Entries: TypeAlias = p4r.WriteRequest | Iterable[p4r.Update | p4r.Entity] | Mapping[str, Any] | Path | str
"""What `Switch.write` takes: messages, names in a dict, text protobuf or JSON (both have braces), or a file's path."""

Packet: TypeAlias = bytes | bytearray | memoryview | SupportsBytes
"""Bytes, or what becomes bytes, as scapy's packets do."""


class _PortlessEngine(Engine):
    """An engine without interfaces: all ports are there, and up unless a test says otherwise."""

    def __init__(self, *, cpu_port: int | None, drop_port: int) -> None:
        super().__init__(cpu_port=cpu_port, drop_port=drop_port)
        self.down: set[int] = set()

    def ports(self) -> dict[int, tuple[str, bool]]:
        return {port: ("", port not in self.down) for port in range(MAX_PORT + 1)}


class Switch:
    """A switch that runs one program; make it with `load`.

    Calls may come from several threads; each is done as a whole, one after the other.
    """

    def __init__(self, device: Device, engine: _PortlessEngine) -> None:
        self._device = device
        self._engine = engine
        self._lock = RLock()
        self._digests: deque[DigestEvent] = deque(maxlen=KEPT_DIGESTS)
        self._departures: list[Departure] = []

    def process(self, port: int, packet: Packet) -> list[tuple[int, bytes]]:
        """Let a packet come in at `port` (0..511); returns the packets that leave, each with its port, in order.

        A dropped packet returns []. Copies, resubmitted and recirculated ones are followed to their end. Packets to
        and from the controller are those of the CPU port, with their packet-in or packet-out header in front.
        What the program logs goes to the logger `softswitch.dataplane`.
        """
        check_port(port)
        data = _octets(packet)
        with self._lock:
            self._settle(None)
            outputs = self._engine.process(port, data)
            self._take_events()
            return self._leaving(outputs)

    def trace(self, port: int, packet: Packet) -> tuple[list[tuple[int, bytes]], Trace]:
        """As `process`, with the story of the packet: print it, or look at its steps. No link is before it.

        The first call compiles a second variant of the program, which tells what it does; `process` goes on without.
        """
        check_port(port)
        data = _octets(packet)
        with self._lock:
            outputs, trace = self._engine.trace(port, data)
            self._take_events()
            return self._leaving(outputs), trace

    def write(self, entries: Entries) -> None:
        """Insert, modify or delete entities, as a P4Runtime Write does.

        Takes a WriteRequest, updates, entities (inserted, or modified where they always exist), text protobuf of
        `updates {…}` or `entities {…}`, names (`{"table_entries": […]}`, a dict or JSON), or the path of a file of it.
        Raises WriteError when an update was refused; the others are done unless the request's `atomicity` says
        otherwise. Raises LoadError for unreadable text, or without P4Info.
        """
        if isinstance(entries, str) and "{" in entries:
            request, where = files.parse_entries(entries, self._p4info()), "entries"
        elif isinstance(entries, str | Path):
            request, where = files.read_entries(Path(entries), self._p4info()), str(entries)
        elif isinstance(entries, p4r.WriteRequest):
            request, where = entries, "entries"
        elif isinstance(entries, Mapping):
            request, where = files.by_names(entries, self._p4info()), "entries"
        else:
            updates = [_update(e) for e in entries]
            request, where = p4r.WriteRequest(updates=updates), "entries"
        with self._lock:
            self._p4info()
            files.write(self._device, request, where)

    def read(self, *entities: p4r.Entity | str) -> list[p4r.Entity]:
        """What a P4Runtime Read of these answers; text is that of a `p4.v1.Entity`, such as `"counter_entry {}"`.

        Raises LoadError for what cannot be read.
        """
        try:
            wanted = [text_format.Parse(e, p4r.Entity()) if isinstance(e, str) else e for e in entities]
        except text_format.ParseError as error:
            raise LoadError(f"no p4.v1.Entity in text form: {error}") from error
        with self._lock:
            self._p4info()
            try:
                responses, errors = self._device.read(wanted)
                answer = [entity for response in responses for entity in response.entities]
            except P4RuntimeError as error:
                raise LoadError(f"cannot read: {error}") from error
        if first := next((error for error in errors if error is not None), None):
            raise LoadError(f"cannot read: {first}")
        return answer

    def digests(self) -> list[DigestEvent]:
        """The digests since the last call: name and field values, in the order in which the program sent them."""
        with self._lock:
            digests = list(self._digests)
            self._digests.clear()
        return digests

    def idle_entries(self) -> list[p4r.TableEntry]:
        """The entries whose idle timeout is over by the switch's clock (see `set_clock`), each once a timeout: what
        P4Runtime tells in an IdleTimeoutNotification."""
        with self._lock:
            pipeline = self._device.running
            return [] if pipeline is None else pipeline.idle_entries(pipeline.clock())

    def set_port(self, port: int, up: bool) -> None:
        """Let a port go down or up (all are up at first): nothing leaves through one that is down, and members of
        action profiles that watch it are not selected."""
        check_port(port)
        with self._lock:
            (self._engine.down.discard if up else self._engine.down.add)(port)
            self._device.ports_changed()

    def set_clock(self, us: int | None) -> None:
        """Let the switch's clock stand at `us` (what `ingress_global_timestamp` shows); None lets it run again.

        What waits in a queue or on a link and may leave by then does so at its time, and is among the `departures`.
        """
        if us is not None and us < 0:
            raise ValueError(f"the clock cannot stand at {us} µs")
        with self._lock:
            self._settle(us)
            self._engine.freeze_clock(us)

    def set_queue(
        self, port: int, depth: int | None = None, rate_pps: int | None = None, priority: int | None = None
    ) -> None:
        """How many packets the queues of a port hold and how many a second leave them, each or that of one priority
        (`load(priorities=)` says how many there are). What is None stays; a rate of 0 is no limit."""
        check_port(port)
        with self._lock:
            if depth is not None:
                self._engine.set_queue_depth(port, depth, priority)
            if rate_pps is not None:
                self._engine.set_queue_rate(port, rate_pps, priority)

    def set_link(self, port: int, link: Link, *, incoming: bool = False) -> None:
        """What the link at a port does to what leaves there, or to what comes in; what is random comes from `load`'s
        seed."""
        check_port(port)
        with self._lock:
            self._engine.set_link(port, Direction.IN if incoming else Direction.OUT, link)

    def shaping(self) -> dict[int, PortShaping]:
        """The queues and links by port, with what they hold and have dropped, of those ports that ever had any."""
        with self._lock:
            return self._engine.shaping()

    def departures(self) -> list[Departure]:
        """The packets that left a queue or link since the last call, up to the time that the clock shows."""
        with self._lock:
            self._settle(None)
            gone, self._departures = self._departures, []
            return gone

    def finish(self) -> list[Departure]:
        """The `departures`, with all that wait: the clock, if it stands, goes on until none does."""
        with self._lock:
            self._settle(FOR_EVER_US)
            return self.departures()

    def waiting(self) -> int:
        """How many packets wait in queues and on links."""
        return self._engine.waiting()

    @property
    def shaped_ports(self) -> ShapedPorts:
        """The queues and links as a running switch has them too."""
        return self._engine

    def _settle(self, us: int | None) -> None:
        if not self._engine.shaped:
            return
        until = self._engine.clock_us() if us is None else us
        down = self._engine.down
        self._departures += (one for one in self._engine.settle(until) if one.port not in down)
        self._take_events()

    @property
    def clock_us(self) -> int:
        """The switch's clock: µs since `load` unless it was set."""
        return self._engine.clock_us()

    def close(self) -> None:
        """Free everything. Idempotent; also on leaving a `with` block."""
        with self._lock:
            self._device.close()
            self._engine.close()

    def __enter__(self) -> Switch:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: object, trace: TracebackType | None) -> None:
        self.close()

    def _take_events(self) -> None:
        self._digests += (e for e in self._engine.read_events() if isinstance(e, DigestEvent))

    def _leaving(self, outputs: list[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
        return [output for output in outputs if output[0] not in self._engine.down] if self._engine.down else outputs

    def _p4info(self) -> p4i.P4Info:
        if self._device.running is None:
            raise LoadError("entries need the program's P4Info: load it with p4info=")
        return self._device.running.config.p4info


def load(
    program: str | os.PathLike[str],
    p4info: str | os.PathLike[str] | None = None,
    entries: Entries | None = None,
    *,
    cpu_port: int | None = None,
    drop_port: int = MAX_PORT,
    seed: int | None = None,
    priorities: int = 1,
) -> Switch:
    """A switch that runs `program`, the JSON of `p4c-bm2-ss` (the C compiler takes a second, the first time).

    `p4info` is its P4Info in text form, needed to write and read; `entries` are written at once (see `Switch.write`).
    `cpu_port` is where packets to and from the controller pass. With a `seed` the program's random numbers repeat, and
    those of links. Each port has `priorities` queues.
    Raises LoadError, which says what is wrong with which file.
    """
    for number in (cpu_port, drop_port):
        if number is not None:
            check_port(number)
    if cpu_port in (0, drop_port):
        raise ValueError("the CPU port must be neither 0 nor the drop port")
    make = partial(_PortlessEngine, cpu_port=cpu_port, drop_port=drop_port)
    try:
        engine = make()
    except CompilerMissing as error:
        raise LoadError(str(error)) from error
    except OSError as error:
        raise LoadError(cache_problem(error)) from error
    switch = Switch(Device(0, engine, make, cpu_port), engine)
    try:
        if seed is not None:
            engine.seed(seed)
        engine.set_priorities(priorities)
        files.load_program(switch._device, Path(program), None if p4info is None else Path(p4info))
        if (pipeline := switch._device.running) is not None:
            pipeline.clock = lambda: engine.clock_us() * 1000
        if entries is not None:
            switch.write(entries)
    except BaseException:
        switch.close()
        raise
    return switch


def _octets(packet: Packet) -> bytes:
    if isinstance(packet, bytes):
        return packet
    if isinstance(packet, bytearray | memoryview | SupportsBytes):
        return bytes(packet)
    raise TypeError(f"a packet is bytes, not {type(packet).__name__}")


def _update(item: p4r.Update | p4r.Entity) -> p4r.Update:
    if isinstance(item, p4r.Update):
        return item
    if isinstance(item, p4r.Entity):
        return files.as_update(item)
    raise TypeError(f"entries are p4.v1.Update or p4.v1.Entity messages, not {type(item).__name__}")


def check_port(port: int) -> None:
    """Raises ValueError for what is no port number."""
    if not 0 <= port <= MAX_PORT:
        raise ValueError(f"{port} is not a port number in 0..{MAX_PORT}")


def cache_problem(error: OSError) -> str:
    """The sentence for a cache of compiled programs that cannot be written."""
    reason = f"{error.filename}: {error.strerror}"
    return f"cannot keep compiled programs in {reason} (set XDG_CACHE_HOME to a folder of yours)"


__all__ = ["LoadError", "Switch", "WriteError", "load"]
