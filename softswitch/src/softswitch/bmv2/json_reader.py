"""What every part of the loader needs: names resolved, source positions, and expressions."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Concatenate, ParamSpec, TypeVar

from softswitch.bmv2.expressions import (
    Binary,
    BoolConst,
    Const,
    Expression,
    FieldRef,
    Local,
    RegisterCell,
    StackElement,
    StackLast,
    StackProperty,
    Ternary,
    Unary,
    UnionStackLast,
    Valid,
)
from softswitch.bmv2.program import Header, HeaderType, Stack, Union, UnionStack
from softswitch.bmv2.source import Source, UnsupportedProgram

Json = Any
"""A decoded JSON value. Its shape is BMv2's; `load` turns what does not fit into ValueError."""

VALID = "$valid$"

_ARITHMETIC = frozenset(["+", "-", "*", "/", "%", "<<", ">>", "&", "|", "^", "two_comp_mod", "usat_cast", "sat_cast"])
_LOGIC = frozenset(["==", "!=", ">", "<", ">=", "<=", "and", "or"])
_BINARY = _ARITHMETIC | _LOGIC
_UNARY = frozenset(["-", "~", "not", "d2b", "b2d"])


P = ParamSpec("P")
R = TypeVar("R")


def reads(what: str) -> Callable[[Callable[Concatenate[Json, P], R]], Callable[Concatenate[Json, P], R]]:
    """For functions whose first argument is one item of the JSON: what they cannot read is refused by the item's kind,
    name and place in the P4 program."""

    def decorate(read: Callable[Concatenate[Json, P], R]) -> Callable[Concatenate[Json, P], R]:
        @functools.wraps(read)
        def reading(item: Json, /, *args: P.args, **kwargs: P.kwargs) -> R:
            try:
                return read(item, *args, **kwargs)
            except UnsupportedProgram as refusal:
                if refusal.source is not None:
                    raise
                called, construct = _called(what, item), refusal.construct
                whole = construct if construct.startswith(called) else f"{called}: {construct}"
                raise UnsupportedProgram(whole, _place(item)) from refusal
            except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
                problem = f"nothing called {error}" if isinstance(error, KeyError) else str(error)
                raise UnsupportedProgram(f"{_called(what, item)}, malformed: {problem}", _place(item)) from error

        return reading

    return decorate


def _called(what: str, item: Json) -> str:
    name = item.get("name", item.get("op")) if isinstance(item, Mapping) else None
    return f"{what} {name!r}" if isinstance(name, str) else what


def _place(item: Json) -> Source | None:
    try:
        return source_of(item)
    except (TypeError, AttributeError, ValueError):
        return None


def number(text: Json) -> int:
    """A hexstr as BMv2 writes it: optional sign, optional 0x."""
    if isinstance(text, int) and not isinstance(text, bool):
        return text
    if not isinstance(text, str):
        raise ValueError(f"{text!r} where a number belongs")
    return int(text, 16)


def integer(value: Json, least: int = 0, greatest: int = 2**31 - 1) -> int:
    """A size, width or id. Raises ValueError."""
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= greatest:
        raise ValueError(f"{value!r} where a number from {least} to {greatest} belongs")
    return value


def word(value: Json) -> str:
    """A name. Raises ValueError."""
    if not isinstance(value, str):
        raise ValueError(f"{value!r} where a name belongs")
    return value


def optional_word(value: Json) -> str | None:
    """A name or null. Raises ValueError."""
    return None if value is None else word(value)


def source_of(item: Mapping[str, Json], fallback: Source | None = None) -> Source | None:
    """The P4 position that p4c recorded with a JSON object."""
    info = item.get("source_info")
    if not info:
        return fallback
    return Source(word(info.get("filename", "")), integer(info.get("line", 0)), word(info.get("source_fragment", "")))


class Names:
    """Headers, stacks, unions and field aliases by name, and expressions over them."""

    def __init__(
        self,
        headers: dict[str, Header],
        stacks: dict[str, Stack],
        unions: dict[str, Union],
        union_stacks: dict[str, UnionStack],
        aliases: dict[str, tuple[str, str]],
    ) -> None:
        self.headers = headers
        self.stacks = stacks
        self.unions = unions
        self.union_stacks = union_stacks
        self.aliases = aliases

    def header(self, name: str, source: Source | None = None) -> Header:
        """Raises UnsupportedProgram when there is none."""
        if name not in self.headers:
            raise UnsupportedProgram(f"reference to unknown header {name!r}", source)
        return self.headers[name]

    def stack(self, name: str, source: Source | None = None) -> Stack:
        """Raises UnsupportedProgram when there is none."""
        if name not in self.stacks:
            raise UnsupportedProgram(f"reference to unknown header stack {name!r}", source)
        return self.stacks[name]

    def union(self, name: str, source: Source | None = None) -> Union:
        """Raises UnsupportedProgram when there is none."""
        if name not in self.unions:
            raise UnsupportedProgram(f"reference to unknown header union {name!r}", source)
        return self.unions[name]

    def union_stack(self, name: str, source: Source | None = None) -> UnionStack:
        """Raises UnsupportedProgram when there is none."""
        if name not in self.union_stacks:
            raise UnsupportedProgram(f"reference to unknown header union stack {name!r}", source)
        return self.union_stacks[name]

    def field(self, pair: Sequence[str], source: Source | None = None) -> FieldRef:
        """The checked reference of a (header, field) pair, aliases resolved."""
        header, name = pair
        if not isinstance(header, str) or not isinstance(name, str):
            raise UnsupportedProgram(f"{header!r} where a header belongs", source)
        if f"{header}.{name}" in self.aliases:
            header, name = self.aliases[f"{header}.{name}"]
        self._check(self.header(header, source).type, name, source)
        return FieldRef(header, name)

    def width(self, ref: FieldRef | StackElement) -> int:
        """Bits of a field; 1 for a header's validity."""
        if isinstance(ref, StackElement):
            return 1 if ref.field == VALID else self.stacks[ref.stack].type.field(ref.field).width
        return 1 if ref.field == VALID else self.headers[ref.header].type.field(ref.field).width

    def expression(self, item: Json, source: Source | None = None) -> Expression:
        """Any `{"type": …, "value": …}` that has a value."""
        kind, value = item["type"], item["value"]
        if kind == "expression":
            # p4c nests {"type": "expression", "value": {"type": "expression", "value": {op}}}
            return self.expression(value, source) if "type" in value else self._operation(value, source)
        if kind == "hexstr":
            return Const(number(value))
        if kind == "bool":
            return BoolConst(bool(value))
        if kind == "field" and isinstance(value[0], dict):  # isValid() of a stack's element
            stack, index = self.element({"value": value[0]}, source)
            self._check(self.stack(stack).type, value[1], source)
            return StackElement(stack, index, value[1])
        if kind == "field":
            return self.field(value, source)
        if kind in ("local", "runtime_data"):
            return Local(integer(value))
        if kind == "stack_field":
            self._check(self.stack(value[0], source).type, value[1], source)
            return StackLast(value[0], value[1])
        if kind == "union_stack_field":
            stack, member, field = value
            self._check(self.union_member(stack, member, source), field, source)
            return UnionStackLast(stack, member, field)
        if kind == "register":
            return RegisterCell(word(value[0]), self.expression(value[1], source))
        raise UnsupportedProgram(f"expression of type {kind!r}", source)

    def _operation(self, value: Json, source: Source | None) -> Expression:
        op, left, right = value["op"], value.get("left"), value.get("right")
        if op == "?":
            return Ternary(
                self.expression(value["cond"], source), self.expression(left, source), self.expression(right, source)
            )
        if op == "valid":
            if right["type"] != "header":
                raise UnsupportedProgram(f"isValid() of a {right['type']}", source)
            return Valid(self.header(right["value"], source).name)
        if op == "valid_union":
            return _any_of(tuple(Valid(h) for h in self.union(right["value"], source).headers))
        if op == "access_field":
            return self._element(left, int(right), source)
        if op in ("last_stack_index", "size_stack"):
            if right["type"] == "header_union_stack":
                return StackProperty(op, self.union_stack(right["value"], source).name)
            return StackProperty(op, self.stack(right["value"], source).name)
        if left is None and op in _UNARY:
            return Unary(op, self.expression(right, source))
        if left is None and op == "+":
            return self.expression(right, source)
        if op in _BINARY:
            if op in ("==", "!=") and left["type"] == right["type"] and left["type"] in ("header", "header_union"):
                same = self._same(left["type"], left["value"], right["value"], source)
                return same if op == "==" else Unary("not", same)
            for side in (left, right):
                if side["type"].startswith("header"):
                    raise UnsupportedProgram(f"{side['type']} as an operand of {op!r}", source)
            return Binary(op, self.expression(left, source), self.expression(right, source))
        raise UnsupportedProgram(f"operator {op!r}", source)

    def union_member(self, stack: str, member: str, source: Source | None) -> HeaderType:
        """The type of a member of a stack's unions. Raises UnsupportedProgram when there is none."""
        members = self.union_stack(stack, source).members
        if member not in members:
            raise UnsupportedProgram(f"reference to unknown member {member!r} of header union stack {stack!r}", source)
        return members[member]

    def _same(self, kind: str, left: str, right: str, source: Source | None) -> Expression:
        """Equality of whole headers (both valid, every field the same) or unions (the same member valid)."""
        if kind == "header_union":
            pairs = zip(self.union(left, source).headers, self.union(right, source).headers, strict=False)
            return _any_of(tuple(self._same("header", a, b, source) for a, b in pairs))
        a, b = self.header(left, source), self.header(right, source)
        if a.type != b.type:
            return BoolConst(False)
        same: Expression = Binary("and", Valid(a.name), Valid(b.name))
        for field in a.type.fields:
            same = Binary("and", same, Binary("==", FieldRef(a.name, field.name), FieldRef(b.name, field.name)))
        return same

    def _element(self, deref: Json, field: int, source: Source | None) -> Expression:
        """`stack[index].field`, the field by its position."""
        if deref["type"] == "header":
            header = self.header(deref["value"], source)
            return FieldRef(header.name, header.type.fields[field].name)
        stack, index = self.element(deref, source)
        return StackElement(stack, index, self.stack(stack).type.fields[field].name)

    def element(self, item: Json, source: Source | None) -> tuple[str, Expression]:
        """The stack and the index of `stack[index]`."""
        inner = item["value"]
        while "type" in inner:
            inner = inner["value"]
        if inner["op"] not in ("dereference_header_stack", "dereference_stack"):
            raise UnsupportedProgram(f"operator {inner['op']!r}", source)
        return self.stack(inner["left"]["value"], source).name, self.expression(inner["right"], source)

    @staticmethod
    def _check(header_type: HeaderType, field: str, source: Source | None) -> None:
        if field != VALID and all(f.name != field for f in header_type.fields):
            raise UnsupportedProgram(f"reference to unknown field {field!r} of {header_type.name!r}", source)


def _any_of(items: tuple[Expression, ...]) -> Expression:
    """Whether one of the conditions holds."""
    either: Expression = BoolConst(False)
    for item in items:
        either = item if either == BoolConst(False) else Binary("or", either, item)
    return either
