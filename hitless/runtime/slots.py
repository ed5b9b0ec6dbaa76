"""Memory that a supervisor shares with its workers: each writes into a slot of its own what became of it."""

from __future__ import annotations

import mmap
import os
import struct
import time
from collections.abc import Mapping

from hitless.runtime.pool import Life

SLOTS = 256
"""More than a pool ever has: workers that leave and those that come in their place."""
_LIFE = struct.Struct("=dQ??6x")
_ANSWERS = struct.Struct("=Q")
SIZE = _LIFE.size
"""Bytes of a slot. The time when the worker was warm comes first (time.monotonic, 0 before)."""
ANSWERS_AT, TOLD_AT, ASKED_AT = 8, 16, 17
"""Where in a slot the others stand."""


class Slot:
    """One worker's."""

    def __init__(self, memory: mmap.mmap, index: int, descriptor: int) -> None:
        self.index = index
        self.descriptor = descriptor
        """Of the memory, for a program that takes this process's place."""
        self._memory = memory
        self._at = index * SIZE
        self._answers = 0
        _LIFE.pack_into(memory, self._at, 0.0, 0, False, False)

    def ready(self) -> None:
        """Worker: it is warm."""
        struct.pack_into("=d", self._memory, self._at, time.monotonic())

    def asked(self) -> None:
        """Worker: it has been given a request."""
        struct.pack_into("=?", self._memory, self._at + ASKED_AT, True)

    def answered(self) -> None:
        """Worker: it has answered a request."""
        self._answers += 1
        _ANSWERS.pack_into(self._memory, self._at + ANSWERS_AT, self._answers)

    def leaving(self) -> None:
        """Worker: it ends since it was told to."""
        struct.pack_into("=?", self._memory, self._at + TOLD_AT, True)

    def life(self) -> Life:
        """Supervisor: what has become of it so far."""
        ready_at, answers, told, asked = _LIFE.unpack_from(self._memory, self._at)
        return Life(ready_at or None, answers, told, asked)


class Slots:
    """All of them. To be made before the workers are forked."""

    def __init__(self) -> None:
        self._descriptor = os.memfd_create("slots")
        os.ftruncate(self._descriptor, SLOTS * SIZE)
        self._memory = mmap.mmap(self._descriptor, SLOTS * SIZE)

    def take(self, taken: Mapping[int, Slot]) -> Slot:
        """One that no worker has; `taken` has the others' by process."""
        used = {slot.index for slot in taken.values()}
        return Slot(self._memory, next(index for index in range(SLOTS) if index not in used), self._descriptor)
