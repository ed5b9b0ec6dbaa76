"""The native makers of hostile frames and the ways to a switch, compiled when they are needed."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from softswitch.engine.engine import Engine

from hitless.words import REPORT_BYTES
from tests.packet.bench import Bench
from tests.packet.layout import PORTS

SOURCES = sorted(Path(__file__).parent.glob("*.c"))
FLAGS = ("-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC")
BATCH = 20_000
"""Frames between two looks at what an engine told."""
WINDOW = {"softswitch": 500, "bmv2": 60}
"""Frames under way on wires: the kernel's queue behind a veth holds 1000 where softirqs are late, BMv2's egress queues
64, and they lose what is more without a word."""
HOSTS = {1: 0x0A000001, 2: 0x0A000100, 3: 0x0A000101, 4: 0x0A000102}
"""An address behind each port of a bench."""
ROOM, MOST_PORTS, FLOWS, OLD_ONES = 2048, 8, 256, 64
REASONS = ("REPORT_MALFORMED", "REPORT_UNBOUND", "REPORT_OLD", "REPORT_FORGED")
INTRUSIONS = ("SOURCE", "FOREIGN", "TUNNEL")

Frame = tuple[int, bytes]
"""A frame and the port that it comes to."""


class Maker(Protocol):
    """The state of what makes frames."""

    make: str
    """The function that makes the next one."""


class _Frame(ctypes.Structure):
    _fields_ = (("port", ctypes.c_uint32), ("length", ctypes.c_uint32), ("data", ctypes.c_uint8 * ROOM))


def _frame(port: int, data: bytes) -> _Frame:
    return _Frame(port, len(data), (ctypes.c_uint8 * ROOM)(*data))


class _Seed(ctypes.Structure):
    _fields_ = (("port", ctypes.c_uint32), ("length", ctypes.c_uint32), ("data", ctypes.c_char_p))


class Mutator(ctypes.Structure):
    """Damages seeds; the same `start` makes the same frames, of `shortest` bytes at least."""

    _fields_ = (
        ("state", ctypes.c_uint64),
        ("seeds", ctypes.POINTER(_Seed)),
        ("count", ctypes.c_uint32),
        ("shortest", ctypes.c_uint32),
    )
    make = "mutate"

    def __init__(self, seeds: Sequence[Frame], start: int, shortest: int = 0) -> None:
        self._kept = (_Seed * len(seeds))(*((port, len(data), data) for port, data in seeds))
        super().__init__(start, self._kept, len(seeds), shortest)


class Forger(ctypes.Structure):
    """Makes reports that must not count out of a frame with one that would, and of some that have."""

    _fields_ = (
        ("state", ctypes.c_uint64),
        ("good", _Frame),
        ("past", ctypes.c_uint8 * REPORT_BYTES * OLD_ONES),
        ("counts", ctypes.c_uint64 * len(REASONS)),
    )
    make = "forge"

    def __init__(self, good: Frame, past: Sequence[bytes], start: int) -> None:
        assert len(past) == OLD_ONES
        super().__init__(
            start, _frame(*good), (ctypes.c_uint8 * REPORT_BYTES * OLD_ONES).from_buffer_copy(b"".join(past))
        )

    @property
    def expected(self) -> dict[str, int]:
        """How many must have been dropped, by reason."""
        return dict(zip(REASONS, self.counts, strict=True))


class Intruder(ctypes.Structure):
    """Makes frames that no port must take, out of one that all do, which must be IPv4; `end` is where tunnels end."""

    _fields_ = (
        ("state", ctypes.c_uint64),
        ("good", _Frame),
        ("ports", ctypes.c_uint32),
        ("end", ctypes.c_uint32),
        ("counts", ctypes.c_uint64 * len(INTRUSIONS)),
    )
    make = "intrude"

    def __init__(self, good: bytes, end: int, start: int) -> None:
        super().__init__(start, _frame(0, good), PORTS, end)

    @property
    def expected(self) -> dict[str, int]:
        """How many must have been dropped, by reason."""
        return dict(zip(INTRUSIONS, self.counts, strict=True))


class Flood(ctypes.Structure):
    """Makes connections like a first one, from other sources."""

    _fields_ = (("state", ctypes.c_uint64), ("first", _Frame))
    make = "spoof"

    def __init__(self, first: Frame, start: int) -> None:
        super().__init__(start, _frame(*first))


class Live(ctypes.Structure):
    """The traffic of live flows, while it lasts: what was sent, what came to the flow's member, and what elsewhere."""

    _fields_ = (
        ("sender", ctypes.c_int),
        ("receivers", ctypes.c_int * 3),
        ("flows", ctypes.c_uint32),
        ("rate", ctypes.c_uint32),
        ("source", ctypes.c_uint32),
        ("first_port", ctypes.c_uint32),
        ("homes", ctypes.c_uint8 * FLOWS),
        ("segment", _Frame),
        ("stop", ctypes.c_int),
        ("sent", ctypes.c_uint64),
        ("delivered", ctypes.c_uint64),
        ("astray", ctypes.c_uint64),
    )

    def __init__(
        self, sender: int, receivers: Sequence[int], rate: int, first: int, homes: Sequence[int], segment: bytes
    ) -> None:
        """`rate`: packets a second of all together. `first`: the first flow's source, address and port; the others are
        on the ports after it. `homes`: the member of each."""
        super().__init__(sender, (ctypes.c_int * 3)(*receivers), len(homes), rate, first >> 16, first & 0xFFFF)
        self.homes[: len(homes)] = homes
        self.segment = _frame(0, segment)


class _Wires(ctypes.Structure):
    _fields_ = (
        ("ports", ctypes.c_uint32),
        ("sockets", ctypes.c_int * MOST_PORTS),
        ("hosts", ctypes.c_uint32 * MOST_PORTS),
        ("window", ctypes.c_uint32),
    )


class Native:
    """The library, made in a folder."""

    def __init__(self, folder: Path) -> None:
        library = folder / "hostile.so"
        compiler = shutil.which("gcc") or shutil.which("cc")
        assert compiler is not None, "no C compiler: install gcc"
        subprocess.run([compiler, *FLAGS, *map(str, SOURCES), "-o", str(library)], check=True)
        self._library = ctypes.CDLL(str(library))

    def into_engine(self, engine: Engine, maker: Any, frames: int) -> int:
        """Feed an engine that is not started; how many frames something left after."""
        left = ctypes.c_uint64()
        native = engine._native
        entrance = ctypes.cast(native.ss_inject, ctypes.c_void_p), ctypes.cast(native.ss_release, ctypes.c_void_p)
        for done in range(0, frames, BATCH):
            batch = ctypes.c_uint64(min(BATCH, frames - done))
            self._library.into_engine(
                engine.handle, *entrance, self._make(maker), ctypes.byref(maker), batch, ctypes.byref(left)
            )
            engine.read_events()
        return left.value

    def feed(self, bench: Bench, maker: Any, frames: int) -> int:
        """Feed a running switch; how many left it. Raises TimeoutError if it lets nothing more through."""
        wires = _Wires(PORTS, window=WINDOW[bench.target])
        for at, (port, descriptor) in enumerate(sorted(bench.wires.descriptors.items())):
            wires.sockets[at], wires.hosts[at] = descriptor, HOSTS[port]
        left = ctypes.c_uint64()
        state, result = ctypes.byref(maker), ctypes.byref(left)
        if self._library.over_wires(ctypes.byref(wires), self._make(maker), state, ctypes.c_uint64(frames), result):
            raise TimeoutError("the switch lets nothing more through")
        return left.value

    def pour(self, wire: int, flood: Flood, frames: int) -> None:
        """Put a flood on a wire, as fast as it takes it."""
        error = self._library.pour(wire, ctypes.byref(flood), ctypes.c_uint64(frames))
        assert not error, "cannot send"

    def keep_alive(self, live: Live) -> None:
        """Send the packets of live flows until `stop` is set, and count them."""
        assert not self._library.keep_alive(ctypes.byref(live)), "cannot send"

    def _make(self, maker: Maker) -> ctypes.c_void_p:
        return ctypes.cast(getattr(self._library, maker.make), ctypes.c_void_p)
