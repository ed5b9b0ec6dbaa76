"""How table keys and action data are packed into 64-bit words: agreed between generated C and `tables.py`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from softswitch.bmv2.program import Action, MatchKind, Program, Table, UnsupportedProgram

WORD = 64


class Match(IntEnum):
    """`enum ss_match` of runtime/abi.h."""

    EXACT = 0
    PREFIX = 1
    MASKED = 2
    RANGED = 3


@dataclass(frozen=True, slots=True)
class Piece:
    """Bits low..low+width of a key field, at bit `shift` of key word `word`."""

    word: int
    shift: int
    low: int
    width: int


@dataclass(frozen=True, slots=True)
class TableLayout:
    """Where each key field lies, by position; ranged fields have the last `ranged` words to themselves."""

    match: Match
    words: int
    ranged: int
    pieces: tuple[tuple[Piece, ...], ...]
    data_words: int


def match_of(table: Table) -> Match:
    """The search a table needs. A prefix beside ternary fields is a ternary field."""
    kinds = {key.kind for key in table.keys}
    if MatchKind.RANGE in kinds:
        return Match.RANGED
    if table.has_priorities:
        return Match.MASKED
    return Match.PREFIX if MatchKind.LPM in kinds else Match.EXACT


def parameter_words(action: Action) -> int:
    """Words of an action's data: one for each parameter, two beyond 64 bits."""
    return sum((p.width + WORD - 1) // WORD for p in action.parameters)


def lay_out(table: Table, program: Program) -> TableLayout:
    """Fields of up to 64 bits share words first-fit; wider ones are cut into whole words."""
    room: list[int] = []
    pieces: list[tuple[Piece, ...]] = []
    ranges: list[int] = []
    for position, key in enumerate(table.keys):
        if key.kind is MatchKind.RANGE:
            if key.width > WORD:
                raise UnsupportedProgram(f"range match on {key.width} bits in table {table.name!r}", table.source)
            ranges.append(position)
            pieces.append(())
            continue
        cut = []
        for low in range(0, key.width, WORD):
            width = min(WORD, key.width - low)
            word = next((w for w, free in enumerate(room) if free >= width), len(room))
            if word == len(room):
                room.append(WORD)
            cut.append(Piece(word, WORD - room[word], low, width))
            room[word] -= width
        pieces.append(tuple(cut))
    for place, position in enumerate(ranges):
        pieces[position] = (Piece(len(room) + place, 0, 0, table.keys[position].width),)
    return TableLayout(
        match=match_of(table),
        words=len(room) + len(ranges),
        ranged=len(ranges),
        pieces=tuple(pieces),
        data_words=max((parameter_words(program.actions[a]) for a in table.actions), default=0),
    )
