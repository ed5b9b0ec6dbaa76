"""The native mutator, compiled when it is needed."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from softswitch.engine import Engine

SOURCE = Path(__file__).with_name("mutate.c")
BATCH = 20_000
"""Frames between two looks at what the switch told."""


class _Seed(ctypes.Structure):
    _fields_ = (("port", ctypes.c_uint32), ("length", ctypes.c_uint32), ("data", ctypes.c_char_p))


class _Result(ctypes.Structure):
    _fields_ = (("left", ctypes.c_uint64), ("silent", ctypes.c_uint64))


@dataclass(frozen=True)
class Count:
    """Frames after which something left the switch, and after which nothing did."""

    left: int
    silent: int


class Fuzzer:
    """Feeds mutated frames to an engine that is not started."""

    def __init__(self, directory: Path, seeds: Sequence[tuple[int, bytes]]) -> None:
        """`seeds` are frames and the ports they come to."""
        library = directory / "mutate.so"
        compiler = shutil.which("gcc") or shutil.which("cc")
        assert compiler is not None, "no C compiler: install gcc"
        command = [compiler, "-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", str(SOURCE)]
        subprocess.run([*command, "-o", str(library)], check=True)
        self._fuzz = ctypes.CDLL(str(library)).fuzz
        self._fuzz.restype = None
        self._frames = [frame for _, frame in seeds]
        self._seeds = (_Seed * len(seeds))(*((port, len(frame), frame) for port, frame in seeds))

    def run(self, engine: Engine, frames: int, start: int) -> Count:
        """Feed that many frames; the same `start` makes the same frames."""
        state, result = ctypes.c_uint64(start), _Result()
        native = engine._native
        entrance = ctypes.cast(native.ss_inject, ctypes.c_void_p), ctypes.cast(native.ss_release, ctypes.c_void_p)
        for done in range(0, frames, BATCH):
            batch = ctypes.c_uint64(min(BATCH, frames - done))
            count = ctypes.c_uint32(len(self._seeds))
            self._fuzz(engine._handle, *entrance, self._seeds, count, batch, ctypes.byref(state), ctypes.byref(result))
            engine.read_events()
        return Count(result.left, result.silent)
