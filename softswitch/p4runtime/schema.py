"""What a P4Info says about one program, indexed for the server and checked against the program itself."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

from finsy.proto import p4i

from softswitch.bmv2 import program as bmv2
from softswitch.bmv2.program import MatchKind, Program
from softswitch.p4runtime.data import DataType, data_type
from softswitch.p4runtime.errors import invalid

_MATCH_KINDS = {
    p4i.MatchField.EXACT: MatchKind.EXACT,
    p4i.MatchField.LPM: MatchKind.LPM,
    p4i.MatchField.TERNARY: MatchKind.TERNARY,
    p4i.MatchField.RANGE: MatchKind.RANGE,
    p4i.MatchField.OPTIONAL: MatchKind.OPTIONAL,
}

# p4c makes a ternary key of an optional one.
_NATIVE_KINDS = {MatchKind.OPTIONAL: MatchKind.TERNARY}

_UNSERVED = ("action_profiles", "meters", "direct_meters", "value_sets", "externs")


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a table key, parameter of an action, or field of a packet header. `width` is in bits."""

    id: int
    name: str
    width: int
    kind: MatchKind = MatchKind.EXACT


@dataclass(frozen=True)
class Action:
    """An action and its parameters, in the program's order."""

    id: int
    name: str
    parameters: tuple[Field, ...]

    @cached_property
    def positions(self) -> dict[int, int]:
        """Parameter id -> place in `parameters`."""
        return {parameter.id: place for place, parameter in enumerate(self.parameters)}


@dataclass(frozen=True, slots=True)
class ActionUse:
    """How a table may use an action: in its entries, as its default."""

    action: Action
    in_entries: bool
    as_default: bool


@dataclass(frozen=True)
class Table:
    """A table: its key in the program's order, and what its entries may hold."""

    id: int
    name: str
    fields: tuple[Field, ...]
    uses: dict[int, ActionUse]
    size: int
    const_entries: bool
    const_default: bool
    direct_counter: int | None
    idle_timeout: bool

    @cached_property
    def positions(self) -> dict[int, int]:
        """Match field id -> place in `fields`."""
        return {field.id: place for place, field in enumerate(self.fields)}

    @cached_property
    def has_priorities(self) -> bool:
        """Whether entries carry a priority: any ternary, range or optional field."""
        return any(f.kind in (MatchKind.TERNARY, MatchKind.RANGE, MatchKind.OPTIONAL) for f in self.fields)


@dataclass(frozen=True, slots=True)
class Counter:
    """An indirect counter of `size` cells."""

    id: int
    name: str
    size: int


@dataclass(frozen=True, slots=True)
class Register:
    """A register array of `size` cells."""

    id: int
    name: str
    size: int
    type: DataType


@dataclass(frozen=True, slots=True)
class Digest:
    """A digest and the type of its messages."""

    id: int
    name: str
    type: DataType


@dataclass(frozen=True)
class Schema:
    """One program as P4Runtime clients see it. Everything but `digest_ids` is by id."""

    tables: dict[int, Table]
    actions: dict[int, Action]
    counters: dict[int, Counter]
    direct_counters: dict[int, int]
    registers: dict[int, Register]
    digests: dict[int, Digest]
    packet_in: tuple[Field, ...] | None
    packet_out: tuple[Field, ...] | None

    @cached_property
    def digest_ids(self) -> dict[str, int]:
        """Digest name -> id."""
        return {digest.name: digest.id for digest in self.digests.values()}


class _HasPreamble(Protocol):
    @property
    def preamble(self) -> Any: ...


def build(p4info: p4i.P4Info, program: Program) -> Schema:
    """Index `p4info`, which must describe `program`. Raises INVALID_ARGUMENT naming what does not fit."""
    for name in _UNSERVED:
        if getattr(p4info, name):
            first = getattr(p4info, name)[0]
            title = first.extern_type_name if name == "externs" else first.preamble.name
            raise invalid(f"P4Info: {name.replace('_', ' ')} are not supported ({title!r})")
    _check_unique_ids(p4info)
    try:
        actions = {a.preamble.id: _action(a) for a in p4info.actions}
        direct_counters = {c.preamble.id: c.direct_table_id for c in p4info.direct_counters}
        tables = {t.preamble.id: _table(t, actions, direct_counters, program) for t in p4info.tables}
        return Schema(
            tables=tables,
            actions=actions,
            counters={c.preamble.id: _counter(c, program) for c in p4info.counters},
            direct_counters=direct_counters,
            registers={r.preamble.id: _register(r, p4info, program) for r in p4info.registers},
            digests={d.preamble.id: _digest(d, p4info, program) for d in p4info.digests},
            packet_in=_packet_header(p4info, "packet_in"),
            packet_out=_packet_header(p4info, "packet_out"),
        )
    except ValueError as error:
        raise invalid(f"P4Info: {error}") from error


def _check_unique_ids(p4info: p4i.P4Info) -> None:
    groups: tuple[Iterable[_HasPreamble], ...] = (
        p4info.tables,
        p4info.actions,
        p4info.counters,
        p4info.direct_counters,
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


def _action(message: p4i.Action) -> Action:
    parameters = tuple(Field(p.id, p.name, p.bitwidth) for p in message.params)
    return Action(message.preamble.id, message.preamble.name, parameters)


def _table(message: p4i.Table, actions: dict[int, Action], direct_counters: dict[int, int], program: Program) -> Table:
    name = message.preamble.name
    native = program.tables.get(name)
    if native is None:
        raise ValueError(f"table {name!r} is not in the program")
    uses: dict[int, ActionUse] = {}
    for ref in message.action_refs:
        if ref.id not in actions:
            raise ValueError(f"table {name!r}: no action has id {ref.id}")
        _check_action(actions[ref.id], native, program)
        scope = ref.scope
        uses[ref.id] = ActionUse(
            actions[ref.id],
            in_entries=scope != p4i.ActionRef.DEFAULT_ONLY,
            as_default=scope != p4i.ActionRef.TABLE_ONLY,
        )
    counters = [i for i in message.direct_resource_ids if i in direct_counters]
    if len(counters) != len(message.direct_resource_ids):
        raise ValueError(f"table {name!r}: a direct resource is no direct counter")
    return Table(
        id=message.preamble.id,
        name=name,
        fields=_match_fields(message, native),
        uses=uses,
        size=message.size,
        const_entries=message.is_const_table,
        const_default=message.const_default_action_id != 0,
        direct_counter=counters[0] if counters else None,
        idle_timeout=message.idle_timeout_behavior != p4i.Table.NO_TIMEOUT,
    )


def _match_fields(message: p4i.Table, native: bmv2.Table) -> tuple[Field, ...]:
    name = message.preamble.name
    if len(message.match_fields) != len(native.keys):
        raise ValueError(f"table {name!r} has {len(native.keys)} key fields in the program")
    fields = []
    for match, key in zip(message.match_fields, native.keys, strict=True):
        kind = _MATCH_KINDS.get(match.match_type)
        if kind is None:
            raise ValueError(f"table {name!r}: match type of {match.name!r} is not supported")
        if key.kind is not _NATIVE_KINDS.get(kind, kind) and (kind, key.kind) != (MatchKind.EXACT, MatchKind.VALID):
            raise ValueError(f"table {name!r}: {match.name!r} is {kind.value}, in the program {key.kind.value}")
        if match.bitwidth != key.width:
            raise ValueError(
                f"table {name!r}: {match.name!r} is bit<{match.bitwidth}>, in the program bit<{key.width}>"
            )
        fields.append(Field(match.id, match.name, match.bitwidth, kind))
    return tuple(fields)


def _check_action(action: Action, native: bmv2.Table, program: Program) -> None:
    try:
        known = program.action_of(native, action.name)
    except KeyError:
        raise ValueError(f"table {native.name!r} has no action {action.name!r} in the program") from None
    if [p.width for p in action.parameters] != [p.width for p in known.parameters]:
        raise ValueError(f"action {action.name!r} has other parameters in the program")


def _counter(message: p4i.Counter, program: Program) -> Counter:
    name = message.preamble.name
    if name not in program.counters:
        raise ValueError(f"counter {name!r} is not in the program")
    return Counter(message.preamble.id, name, program.counters[name].size)


def _register(message: p4i.Register, p4info: p4i.P4Info, program: Program) -> Register:
    name = message.preamble.name
    native = program.registers.get(name)
    cell = data_type(message.type_spec, p4info.type_info)
    if native is None:
        raise ValueError(f"register {name!r} is not in the program")
    if cell.widths != (native.width,):
        raise ValueError(f"register {name!r} has cells of {native.width} bits in the program")
    return Register(message.preamble.id, name, native.size, cell)


def _digest(message: p4i.Digest, p4info: p4i.P4Info, program: Program) -> Digest:
    name = message.preamble.name
    native = next((learn for learn in program.learn_lists.values() if learn.name == name), None)
    content = data_type(message.type_spec, p4info.type_info)
    if native is None:
        raise ValueError(f"digest {name!r} is not in the program")
    if content.widths != native.widths:
        raise ValueError(f"digest {name!r} has other members in the program")
    return Digest(message.preamble.id, name, content)


def _packet_header(p4info: p4i.P4Info, name: str) -> tuple[Field, ...] | None:
    for header in p4info.controller_packet_metadata:
        if header.preamble.name == name:
            return tuple(Field(m.id, m.name, m.bitwidth) for m in header.metadata)
    return None
