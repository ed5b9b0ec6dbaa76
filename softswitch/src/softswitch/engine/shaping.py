"""Queues before the egress pipeline of a port, as BMv2 has them, and the link behind a port, in both directions."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

from softswitch.bmv2.v1model import MAX_PORT
from softswitch.engine import abi
from softswitch.engine.abi import Direction
from softswitch.engine.ffi import LineState, LinkStruct
from softswitch.engine.state import ProgramState

MAX_DELAY_US = 60 * 10**6
MAX_DEPTH = 1 << 19
"""Packets of a queue at most, so that v1model's `enq_qdepth` can tell."""
MAX_RATE_PPS = 10**9
MAX_RATE_BPS = 10**12


@dataclass(frozen=True, slots=True)
class Link:
    """What a link does to packets in one direction. The default is a wire that does nothing.

    Each packet arrives `delay_us` later, give or take up to `jitter_us` (evenly), in the order in which they were sent;
    jitter alone reorders nothing. `loss` and `reorder` are probabilities: a packet that is reordered has no delay, and
    so overtakes those on their way. `rate_bps` counts the bytes of the frame, without preamble and checksum; what
    waits for a slow link out of the switch waits in the port's queue. Raises ValueError for what cannot be.
    """

    delay_us: float = 0
    jitter_us: float = 0
    loss: float = 0
    reorder: float = 0
    rate_bps: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.delay_us <= MAX_DELAY_US:
            raise ValueError(f"a delay of {self.delay_us:g} µs: expected 0 to {MAX_DELAY_US} (a minute)")
        if not 0 <= self.jitter_us <= self.delay_us:
            raise ValueError(f"a jitter of {self.jitter_us:g} µs: expected 0 to the delay, {self.delay_us:g} µs")
        for what, probability in (("loss", self.loss), ("reorder", self.reorder)):
            if not 0 <= probability <= 1:
                raise ValueError(f"a {what} of {probability:g}: expected a probability, 0 to 1")
        if self.reorder and not self.delay_us:
            raise ValueError("packets are reordered by a delay that they do not have: set a delay too")
        if not 0 <= self.rate_bps <= MAX_RATE_BPS:
            raise ValueError(f"a rate of {self.rate_bps} bits a second: expected 0 (no limit) to {MAX_RATE_BPS}")

    def as_struct(self) -> LinkStruct:
        """For the runtime."""
        return LinkStruct(
            round(self.delay_us * 1000), round(self.jitter_us * 1000), self.rate_bps, self.loss, self.reorder
        )

    @staticmethod
    def of_struct(struct: LinkStruct) -> Link:
        """Of the runtime."""
        return Link(
            struct.delay_ns / 1000, struct.jitter_ns / 1000, struct.loss, struct.reorder, struct.bits_per_second
        )


class QueueState(NamedTuple):
    """A queue of one priority: packets that it holds at most, that it holds, that it had no room for since the start;
    packets a second that may leave it, 0 without a limit."""

    depth: int
    waiting: int
    dropped: int
    rate_pps: int


class LinkState(NamedTuple):
    """A direction of a link, and what became of packets since the start: on their way now, lost as its `loss` wants it,
    sent before others, and dropped for want of room."""

    link: Link
    flying: int
    lost: int
    reordered: int
    dropped: int


class PortShaping(NamedTuple):
    """The queues of a port, by priority, and its link; packets pass the queues only if `queued`."""

    queued: bool
    queues: tuple[QueueState, ...]
    links: dict[Direction, LinkState]


class Departure(NamedTuple):
    """A packet that left the switch later than it came in: when, by the switch's clock, and where."""

    time_us: int
    port: int
    data: bytes


class ShapedPorts(ProgramState):
    """Queues and links of an `Engine`, which is made of this. Nothing is queued until a depth or a rate is set."""

    priorities = 1
    shaped = False
    """Whether any port ever had a queue or link."""

    def set_priorities(self, number: int) -> None:
        """How many queues each port has (1 at first): a packet joins that of its `standard_metadata.priority`, and the
        highest goes first. Before `start`. Raises ValueError."""
        if number < 1:
            raise ValueError(f"{number} priority queues: expected 1 or more")
        self.priorities = min(number, abi.PRIORITIES)
        self._native.ss_set_priorities(self._open(), number)

    def set_queue_depth(self, port: int, packets: int, priority: int | None = None) -> None:
        """How many packets a port's queues hold, all or that of one priority (64 at first). The port's packets pass its
        queues from now on. Raises ValueError."""
        if not 0 <= packets <= MAX_DEPTH:
            raise ValueError(f"a queue of {packets} packets: expected 0 to {MAX_DEPTH}")
        self._set_queue(port, priority, packets, -1)

    def set_queue_rate(self, port: int, pps: int, priority: int | None = None) -> None:
        """How many packets a second leave a port's queues, each or that of one priority; 0 is no limit. As in BMv2,
        what waits already keeps its time. Raises ValueError."""
        if not 0 <= pps <= MAX_RATE_PPS:
            raise ValueError(f"a rate of {pps} packets a second: expected 0 (no limit) to {MAX_RATE_PPS}")
        self._set_queue(port, priority, -1, pps)

    def _set_queue(self, port: int, priority: int | None, depth: int, rate: int) -> None:
        _check_port(port)
        self.shaped = True
        if priority is not None and not 0 <= priority < self.priorities:
            raise ValueError(f"priority {priority}: a port has queues 0 to {self.priorities - 1} (--priority-queues)")
        if self._native.ss_set_queue(self._open(), port, -1 if priority is None else priority, depth, rate):
            raise ValueError(f"at most {abi.MAX_LINES} ports have queues or links")

    def set_link(self, port: int, direction: Direction, link: Link, seed: int | None = None) -> None:
        """What the link at a port does from now on, to what leaves the switch there or comes in; what is on its way
        keeps its time. With a `seed` what is random on it begins anew, and repeats. Raises ValueError."""
        _check_port(port)
        self.shaped = True
        struct = link.as_struct()
        number = None if seed is None else ctypes.byref(ctypes.c_uint64(seed & (2**64 - 1)))
        if self._native.ss_set_link(self._open(), port, int(direction), ctypes.byref(struct), number):
            raise ValueError(f"at most {abi.MAX_LINES} ports have queues or links")

    def link(self, port: int, direction: Direction) -> Link:
        """What the link at a port does."""
        shaping = self.shaping().get(port)
        return Link() if shaping is None else shaping.links[direction].link

    def shaping(self) -> dict[int, PortShaping]:
        """Queues and links by port, of those ports that ever had any."""
        states = (LineState * abi.MAX_LINES)()
        count = self._native.ss_lines(self._open(), states, len(states))
        return {state.port: self._shaping_of(state) for state in states[:count]}

    def waiting(self) -> int:
        """How many packets wait in queues and on links, of all ports."""
        return int(self._native.ss_waiting(self._open())) if self.shaped else 0

    def _shaping_of(self, state: LineState) -> PortShaping:
        queues = tuple(
            QueueState(state.depth[i], state.size[i], state.dropped[i], _rate(state.gap_ns[i]))
            for i in range(self.priorities)
        )
        links = {
            d: LinkState(
                Link.of_struct(state.link[d]), state.flying[d], state.lost[d], state.reordered[d], state.link_dropped[d]
            )
            for d in Direction
        }
        return PortShaping(bool(state.queued), queues, links)

    def settle(self, until_us: int | None = None) -> Iterator[Departure]:
        """The packets that leave queues and links up to `until_us`, or until nothing waits, as they leave.

        A clock that stands (`freeze_clock`) is moved to each moment at which one does; of one that runs, those count
        that have come. For a switch without packet thread, whose packets come from `process`.
        """
        until = abi.NEVER - 1 if until_us is None else until_us * 1000
        out, length = ctypes.POINTER(ctypes.c_uint8)(), ctypes.c_size_t()
        while True:
            at = self._native.ss_settle(self._open(), until, ctypes.byref(out), ctypes.byref(length))
            if at == abi.NEVER:
                return
            captured = ctypes.string_at(out, length.value) if length.value else b""
            self._native.ss_release(out)
            yield from (Departure(at // 1000, port, data) for port, data in outputs(captured))


def outputs(captured: bytes) -> list[tuple[int, bytes]]:
    """What the runtime has captured: packets, each with its port."""
    packets, at = [], 0
    while at < len(captured):
        number, size = abi.OUTPUT.unpack_from(captured, at)
        at += abi.OUTPUT.size
        packets.append((number, captured[at : at + size]))
        at += size
    return packets


def changed(link: Link, **fields: float) -> Link:
    """A link with some of its properties changed. Raises ValueError, TypeError for a property that it does not have."""
    return replace(link, **fields)  # type: ignore[arg-type]


def _rate(gap_ns: int) -> int:
    return round(10**9 / gap_ns) if gap_ns else 0


def _check_port(port: int) -> None:
    if not 0 <= port <= MAX_PORT:
        raise ValueError(f"{port} is not a port number in 0..{MAX_PORT}")
