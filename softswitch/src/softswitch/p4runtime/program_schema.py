"""What a program's BMv2 JSON alone says of it, where nobody gave its P4Info: enough to write by name, not over
P4Runtime, whose ids only a P4Info has."""

from __future__ import annotations

from finsy.proto import p4t

from softswitch.bmv2 import control as bmv2
from softswitch.bmv2.control import MatchKind
from softswitch.bmv2.program import Program
from softswitch.p4runtime.data import data_type
from softswitch.p4runtime.schema import (
    Action,
    ActionProfile,
    ActionUse,
    Counter,
    Field,
    Meter,
    MeterKind,
    Register,
    Schema,
    Table,
    ValueSet,
)


def build(program: Program) -> Schema:
    """Index a program. Ids are places, counted from 1; digests, which only P4Runtime carries, are left out."""
    by_name: dict[str, bmv2.Action] = {}
    for native in program.actions.values():
        by_name.setdefault(native.name, native)
    actions = {name: _action(number, native) for number, (name, native) in enumerate(by_name.items(), 1)}
    profile_ids = {name: number for number, name in enumerate(program.profiles, 1)}
    tables = [
        _table(number, native, program, actions, profile_ids)
        for number, native in enumerate(program.tables.values(), 1)
    ]
    counters = [counter for counter in program.counters.values() if counter.table is None]
    meters = [meter for meter in program.meters.values() if meter.table is None]
    return Schema(
        tables={table.id: table for table in tables},
        actions={action.id: action for action in actions.values()},
        counters={number: Counter(number, c.name, c.size) for number, c in enumerate(counters, 1)},
        meters={
            number: Meter(number, m.name, MeterKind.TWO_RATE_THREE_COLOR, m.size) for number, m in enumerate(meters, 1)
        },
        profiles={number: _profile(number, name, program, tables) for name, number in profile_ids.items()},
        value_sets={
            number: ValueSet(number, v.name, (Field(1, v.name, v.width),), v.size)
            for number, v in enumerate(program.value_sets.values(), 1)
        },
        registers={
            number: Register(number, r.name, r.size, data_type(_bits(r.width), p4t.P4TypeInfo()))
            for number, r in enumerate(program.registers.values(), 1)
        },
        digests={},
        packet_in=None,
        packet_out=None,
    )


def _action(number: int, native: bmv2.Action) -> Action:
    return Action(number, native.name, tuple(Field(i, p.name, p.width) for i, p in enumerate(native.parameters, 1)))


def _table(
    number: int, native: bmv2.Table, program: Program, actions: dict[str, Action], profiles: dict[str, int]
) -> Table:
    known = [actions[program.actions[identifier].name] for identifier in native.actions]
    return Table(
        id=number,
        name=native.name,
        fields=tuple(
            # whether a header is there is one bit
            Field(place, key.name, key.width, MatchKind.EXACT if key.kind is MatchKind.VALID else key.kind)
            for place, key in enumerate(native.keys, 1)
        ),
        uses={action.id: ActionUse(action, in_entries=True, as_default=True) for action in known},
        size=native.size,
        const_entries=native.const_entries,
        const_default=native.const_default or native.profile is not None,
        direct_counter=native.counter is not None,
        direct_meter=None if native.meter is None else MeterKind.TWO_RATE_THREE_COLOR,
        profile=None if native.profile is None else profiles[native.profile],
        idle_timeout=native.idle_timeout,
    )


def _profile(number: int, name: str, program: Program, tables: list[Table]) -> ActionProfile:
    native = program.profiles[name]
    return ActionProfile(
        id=number,
        name=name,
        uses={identifier: use for table in tables if table.profile == number for identifier, use in table.uses.items()},
        with_selector=native.selector is not None,
        size=native.size,
        max_group_size=0,
        weighed=True,
        max_weight=0,
        equal=False,
    )


def _bits(width: int) -> p4t.P4DataTypeSpec:
    spec = p4t.P4DataTypeSpec()
    spec.bitstring.bit.bitwidth = width
    return spec
