"""What a P4Info describes and the BMv2 JSON has not, or by another name: p4c describes a program before it takes out
what no packet reaches. Such objects are added, so that a controller writes and reads them like any other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from finsy.proto import p4i

from softswitch.bmv2.control import Action, MatchKind, Parameter, Pipeline, Table, TableKey
from softswitch.bmv2.expressions import Const
from softswitch.bmv2.program import (
    ActionProfile,
    CounterArray,
    LearnList,
    MeterArray,
    Program,
    RegisterArray,
    ValueSet,
)
from softswitch.p4runtime.data import data_type
from softswitch.p4runtime.schema import MATCH_KINDS, MAX_SIZE

UNREACHED = "$unreached"
"""The pipeline of the tables that no packet comes to."""

NUMBER_BITS = 32
"""Of what P4Info gives no width: an error or an enum, as p4c numbers them."""


def completed(program: Program, p4info: p4i.P4Info) -> Program:
    """The program with all that `p4info` describes. What is described in no way that can exist is left to the check of
    the P4Info."""
    profiles = {a.preamble.id: a.preamble.name for a in p4info.action_profiles}
    direct_counters = {c.preamble.id: c.preamble.name for c in p4info.direct_counters}
    direct_meters = {m.preamble.id: m for m in p4info.direct_meters}
    described = {a.preamble.id: a for a in p4info.actions}
    actions, counters, meters = dict(program.actions), dict(program.counters), dict(program.meters)
    tables: dict[str, Table] = {}
    for message in p4info.tables:
        name = message.preamble.name
        if name in program.tables or not all(ref.id in described for ref in message.action_refs):
            continue
        mine = {ref.id: _action(described[ref.id], actions) for ref in message.action_refs}
        initial = message.const_default_action_id or message.initial_default_action.action_id
        for identifier in message.direct_resource_ids:
            if identifier in direct_counters:
                counters[direct_counters[identifier]] = CounterArray(direct_counters[identifier], 0, name)
            elif identifier in direct_meters:
                meters[direct_meters[identifier].preamble.name] = _meter(direct_meters[identifier], 0, name)
        tables[name] = Table(
            name=name,
            keys=tuple(_keys(message)),
            size=min(message.size, MAX_SIZE),
            actions=tuple(action.id for action in mine.values()),
            by_hit=False,
            next=dict.fromkeys((action.id for action in mine.values()), None),
            next_hit=None,
            next_miss=None,
            next_without_action=None,
            default_action=mine[initial].id if initial in mine else None,
            default_parameters=tuple(_arguments(message, mine[initial])) if initial in mine else (),
            const_default=bool(message.const_default_action_id),
            entries=(),
            const_entries=message.is_const_table,
            counter=next((direct_counters[i] for i in message.direct_resource_ids if i in direct_counters), None),
            meter=next(
                (direct_meters[i].preamble.name for i in message.direct_resource_ids if i in direct_meters), None
            ),
            profile=profiles.get(message.implementation_id),
            idle_timeout=message.idle_timeout_behavior != p4i.Table.NO_TIMEOUT,
            source=None,
        )
    pipelines = dict(program.pipelines)
    if tables:
        pipelines[UNREACHED] = Pipeline(UNREACHED, None, dict(tables))
    return replace(
        program,
        actions=actions,
        counters={c.preamble.name: CounterArray(c.preamble.name, _size(c.size)) for c in p4info.counters} | counters,
        meters={m.preamble.name: _meter(m, m.size) for m in p4info.meters} | meters,
        profiles={a.preamble.name: _profile(a) for a in p4info.action_profiles} | program.profiles,
        registers={r.name: r for r in _registers(p4info)} | program.registers,
        value_sets={v.preamble.name: _value_set(v) for v in p4info.value_sets} | program.value_sets,
        learn_lists=with_names(program.learn_lists, p4info),
        pipelines=pipelines,
    )


def _action(message: p4i.Action, actions: dict[int, Action]) -> Action:
    """The action of this name and these parameters, a new one where p4c has left none."""
    widths = [p.bitwidth or NUMBER_BITS for p in message.params]
    for known in actions.values():
        if known.name == message.preamble.name and [p.width for p in known.parameters] == widths:
            return known
    number = max(actions, default=-1) + 1
    parameters = tuple(Parameter(p.name, width) for p, width in zip(message.params, widths, strict=True))
    actions[number] = Action(number, message.preamble.name, parameters, (), None)
    return actions[number]


def _arguments(message: p4i.Table, action: Action) -> Iterator[int]:
    given = {a.param_id: a.value for a in message.initial_default_action.arguments}
    for place, _ in enumerate(action.parameters, start=1):
        yield int.from_bytes(given.get(place, b""), "big")


def _keys(message: p4i.Table) -> Iterator[TableKey]:
    for match in message.match_fields:
        kind = MATCH_KINDS.get(match.match_type, MatchKind.EXACT)
        native = MatchKind.TERNARY if kind is MatchKind.OPTIONAL else kind
        yield TableKey(match.name, native, Const(0), match.bitwidth or NUMBER_BITS)


def _size(size: int) -> int:
    return min(max(size, 0), MAX_SIZE)


def _meter(message: p4i.Meter | p4i.DirectMeter, size: int, table: str | None = None) -> MeterArray:
    return MeterArray(message.preamble.name, _size(size), message.spec.unit == p4i.MeterSpec.PACKETS, table)


def _profile(message: p4i.ActionProfile) -> ActionProfile:
    name = message.preamble.name
    return ActionProfile(name, min(message.size, MAX_SIZE), f"{name}$selector" if message.with_selector else None)


def _value_set(message: p4i.ValueSet) -> ValueSet:
    width = sum(match.bitwidth or NUMBER_BITS for match in message.match)
    return ValueSet(message.preamble.name, max(width, 1), _size(message.size))


def _registers(p4info: p4i.P4Info) -> Iterator[RegisterArray]:
    for message in p4info.registers:
        try:
            widths = data_type(message.type_spec, p4info.type_info).widths
        except ValueError:
            continue
        if len(widths) == 1 and widths[0]:
            yield RegisterArray(message.preamble.name, widths[0], _size(message.size))


def with_names(learn_lists: dict[int, LearnList], p4info: p4i.P4Info) -> dict[int, LearnList]:
    """Digests by the names of the P4Info. For those without a struct p4c makes up one name there and another in the
    JSON, in the same order."""
    names = {d.preamble.name for d in p4info.digests}
    known = {learn.name for learn in learn_lists.values()}
    nameless = [d for d in p4info.digests if d.preamble.name not in known]
    given: dict[int, LearnList] = {}
    for number, learn in learn_lists.items():
        described = None if learn.name in names else _first(nameless, learn.widths, p4info)
        if described is not None:
            del nameless[: nameless.index(described) + 1]
        given[number] = learn if described is None else replace(learn, name=described.preamble.name)
    return given


def _first(digests: Sequence[p4i.Digest], widths: tuple[int, ...], p4info: p4i.P4Info) -> p4i.Digest | None:
    for digest in digests:
        try:
            if data_type(digest.type_spec, p4info.type_info).widths == widths:
                return digest
        except ValueError:
            continue
    return None
