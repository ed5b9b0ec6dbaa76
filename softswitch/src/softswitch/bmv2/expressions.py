"""Expressions of BMv2 JSON as a small algebra. Values are unbounded integers or booleans; only a store truncates."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Const:
    """A number of the program."""

    value: int


@dataclass(frozen=True, slots=True)
class BoolConst:
    """`true` or `false`."""

    value: bool


@dataclass(frozen=True, slots=True)
class FieldRef:
    """A field of a header or metadata instance, by names. `$valid$` is the header's validity."""

    header: str
    field: str


@dataclass(frozen=True, slots=True)
class StackLast:
    """A field of the element of a stack that was extracted last."""

    stack: str
    field: str


@dataclass(frozen=True, slots=True)
class UnionStackLast:
    """A field of a member of the union that was extracted last into a stack of unions."""

    stack: str
    member: str
    field: str


@dataclass(frozen=True, slots=True)
class StackElement:
    """A field of the element of a stack at a computed index."""

    stack: str
    index: Expression
    field: str


@dataclass(frozen=True, slots=True)
class StackProperty:
    """`last_stack_index` or `size_stack` of a stack."""

    op: str
    stack: str


@dataclass(frozen=True, slots=True)
class Local:
    """A parameter of the enclosing action, by position."""

    index: int


@dataclass(frozen=True, slots=True)
class Valid:
    """Whether a header is valid."""

    header: str


@dataclass(frozen=True, slots=True)
class RegisterCell:
    """A cell of a register array read in place."""

    register: str
    index: Expression


@dataclass(frozen=True, slots=True)
class Unary:
    """`-`, `~`, `not`, `d2b`, `b2d`."""

    op: str
    operand: Expression


@dataclass(frozen=True, slots=True)
class Binary:
    """Arithmetic, bit, comparison and logic operators, and the casts (sat_cast, usat_cast, two_comp_mod)."""

    op: str
    left: Expression
    right: Expression


@dataclass(frozen=True, slots=True)
class Ternary:
    """`condition ? left : right`; only the chosen side is evaluated."""

    condition: Expression
    left: Expression
    right: Expression


Expression = (
    Const
    | BoolConst
    | FieldRef
    | StackLast
    | UnionStackLast
    | StackElement
    | StackProperty
    | Local
    | Valid
    | RegisterCell
    | Unary
    | Binary
    | Ternary
)
