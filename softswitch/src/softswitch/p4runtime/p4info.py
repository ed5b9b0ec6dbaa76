"""Indexes a P4Info as a `Schema` and checks it against the program itself."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from finsy.proto import p4i

from softswitch.bmv2 import control as bmv2
from softswitch.bmv2.control import MatchKind
from softswitch.bmv2.program import Program
from softswitch.bmv2.source import Source
from softswitch.p4runtime.data import data_type
from softswitch.p4runtime.errors import invalid
from softswitch.p4runtime.names import Names
from softswitch.p4runtime.schema import (
    MATCH_KINDS,
    MAX_SIZE,
    Action,
    ActionProfile,
    ActionUse,
    Counter,
    Digest,
    Field,
    Meter,
    MeterKind,
    Register,
    Schema,
    Table,
    ValueSet,
)
from softswitch.p4runtime.translation import as_on_the_device, named
from softswitch.p4runtime.unreached import completed, with_names

# p4c makes a ternary key of an optional one.
_NATIVE_KINDS = {MatchKind.OPTIONAL: MatchKind.TERNARY}


class _Placed(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def source(self) -> Source | None: ...


class _HasPreamble(Protocol):
    @property
    def preamble(self) -> Any: ...


def build(p4info: p4i.P4Info, program: Program) -> Schema:
    """Index `p4info`, which must describe `program`. Raises INVALID_ARGUMENT naming what does not fit."""
    for extern in p4info.externs:
        raise invalid(f"P4Info: externs are not supported ({extern.extern_type_name!r})")
    _check_unique_ids(p4info)
    text = named(p4info)
    try:
        p4info = as_on_the_device(p4info, program)
        actions = {a.preamble.id: _action(a, text, program) for a in p4info.actions}
        direct_counters = {c.preamble.id for c in p4info.direct_counters}
        direct_meters = {m.preamble.id: MeterKind(m.spec.type) for m in p4info.direct_meters}
        tables = {
            t.preamble.id: _table(t, text, actions, direct_counters, direct_meters, program) for t in p4info.tables
        }
        profiles = {a.preamble.id: _action_profile(a, tables, program) for a in p4info.action_profiles}
        for table in tables.values():
            if table.profile is not None and table.profile not in profiles:
                raise ValueError(f"table {table.name!r}: no action profile has id {table.profile}")
        return Schema(
            tables=tables,
            actions=actions,
            counters={c.preamble.id: _counter(c, program) for c in p4info.counters},
            meters={m.preamble.id: _meter(m, program) for m in p4info.meters},
            profiles=profiles,
            value_sets={v.preamble.id: _value_set(v, text, program) for v in p4info.value_sets},
            registers={r.preamble.id: _register(r, p4info, program) for r in p4info.registers},
            digests={d.preamble.id: _digest(d, p4info, program) for d in p4info.digests},
            packet_in=_packet_header(p4info, text, "packet_in"),
            packet_out=_packet_header(p4info, text, "packet_out"),
        )
    except ValueError as error:
        raise invalid(f"P4Info: {error}") from error
    except RecursionError as error:
        raise invalid("P4Info: a type contains itself") from error


def prepared(p4info: p4i.P4Info, program: Program) -> Program:
    """The program as `p4info`, which must describe it, has it: with what p4c took out, and with tables whose entries
    clients may change (specification, "Preinitialized tables"). Raises INVALID_ARGUMENT naming what does not fit."""
    sizes = {
        t.preamble.name: min(t.size, MAX_SIZE) for t in p4info.tables if t.has_initial_entries and not t.is_const_table
    }
    _check_same_program(p4info, program)
    whole = completed(program, p4info).with_preinitialized(sizes)
    build(p4info, whole)
    return whole


def _check_same_program(p4info: p4i.P4Info, program: Program) -> None:
    """What only the P4Info has may be what p4c took out, but not if it lacks something of the program in turn."""
    messages: dict[str, Iterable[_HasPreamble]] = {
        "table": p4info.tables,
        "counter": p4info.counters,
        "meter": p4info.meters,
        "register": p4info.registers,
        "action profile": p4info.action_profiles,
        "digest": p4info.digests,
    }
    natives: dict[str, Iterable[_Placed]] = {
        # p4c makes tables of statements, which have no key
        "table": [table for table in program.tables.values() if table.keys and not table.const_entries],
        "counter": [counter for counter in program.counters.values() if counter.table is None],
        "meter": [meter for meter in program.meters.values() if meter.table is None],
        "register": program.registers.values(),
        "action profile": program.profiles.values(),
        "digest": with_names(program.learn_lists, p4info).values(),
    }
    whole = {*program.tables, *program.counters, *program.meters, *program.registers, *program.profiles}
    whole |= {learn.name for learn in natives["digest"]}
    missing = [(what, m.preamble.name) for what, some in messages.items() for m in some if m.preamble.name not in whole]
    for what, some in natives.items():
        described = {message.preamble.name for message in messages[what]}
        for native in some if missing else ():
            if native.name not in described:
                kind, name = missing[0]
                text = f"of another program: it has a {kind} {name!r}, and not the {what} {native.name!r}"
                raise invalid(f"P4Info: {_misfit(native.source, text)}")


def _misfit(source: Source | None, text: str) -> ValueError:
    """What does not fit, with its place in the P4 program."""
    return ValueError(f"{source}: {text}" if source else text)


def _check_unique_ids(p4info: p4i.P4Info) -> None:
    groups: tuple[Iterable[_HasPreamble], ...] = (
        p4info.tables,
        p4info.actions,
        p4info.counters,
        p4info.direct_counters,
        p4info.meters,
        p4info.direct_meters,
        p4info.action_profiles,
        p4info.value_sets,
        p4info.registers,
        p4info.digests,
        p4info.controller_packet_metadata,
    )
    names: dict[int, str] = {}
    for element in (element for group in groups for element in group):
        identifier, name = element.preamble.id, element.preamble.name
        if not identifier:
            raise invalid(f"P4Info: {name!r} has no id")
        if identifier in names:
            raise invalid(f"P4Info: {names[identifier]!r} and {name!r} share id {identifier}")
        names[identifier] = name


def _action(message: p4i.Action, text: dict[str, Names], program: Program) -> Action:
    named = (action for action in program.actions.values() if action.name == message.preamble.name)
    native = next((action.parameters for action in named if len(action.parameters) == len(message.params)), ())
    widths = [p.width for p in native] or [0] * len(message.params)
    parameters = tuple(
        Field(p.id, p.name, p.bitwidth or width, names=text.get(p.type_name.name))
        for p, width in zip(message.params, widths, strict=True)
    )
    return Action(message.preamble.id, message.preamble.name, parameters)


def _table(
    message: p4i.Table,
    text: dict[str, Names],
    actions: dict[int, Action],
    direct_counters: set[int],
    direct_meters: dict[int, MeterKind],
    program: Program,
) -> Table:
    name = message.preamble.name
    native = program.tables.get(name)
    if native is None:
        raise ValueError(f"table {name!r} is not in the program")
    uses: dict[int, ActionUse] = {}
    for ref in message.action_refs:
        if ref.id not in actions:
            raise _misfit(native.source, f"table {name!r}: no action has id {ref.id}")
        _check_action(actions[ref.id], native, program)
        scope = ref.scope
        uses[ref.id] = ActionUse(
            actions[ref.id],
            in_entries=scope != p4i.ActionRef.DEFAULT_ONLY,
            as_default=scope != p4i.ActionRef.TABLE_ONLY,
        )
    known = {use.action.name for use in uses.values()}
    for entry in native.entries:
        if (action := program.actions[entry.action].name) not in known:
            raise _misfit(native.source, f"table {name!r} has no action {action!r}, which an entry in the program has")
    counters = [i for i in message.direct_resource_ids if i in direct_counters]
    meters = [direct_meters[i] for i in message.direct_resource_ids if i in direct_meters]
    if len(counters) + len(meters) != len(message.direct_resource_ids):
        raise _misfit(native.source, f"table {name!r}: a direct resource is neither direct counter nor direct meter")
    if counters and native.counter is None:
        raise _misfit(native.source, f"table {name!r} has no direct counter in the program")
    if bool(meters) != (native.meter is not None):
        raise _misfit(native.source, f"table {name!r}: its direct meter is {native.meter or 'none'} in the program")
    if bool(message.implementation_id) != (native.profile is not None):
        raise _misfit(native.source, f"table {name!r}: its action profile is {native.profile or 'none'} in the program")
    timeout = message.idle_timeout_behavior != p4i.Table.NO_TIMEOUT
    if timeout and not native.idle_timeout:
        raise _misfit(native.source, f"table {name!r} has no idle timeout in the program")
    return Table(
        id=message.preamble.id,
        name=name,
        fields=_match_fields(message, text, native),
        uses=uses,
        size=message.size,
        const_entries=message.is_const_table or native.const_entries,
        const_default=bool(message.const_default_action_id or message.implementation_id or native.const_default),
        direct_counter=bool(counters),
        direct_meter=meters[0] if meters else None,
        profile=message.implementation_id or None,
        idle_timeout=timeout,
    )


def _match_fields(message: p4i.Table, text: dict[str, Names], native: bmv2.Table) -> tuple[Field, ...]:
    name = message.preamble.name
    if len(message.match_fields) != len(native.keys):
        raise _misfit(native.source, f"table {name!r} has {len(native.keys)} key fields in the program")
    fields = []
    for match, key in zip(message.match_fields, native.keys, strict=True):
        kind = MATCH_KINDS.get(match.match_type)
        if kind is None:
            raise _misfit(native.source, f"table {name!r}: match type of {match.name!r} is not supported")
        if key.kind is not _NATIVE_KINDS.get(kind, kind) and (kind, key.kind) != (MatchKind.EXACT, MatchKind.VALID):
            raise _misfit(
                native.source, f"table {name!r}: {match.name!r} is {kind.value}, in the program {key.kind.value}"
            )
        if match.bitwidth not in (0, key.width):  # p4c gives an error or an enum no width
            raise _misfit(
                native.source,
                f"table {name!r}: {match.name!r} is bit<{match.bitwidth}>, in the program bit<{key.width}>",
            )
        fields.append(Field(match.id, match.name, key.width, kind, text.get(match.type_name.name)))
    return tuple(fields)


def _check_action(action: Action, native: bmv2.Table, program: Program) -> None:
    try:
        known = program.action_of(native, action.name)
    except KeyError:
        raise _misfit(native.source, f"table {native.name!r} has no action {action.name!r} in the program") from None
    if [p.width for p in action.parameters] != [p.width for p in known.parameters]:
        raise _misfit(known.source, f"action {action.name!r} has other parameters in the program")


def _action_profile(message: p4i.ActionProfile, tables: dict[int, Table], program: Program) -> ActionProfile:
    name = message.preamble.name
    native = program.profiles.get(name)
    if native is None:
        raise ValueError(f"action profile {name!r} is not in the program")
    if message.with_selector != (native.selector is not None):
        raise _misfit(
            native.source, f"action profile {name!r} has {'a' if native.selector else 'no'} selector in the program"
        )
    members = message.sum_of_members
    return ActionProfile(
        id=message.preamble.id,
        name=name,
        uses={i: use for t in tables.values() if t.profile == message.preamble.id for i, use in t.uses.items()},
        with_selector=message.with_selector,
        size=message.size,
        max_group_size=message.max_group_size,
        weighed=message.WhichOneof("selector_size_semantics") != "sum_of_members",
        max_weight=members.max_member_weight,
        equal=message.weights_disallowed,
    )


def _meter(message: p4i.Meter, program: Program) -> Meter:
    name = message.preamble.name
    native = program.meters.get(name)
    if native is None or native.table is not None:
        raise _misfit(native.source if native else None, f"meter {name!r} is not in the program")
    if native.packets != (message.spec.unit == p4i.MeterSpec.PACKETS):
        raise _misfit(native.source, f"meter {name!r} has another unit in the program")
    return Meter(message.preamble.id, name, MeterKind(message.spec.type), native.size)


def _value_set(message: p4i.ValueSet, text: dict[str, Names], program: Program) -> ValueSet:
    name = message.preamble.name
    native = program.value_sets.get(name)
    if native is None:
        raise ValueError(f"value set {name!r} is not in the program")
    fields = []
    for match in message.match:
        kind = MATCH_KINDS.get(match.match_type)
        if kind in (None, MatchKind.RANGE):
            raise ValueError(f"value set {name!r}: match type of {match.name!r} is not supported")
        fields.append(
            Field(match.id, match.name, match.bitwidth, kind or MatchKind.EXACT, text.get(match.type_name.name))
        )
    if sum(field.width for field in fields) != native.width:
        raise ValueError(f"value set {name!r} has {native.width} bits in the program")
    return ValueSet(message.preamble.id, name, tuple(fields), min(message.size, native.size))


def _counter(message: p4i.Counter, program: Program) -> Counter:
    name = message.preamble.name
    native = program.counters.get(name)
    if native is None or native.table is not None:
        raise _misfit(native.source if native else None, f"counter {name!r} is not in the program")
    return Counter(message.preamble.id, name, native.size)


def _register(message: p4i.Register, p4info: p4i.P4Info, program: Program) -> Register:
    name = message.preamble.name
    native = program.registers.get(name)
    cell = data_type(message.type_spec, p4info.type_info)
    if native is None:
        raise ValueError(f"register {name!r} is not in the program")
    if cell.widths != (native.width,):
        raise _misfit(native.source, f"register {name!r} has cells of {native.width} bits in the program")
    return Register(message.preamble.id, name, native.size, cell)


def _digest(message: p4i.Digest, p4info: p4i.P4Info, program: Program) -> Digest:
    name = message.preamble.name
    native = next((learn for learn in program.learn_lists.values() if learn.name == name), None)
    content = data_type(message.type_spec, p4info.type_info)
    if native is not None and content.widths != native.widths:
        raise _misfit(native.source, f"digest {name!r} has other members in the program")
    return Digest(message.preamble.id, name, content)


def _packet_header(p4info: p4i.P4Info, text: dict[str, Names], name: str) -> tuple[Field, ...] | None:
    for header in p4info.controller_packet_metadata:
        if header.preamble.name == name:
            return tuple(Field(m.id, m.name, m.bitwidth, names=text.get(m.type_name.name)) for m in header.metadata)
    return None
