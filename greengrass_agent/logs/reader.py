"""Reads a component's log for somebody afar, a piece at a time: what was asked for, and the cursor to go on from."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from greengrass_agent.logs import cursor as cursors
from greengrass_agent.logs.cursor import Part, Place
from greengrass_agent.logs.lines import LONGEST, Line, parse, split
from greengrass_agent.logs.times import opened

PIECE = 48 << 10
"""Bytes of output that an answer has at most."""
BEHIND = 1 << 20
"""Who follows and is so many bytes behind has lost what lies between ..."""
CAUGHT_UP = PIECE
"""... there and so many bytes before the end."""
LOOKED_BACK = 1 << 20
"""Bytes at the end of a log among which its last lines are looked for."""
STILL_S = 1.0
"""A last line without an end counts once nothing was added to it for so long."""
_BLOCK = 1 << 16


@dataclass(frozen=True, slots=True)
class Question:
    """What is wanted of a log: what follows a cursor, or was written since a while ago, or are its last lines."""

    cursor: str | None = None
    since_s: int | None = None
    tail: int | None = None
    live: bool = False
    """Whether who asks follows: who is far behind loses lines."""


@dataclass(frozen=True, slots=True)
class Piece:
    """The answer."""

    lines: tuple[Line, ...]
    cursor: str
    more: bool
    """Whether more is there already."""
    missed: int = 0
    """Lines that were left out before these, since they came faster than they were asked for."""
    gone: bool = False
    """Whether the node no longer keeps what followed the cursor."""


def read(path: Path, files: int, question: Question, *, now_s: float | None = None) -> Piece:
    """Read a piece of a log that has so many files. Raises CursorError, OSError. `now_s` is for tests."""
    with _files(path, files) as found:
        descriptors, parts = [one for one, _ in found], [part for _, part in found]
        if not parts:
            return Piece((), question.cursor or cursors.written((), Place(0, 0)), more=False)
        oldest_ms, gone, missed = 0, False, 0
        if question.cursor is not None:
            place, gone = cursors.found(parts, question.cursor)
        elif question.since_s is not None:
            oldest_ms = int(((time.time() if now_s is None else now_s) - question.since_s) * 1000)
            place = cursors.beginning(parts, oldest_ms)
        elif question.tail is not None:
            place = _last_lines(descriptors, parts, question.tail)
        else:
            place = Place(0, 0)
        if question.live and cursors.left(parts, place) > BEHIND:
            place, missed = _skip(descriptors, parts, place)
        data = b"".join(_blocks(descriptors, parts, place, PIECE))
        rest = cursors.left(parts, place) - len(data)
        still = time.time() - os.fstat(descriptors[-1]).st_mtime >= STILL_S
        found_lines, taken = split(data, ended=rest == 0 and still)
        lines = [
            parse(text.removesuffix(b"\r").decode(errors="replace"), _time_at(parts, place, begin))
            for begin, text in found_lines
        ]
        after = cursors.forward(parts, place, taken)
        return Piece(
            tuple(line for line in lines if line.time_ms >= oldest_ms - _COARSE_MS),
            cursors.written(parts, after),
            more=rest > 0,
            missed=missed,
            gone=gone,
        )


_COARSE_MS = 1000
"""A line without a time of its own may be so much younger than the stamp before it says."""


def _time_at(parts: Sequence[Part], place: Place, begin: int) -> int:
    there = cursors.forward(parts, place, begin)
    return parts[there.part].time_at(there.offset)


@contextmanager
def _files(path: Path, files: int) -> Iterator[list[tuple[int, Part]]]:
    found = opened(path, files)
    try:
        yield found
    finally:
        for descriptor, _ in found:
            os.close(descriptor)


def _blocks(descriptors: Sequence[int], parts: Sequence[Part], place: Place, count: int) -> Iterator[bytes]:
    """So many bytes from a place on, fewer at the end."""
    index, offset = place.part, place.offset
    while count > 0 and index < len(parts):
        # What a file has grown by since it was looked at comes next time.
        size = min(count, _BLOCK, parts[index].size - offset)
        block = os.pread(descriptors[index], size, offset) if size > 0 else b""
        if not block:
            index, offset = index + 1, 0
            continue
        yield block
        offset, count = offset + len(block), count - len(block)


def _skip(descriptors: Sequence[int], parts: Sequence[Part], place: Place) -> tuple[Place, int]:
    """A place near the end, at the beginning of a line, and how many lines lie between."""
    missed, passed, after_last = 0, 0, 0
    for block in _blocks(descriptors, parts, place, cursors.left(parts, place) - CAUGHT_UP):
        missed += block.count(b"\n")
        end = block.rfind(b"\n")
        after_last = passed + end + 1 if end >= 0 else after_last
        passed += len(block)
    # One that never ends is left out up to here.
    return cursors.forward(parts, place, after_last or passed), missed


def _last_lines(descriptors: Sequence[int], parts: Sequence[Part], count: int) -> Place:
    """Where the last lines begin."""
    total = cursors.left(parts, Place(0, 0))
    begin = max(0, total - LOOKED_BACK)
    data = b"".join(_blocks(descriptors, parts, cursors.forward(parts, Place(0, 0), begin), LOOKED_BACK))
    position = len(data) - data.endswith(b"\n")
    for _ in range(count):
        position = data.rfind(b"\n", 0, position)
        if position < 0:
            break
    if count <= 0:
        return cursors.forward(parts, Place(0, 0), begin + len(data))
    if position < 0 and begin > 0:
        # More than is looked back for: from the first line that begins there.
        position = data.find(b"\n", 0, LONGEST)
    return cursors.forward(parts, Place(0, 0), begin + position + 1)
