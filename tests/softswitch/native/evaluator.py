"""What an expression means: Python's integers have no bounds, just as BMv2's have none."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping

from softswitch.bmv2.expressions import (
    Binary,
    BoolConst,
    Const,
    Expression,
    FieldRef,
    Ternary,
    Unary,
)

_OPERATORS: dict[str, Callable[[int, int], int]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "&": operator.and_,
    "|": operator.or_,
    "^": operator.xor,
    "<<": operator.lshift,
    ">>": operator.rshift,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "and": lambda x, y: x and y,
    "or": lambda x, y: x or y,
}


def signed(value: int, width: int) -> int:
    """The low bits as two's complement."""
    value &= (1 << width) - 1
    return value - (1 << width) if value >> (width - 1) else value


def evaluate(e: Expression, fields: Mapping[str, int]) -> int:
    """The value, booleans as 0 and 1; `fields` are those of header `in`."""
    match e:
        case Const(value):
            return value
        case BoolConst(value):
            return int(value)
        case FieldRef(_, name):
            return fields[name]
        case Ternary(condition, left, right):
            return evaluate(left if evaluate(condition, fields) else right, fields)
        case Unary(op, operand):
            x = evaluate(operand, fields)
            return {"-": lambda: -x, "~": lambda: ~x, "not": lambda: int(not x), "d2b": lambda: int(x != 0)}.get(
                op, lambda: x
            )()
        case Binary(op, left, right):
            return _binary(op, evaluate(left, fields), evaluate(right, fields))
    raise TypeError(e)


def _binary(op: str, x: int, y: int) -> int:
    if op == "two_comp_mod":
        return signed(x, y)
    if op == "usat_cast":
        return min(max(x, 0), (1 << y) - 1)
    if op == "sat_cast":
        return min(max(x, -(1 << (y - 1))), (1 << (y - 1)) - 1)
    return int(_OPERATORS[op](x, y))


def stored(value: int, width: int, is_signed: bool) -> int:
    """What a field of that width holds after the assignment."""
    return signed(value, width) if is_signed else value & ((1 << width) - 1)
