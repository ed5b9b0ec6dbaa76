"""How far somebody has read a log that makes way to new files, which holds across rotation and restarts. Pure."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

_CURSOR = re.compile(r"(\d{1,20})-(\d{1,20}):(\d{1,20})", re.ASCII)


class CursorError(ValueError):
    """A text that is no cursor."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """From this byte of a file on, what stands there was written at this time or later."""

    offset: int
    time_ms: int


@dataclass(frozen=True, slots=True)
class Part:
    """One file of a log."""

    inode: int
    began_ms: int
    """By the first stamp: an inode is taken anew when its file has gone."""
    size: int
    stamps: tuple[Stamp, ...] = ()
    """In the order of their offsets."""

    def time_at(self, offset: int) -> int:
        """When the line at an offset was written, in ms since 1970: as exactly as there are stamps."""
        index = bisect_right(self.stamps, offset, key=lambda stamp: stamp.offset)
        return self.stamps[index - 1].time_ms if index else self.began_ms

    def offset_at(self, time_ms: int) -> int:
        """Where to begin to read what was written at a time or later."""
        before = [stamp.offset for stamp in self.stamps if stamp.time_ms <= time_ms]
        return before[-1] if before else 0


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a log, for who has its files in order, oldest first."""

    part: int
    """Index of the file."""
    offset: int


def written(parts: Sequence[Part], place: Place) -> str:
    """The cursor of a place, for whoever asks to go on from there."""
    if not parts:
        return "0-0:0"
    return f"{parts[place.part].inode}-{parts[place.part].began_ms}:{place.offset}"


def found(parts: Sequence[Part], cursor: str) -> tuple[Place, bool]:
    """The place of a cursor, and whether some of what followed it is gone. Raises CursorError."""
    match = _CURSOR.fullmatch(cursor)
    if match is None:
        raise CursorError(f"expected a cursor, got {cursor[:80]!r}")
    inode, began, offset = (int(group) for group in match.groups())
    for index, part in enumerate(parts):
        if (part.inode, part.began_ms) == (inode, began) and offset <= part.size:
            return Place(index, offset), False
    # Who has begun before there was a log has missed nothing of it.
    return Place(0, 0), (inode, began) != (0, 0)


def beginning(parts: Sequence[Part], since_ms: int) -> Place:
    """Where what was written at a time or later begins."""
    for index, part in reversed(list(enumerate(parts))):
        if part.began_ms <= since_ms:
            return Place(index, part.offset_at(since_ms))
    return Place(0, 0)


def left(parts: Sequence[Part], place: Place) -> int:
    """Bytes from a place to the end."""
    return sum(part.size for part in parts[place.part :]) - place.offset


def forward(parts: Sequence[Part], place: Place, count: int) -> Place:
    """The place that many bytes on, at most the end: at the beginning of the next file once one is read."""
    index, offset = place.part, place.offset + count
    while index < len(parts) - 1 and offset >= parts[index].size:
        offset -= parts[index].size
        index += 1
    return Place(index, min(offset, parts[index].size) if parts else 0)
