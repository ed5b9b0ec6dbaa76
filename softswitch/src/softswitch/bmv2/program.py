"""The typed form of a BMv2 JSON program: what the code generator consumes and what a server asks about tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from softswitch.bmv2.control import Action, Node, Pipeline, Primitive, Table
from softswitch.bmv2.expressions import Expression, FieldRef
from softswitch.bmv2.source import Source


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a header type. `width` is in bits; for a varbit field it is the maximum."""

    name: str
    width: int
    signed: bool = False
    varbit: bool = False


@dataclass(frozen=True, slots=True)
class HeaderType:
    """Fields in wire order."""

    name: str
    fields: tuple[Field, ...]

    @property
    def width(self) -> int:
        """Bits on the wire, a varbit field not counted."""
        return sum(f.width for f in self.fields if not f.varbit)

    def field(self, name: str) -> Field:
        """Raises KeyError."""
        for candidate in self.fields:
            if candidate.name == name:
                return candidate
        raise KeyError(name)


@dataclass(frozen=True, slots=True)
class Header:
    """An instance of a header type; metadata instances are always valid and zero at the start of a packet."""

    name: str
    type: HeaderType
    metadata: bool


@dataclass(frozen=True, slots=True)
class Stack:
    """A header stack: its elements are headers of one type."""

    name: str
    type: HeaderType
    headers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Union:
    """A header union: at most one of its headers is valid."""

    name: str
    headers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class UnionStack:
    """A stack of unions of one type. `members` gives the members of that type, in order."""

    name: str
    members: dict[str, HeaderType]
    unions: tuple[Union, ...]


@dataclass(frozen=True, slots=True)
class CalculationInput:
    """One input of a hash or checksum: a field, a constant, a whole header, or the payload."""

    kind: str
    field: FieldRef | None = None
    value: int = 0
    width: int = 0
    header: str = ""


@dataclass(frozen=True, slots=True)
class Calculation:
    """A named hash: BMv2's algorithm name over inputs concatenated bit by bit. `source` is where it is asked for."""

    name: str
    algorithm: str
    inputs: tuple[CalculationInput, ...]
    source: Source | None = None


@dataclass(frozen=True, slots=True)
class Checksum:
    """A header field that holds a calculation; checked by the parser, updated by the deparser, or both."""

    name: str
    target: FieldRef
    calculation: str
    condition: Expression | None
    verify: bool
    update: bool
    source: Source | None


@dataclass(frozen=True, slots=True)
class ParserOp:
    """One step of a parser state.

    `op` is extract (into header or stack `target`, or `member` of a stack of unions; `expression` is a varbit field's
    length in bits), set (`field` from `expression` or `lookahead`), verify (`condition`, else the error `expression`),
    advance (`expression` bits) or primitive. A lookahead is (bits to skip, bits to read).
    """

    op: str
    target: str = ""
    stack: bool = False
    member: str = ""
    field: FieldRef | None = None
    expression: Expression | None = None
    condition: Expression | None = None
    lookahead: tuple[int, int] | None = None
    primitive: Primitive | None = None
    source: Source | None = None


@dataclass(frozen=True, slots=True)
class TransitionKey:
    """A part of a select expression: a field, a field of a stack's last element, or bits not yet extracted."""

    width: int
    expression: Expression | None = None
    lookahead: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Transition:
    """value/mask over the select key with every part padded to whole bytes, or membership of a value set; value and set
    None is the default.

    `next_state` None accepts.
    """

    value: int | None
    mask: int | None
    next_state: str | None
    value_set: str | None = None


@dataclass(frozen=True, slots=True)
class ParserState:
    """Operations, then a select."""

    name: str
    ops: tuple[ParserOp, ...]
    key: tuple[TransitionKey, ...]
    transitions: tuple[Transition, ...]


@dataclass(frozen=True, slots=True)
class CounterArray:
    """An indirect counter, or with `table` the direct counter of that table."""

    name: str
    size: int
    table: str | None = None
    source: Source | None = None


@dataclass(frozen=True, slots=True)
class RegisterArray:
    """`size` cells of `width` bits."""

    name: str
    width: int
    size: int
    source: Source | None = None


@dataclass(frozen=True, slots=True)
class MeterArray:
    """An indirect meter, or with `table` the direct meter of that table, which puts the colour into `target`."""

    name: str
    size: int
    packets: bool
    table: str | None = None
    target: FieldRef | None = None
    source: Source | None = None


@dataclass(frozen=True, slots=True)
class ActionProfile:
    """Actions that tables share. `selector` is the calculation that picks a member of a group; None: no groups."""

    name: str
    size: int
    selector: str | None
    source: Source | None = None


@dataclass(frozen=True, slots=True)
class ValueSet:
    """A set that a parser's select looks its whole key of `width` bits up in."""

    name: str
    width: int
    size: int


@dataclass(frozen=True, slots=True)
class FieldList:
    """What survives a clone, resubmit or recirculation with this id."""

    id: int
    fields: tuple[FieldRef, ...]


@dataclass(frozen=True, slots=True)
class LearnList:
    """A digest: `elements` are what is sent, `widths` their bits."""

    id: int
    name: str
    elements: tuple[Expression, ...]
    widths: tuple[int, ...]
    source: Source | None = None


@dataclass(frozen=True)
class Program:
    """A whole program, names resolved and checked against one another."""

    header_types: dict[str, HeaderType]
    headers: dict[str, Header]
    stacks: dict[str, Stack]
    unions: dict[str, Union]
    union_stacks: dict[str, UnionStack]
    parser_start: str | None
    parser_states: dict[str, ParserState]
    errors: dict[str, int]
    deparser: tuple[str, ...]
    deparser_primitives: tuple[Primitive, ...]
    actions: dict[int, Action]
    calculations: dict[str, Calculation]
    checksums: tuple[Checksum, ...]
    counters: dict[str, CounterArray]
    meters: dict[str, MeterArray]
    profiles: dict[str, ActionProfile]
    value_sets: dict[str, ValueSet]
    registers: dict[str, RegisterArray]
    field_lists: dict[int, FieldList]
    learn_lists: dict[int, LearnList]
    pipelines: dict[str, Pipeline] = field(default_factory=dict)

    @cached_property
    def tables(self) -> dict[str, Table]:
        """Every table of every pipeline by name."""
        return {
            name: node
            for pipeline in self.pipelines.values()
            for name, node in pipeline.nodes.items()
            if isinstance(node, Table)
        }

    def with_preinitialized(self, sizes: Mapping[str, int]) -> Program:
        """The same with tables of these sizes whose entries are not const. BMv2's JSON does not tell them from const
        ones, and leaves room for the entries of the program only."""

        def changed(node: Node) -> Node:
            if not isinstance(node, Table) or node.name not in sizes:
                return node
            return replace(node, const_entries=False, size=max(sizes[node.name], len(node.entries)))

        pipelines = {
            name: replace(pipeline, nodes={n: changed(node) for n, node in pipeline.nodes.items()})
            for name, pipeline in self.pipelines.items()
        }
        return replace(self, pipelines=pipelines)

    def profile_actions(self, profile: str) -> tuple[Action, ...]:
        """The actions that members of an action profile may have; their places are their numbers there. p4c gives each
        table copies of its own, which go by the same names."""
        actions = (self.actions[a] for t in self.tables.values() if t.profile == profile for a in t.actions)
        by_name: dict[str, Action] = {}
        for action in actions:
            by_name.setdefault(action.name, action)
        return tuple(by_name.values())

    def action_of(self, table: Table, name: str) -> Action:
        """The action that `table` knows by `name`. Raises KeyError."""
        for identifier in table.actions:
            if self.actions[identifier].name == name:
                return self.actions[identifier]
        raise KeyError(name)
