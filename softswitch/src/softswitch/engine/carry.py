"""What a program that replaces another one takes over from it as it stands at that moment."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

from softswitch.bmv2.program import Program
from softswitch.engine.compiled import Compiled
from softswitch.engine.operations import TableCodec

_COUNTER, _REGISTER, _METER, _TABLE = range(4)
_CARRY = struct.Struct("<III")


@dataclass(frozen=True, slots=True)
class Alike:
    """Full names of the indirect counters, registers and indirect meters that two programs have in the same shape."""

    counters: frozenset[str]
    registers: frozenset[str]
    meters: frozenset[str]


def alike(old: Program, new: Program) -> Alike:
    """Compare two programs' arrays."""
    return Alike(
        counters=_equal(
            {c.name: c.size for c in old.counters.values() if c.table is None},
            {c.name: c.size for c in new.counters.values() if c.table is None},
        ),
        registers=_equal(
            {r.name: (r.width, r.size) for r in old.registers.values()},
            {r.name: (r.width, r.size) for r in new.registers.values()},
        ),
        meters=_equal(
            {m.name: (m.packets, m.size) for m in old.meters.values() if m.table is None},
            {m.name: (m.packets, m.size) for m in new.meters.values() if m.table is None},
        ),
    )


def _equal(old: Mapping[str, object], new: Mapping[str, object]) -> frozenset[str]:
    return frozenset(name for name, shape in old.items() if new.get(name) == shape)


def pack(old: Compiled, new: Compiled) -> bytes:
    """What `new` takes over of `old`, as `ss_adopt` reads it."""
    same = alike(old.program, new.program)
    kinds = (
        (_COUNTER, same.counters, old.counters, new.counters),
        (_REGISTER, same.registers, old.registers, new.registers),
        (_METER, same.meters, old.meters, new.meters),
    )
    arrays = [_CARRY.pack(kind, before[n], after[n]) for kind, names, before, after in kinds for n in sorted(names)]
    return b"".join(arrays + _tables(old.codecs.tables, new.codecs.tables))


def _tables(old: Mapping[str, TableCodec], new: Mapping[str, TableCodec]) -> list[bytes]:
    """The tables whose entries count something and have the same key in both programs."""
    return [
        _CARRY.pack(_TABLE, codec.number, new[name].number)
        for name, codec in old.items()
        if name in new and _counts(codec) and _same_entries(codec, new[name])
    ]


def count(packed: bytes) -> int:
    """How many items were packed."""
    return len(packed) // _CARRY.size


def _counts(codec: TableCodec) -> bool:
    return codec.table.counter is not None or codec.layout.idle or codec.layout.metered


def _same_entries(old: TableCodec, new: TableCodec) -> bool:
    keys = [[(key.name, key.kind, key.width) for key in codec.table.keys] for codec in (old, new)]
    a, b = old.layout, new.layout
    return keys[0] == keys[1] and (a.pieces, a.match, a.idle, a.metered) == (b.pieces, b.match, b.idle, b.metered)
