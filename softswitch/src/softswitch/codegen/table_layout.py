"""How table keys and action data are packed into 64-bit words: agreed between generated C and engine/packing.py."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from softswitch.bmv2.control import Action, MatchKind, Table
from softswitch.bmv2.program import Program, ValueSet
from softswitch.engine.abi import WORD_BITS, Match

REFERENCE_WORDS = 1
"""An entry of an indirect table holds the number of a member or group."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Bits low..low+width of a key field, at bit `shift` of key word `word`."""

    word: int
    shift: int
    low: int
    width: int


@dataclass(frozen=True, slots=True)
class TableLayout:
    """Where each key field lies, by position; ranged fields have the last `ranged` words to themselves. `idle` entries
    know when they were hit last, `metered` ones have a meter."""

    match: Match
    words: int
    ranged: int
    pieces: tuple[tuple[Piece, ...], ...]
    data_words: int
    idle: bool = False
    metered: bool = False

    @property
    def data_at(self) -> int:
        """The word of an entry at which its action data begin."""
        return self.words * (2 if self.match is Match.RANGED else 1)

    @property
    def idle_at(self) -> int:
        """The word that holds when an entry was hit last."""
        return self.data_at + self.data_words

    @property
    def meter_at(self) -> int:
        """The word at which an entry's meter begins."""
        return self.idle_at + self.idle


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
    return sum((p.width + WORD_BITS - 1) // WORD_BITS for p in action.parameters)


def lay_out(table: Table, program: Program) -> TableLayout:
    """Fields of up to 64 bits share words first-fit; wider ones are cut into whole words."""
    room: list[int] = []
    pieces: list[tuple[Piece, ...]] = []
    ranges: list[int] = []
    for position, key in enumerate(table.keys):
        if key.kind is MatchKind.RANGE:
            ranges.append(position)
            pieces.append(())
            continue
        cut = []
        for low in range(0, key.width, WORD_BITS):
            width = min(WORD_BITS, key.width - low)
            word = next((w for w, free in enumerate(room) if free >= width), len(room))
            if word == len(room):
                room.append(WORD_BITS)
            cut.append(Piece(word, WORD_BITS - room[word], low, width))
            room[word] -= width
        pieces.append(tuple(cut))
    words = len(room)
    for position in ranges:
        pieces[position] = _whole_words(table.keys[position].width, words)
        words += len(pieces[position])
    return TableLayout(
        match=match_of(table),
        words=words,
        ranged=words - len(room),
        pieces=tuple(pieces),
        data_words=longest_data(program.actions[a] for a in table.actions)
        if table.profile is None
        else REFERENCE_WORDS,
        idle=table.idle_timeout,
        metered=table.meter is not None,
    )


def _whole_words(width: int, first: int) -> tuple[Piece, ...]:
    """A field cut into words of its own, from the low end."""
    lows = range(0, width, WORD_BITS)
    return tuple(Piece(first + place, 0, low, min(WORD_BITS, width - low)) for place, low in enumerate(lows))


def longest_data(actions: Iterable[Action]) -> int:
    """Words of the data of whichever action has most."""
    return max((parameter_words(action) for action in actions), default=0)


def lay_out_value_set(value_set: ValueSet) -> TableLayout:
    """A value set is a table of masked keys without actions, its key cut into words from the low end."""
    pieces = _whole_words(value_set.width, 0)
    return TableLayout(Match.MASKED, len(pieces), 0, (pieces,), 0)
