"""What a program that replaces another one takes over from it as it stands at that moment, without a word to Python."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from softswitch.bmv2.program import Program
from softswitch.engine import abi
from softswitch.engine.abi import Carry
from softswitch.engine.compiled import Compiled
from softswitch.engine.packing import TableCodec


@dataclass(frozen=True, slots=True)
class Alike:
    """Full names of what two programs have in the same shape: indirect counters, registers, indirect meters, tables
    that can exchange their entries, action profiles that can exchange their members and groups."""

    counters: frozenset[str]
    registers: frozenset[str]
    meters: frozenset[str]
    tables: frozenset[str]
    profiles: frozenset[str]


@dataclass(frozen=True, slots=True)
class Carried:
    """What is taken over, as `ss_adopt` reads it: `count` of `struct ss_carry`, and the actions they renumber."""

    items: bytes
    count: int
    renumbered: bytes


NOTHING = Carried(b"", 0, b"")


def alike(old: Compiled, new: Compiled) -> Alike:
    """Compare two programs."""
    was, now = old.codecs.tables, new.codecs.tables
    return Alike(
        counters=_equal(_counters(old.program), _counters(new.program)),
        registers=_equal(_registers(old.program), _registers(new.program)),
        meters=_equal(_meters(old.program), _meters(new.program)),
        tables=frozenset(name for name in was.keys() & now.keys() if _exchangeable(was[name], now[name])),
        profiles=_equal(_profiles(old.program), _profiles(new.program)),
    )


def pack(old: Compiled, new: Compiled, same: Alike, tables: Collection[str], profiles: Collection[str]) -> Carried:
    """Take over the arrays that are the `same`, the entries of `tables` and the members and groups of `profiles`, which
    are some of those, and of other tables with the same key what their entries have counted."""
    items: list[bytes] = []
    renumbered: list[bytes] = []

    def add(kind: Carry, before: int, after: int, actions: Collection[tuple[int, int]] = ()) -> None:
        items.append(abi.CARRY.pack(kind, before, after, len(renumbered), len(actions)))
        renumbered.extend(abi.RENUMBERED.pack(*pair) for pair in actions)

    for kind, names, before, after in (
        (Carry.COUNTER, same.counters, old.counters, new.counters),
        (Carry.REGISTER, same.registers, old.registers, new.registers),
        (Carry.METER, same.meters, old.meters, new.meters),
        (Carry.PROFILE, profiles, _numbers(old.program), _numbers(new.program)),
    ):
        for name in sorted(names):
            add(kind, before[name], after[name])
    for name, codec in old.codecs.tables.items():
        successor = new.codecs.tables.get(name)
        if successor is None:
            continue
        if name in tables:
            add(Carry.ENTRIES, codec.number, successor.number, _renumbered(codec, successor))
        elif _counts(codec) and _same_key(codec, successor):
            add(Carry.COUNTED, codec.number, successor.number)
    return Carried(b"".join(items), len(items), b"".join(renumbered))


def _equal(old: Mapping[str, object], new: Mapping[str, object]) -> frozenset[str]:
    return frozenset(name for name, shape in old.items() if new.get(name) == shape)


def _counters(program: Program) -> dict[str, object]:
    return {counter.name: counter.size for counter in program.counters.values() if counter.table is None}


def _registers(program: Program) -> dict[str, object]:
    return {register.name: (register.width, register.size) for register in program.registers.values()}


def _meters(program: Program) -> dict[str, object]:
    return {meter.name: (meter.packets, meter.size) for meter in program.meters.values() if meter.table is None}


def _profiles(program: Program) -> dict[str, object]:
    """Members know their actions by place."""
    return {
        name: [(action.name, [p.width for p in action.parameters]) for action in program.profile_actions(name)]
        for name in program.profiles
    }


def _numbers(program: Program) -> dict[str, int]:
    return {name: number for number, name in enumerate(program.profiles)}


def _counts(codec: TableCodec) -> bool:
    return codec.table.counter is not None or codec.layout.idle or codec.layout.metered


def _same_key(old: TableCodec, new: TableCodec) -> bool:
    keys = [[(key.name, key.kind, key.width) for key in codec.table.keys] for codec in (old, new)]
    a, b = old.layout, new.layout
    return keys[0] == keys[1] and (a.pieces, a.match, a.idle, a.metered) == (b.pieces, b.match, b.idle, b.metered)


def _exchangeable(old: TableCodec, new: TableCodec) -> bool:
    """Whether entries of one are entries of the other but for the numbers of their actions."""
    shapes = [
        (codec.layout, codec.table.size, codec.table.profile, codec.table.counter is None, _parameters(codec))
        for codec in (old, new)
    ]
    const = old.table.const_entries or new.table.const_entries
    return not const and shapes[0] == shapes[1] and _same_key(old, new)


def _parameters(codec: TableCodec) -> dict[str, list[int]]:
    return {name: [parameter.width for parameter in action.parameters] for name, action in codec.actions.items()}


def _renumbered(old: TableCodec, new: TableCodec) -> list[tuple[int, int]]:
    """The actions of entries whose numbers are others now. Entries of an indirect table have none."""
    if old.table.profile is not None:
        return []
    pairs = [(action.id, new.actions[name].id) for name, action in old.actions.items()]
    return [(before, after) for before, after in pairs if before != after]
