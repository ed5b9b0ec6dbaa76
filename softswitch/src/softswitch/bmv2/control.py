"""The controls of a program: actions, and pipelines as graphs of tables, conditionals and calls."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import cached_property

from softswitch.bmv2.expressions import Expression
from softswitch.bmv2.match import Key
from softswitch.bmv2.source import Source, UnsupportedProgram


@dataclass(frozen=True, slots=True)
class Operand:
    """A parameter of a primitive. `kind` is the JSON's: expression, header, header_stack, header_union,
    header_union_stack, calculation, register_array, counter_array, meter_array, string; everything that has a value is
    an expression here. An `element` is the header of stack `name` at index `expression`."""

    kind: str
    expression: Expression | None = None
    name: str = ""
    elements: tuple[Operand, ...] = ()


@dataclass(frozen=True, slots=True)
class Primitive:
    """One statement of an action."""

    op: str
    operands: tuple[Operand, ...]
    source: Source | None


@dataclass(frozen=True, slots=True)
class Parameter:
    """An action parameter, given by a table entry."""

    name: str
    width: int


@dataclass(frozen=True, slots=True)
class Action:
    """Actions may share a name: `id` is what tables refer to."""

    id: int
    name: str
    parameters: tuple[Parameter, ...]
    primitives: tuple[Primitive, ...]
    source: Source | None


class MatchKind(Enum):
    """How one field of a table key is matched."""

    EXACT = "exact"
    LPM = "lpm"
    TERNARY = "ternary"
    RANGE = "range"
    OPTIONAL = "optional"
    VALID = "valid"


@dataclass(frozen=True, slots=True)
class TableKey:
    """One field of a table key. `mask` is a constant the field is and-ed with first."""

    name: str
    kind: MatchKind
    expression: Expression
    width: int
    mask: int | None = None


@dataclass(frozen=True, slots=True)
class ConstEntry:
    """An entry written in the program. `priority` is P4Runtime's: greater wins, 0 in a table without priorities."""

    key: Key
    priority: int
    action: int
    parameters: tuple[int, ...]


@dataclass(frozen=True)
class Table:
    """A match-action table. `next` maps action ids to nodes (None ends the pipeline); `next_hit` and `next_miss` stand
    when `by_hit`; `next_without_action` is for a miss without default action, or a hit that selects nothing. An
    indirect table has its actions from the action profile `profile`; `meter` is its direct meter."""

    name: str
    keys: tuple[TableKey, ...]
    size: int
    actions: tuple[int, ...]
    by_hit: bool
    next: dict[int, str | None]
    next_hit: str | None
    next_miss: str | None
    next_without_action: str | None
    default_action: int | None
    default_parameters: tuple[int, ...]
    const_default: bool
    entries: tuple[ConstEntry, ...]
    const_entries: bool
    counter: str | None
    meter: str | None
    profile: str | None
    idle_timeout: bool
    source: Source | None

    @cached_property
    def has_priorities(self) -> bool:
        """Whether entries carry a priority: any ternary, range or optional key."""
        return any(k.kind in (MatchKind.TERNARY, MatchKind.RANGE, MatchKind.OPTIONAL) for k in self.keys)


@dataclass(frozen=True, slots=True)
class Conditional:
    """An `if` of a control."""

    name: str
    condition: Expression
    if_true: str | None
    if_false: str | None
    source: Source | None


@dataclass(frozen=True, slots=True)
class ActionCall:
    """An action called outside any table."""

    name: str
    action: int
    next: str | None
    source: Source | None


Node = Table | Conditional | ActionCall


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A control: nodes by name, entered at `first`."""

    name: str
    first: str | None
    nodes: dict[str, Node]


def in_order(pipeline: Pipeline) -> list[str]:
    """The nodes that control can come to, each before what follows it.

    Raises UnsupportedProgram for a way to an unknown node, and for one that comes back (BMv2 would loop for ever).
    """
    done: list[str] = []
    seen: set[str] = set()
    path: list[tuple[str, list[str]]] = []
    under_way: set[str] = set()

    def enter(name: str) -> None:
        if name not in pipeline.nodes:
            raise UnsupportedProgram(f"pipeline {pipeline.name!r} goes to unknown node {name!r}")
        if name in under_way:
            raise UnsupportedProgram(f"pipeline {pipeline.name!r} loops at {name!r}", pipeline.nodes[name].source)
        if name not in seen:
            seen.add(name)
            under_way.add(name)
            path.append((name, [s for s in _successors(pipeline.nodes[name]) if s is not None]))

    if pipeline.first is not None:
        enter(pipeline.first)
    while path:
        name, rest = path[-1]
        if rest:
            enter(rest.pop())
        else:
            done.append(name)
            under_way.remove(name)
            path.pop()
    return done[::-1]


def _successors(node: Node) -> tuple[str | None, ...]:
    """Where control may go from a node."""
    if isinstance(node, Conditional):
        return (node.if_true, node.if_false)
    if isinstance(node, ActionCall):
        return (node.next,)
    if node.by_hit:
        return (node.next_hit, node.next_miss)
    return tuple(dict.fromkeys([*node.next.values(), node.next_without_action]))
