"""Primitives on whole headers, stacks of them, and unions."""

from __future__ import annotations

from dataclasses import dataclass

from softswitch.bmv2.control import Operand, Primitive
from softswitch.bmv2.expressions import Const, FieldRef, StackElement
from softswitch.bmv2.program import Field, HeaderType, Program
from softswitch.bmv2.source import Source, UnsupportedProgram
from softswitch.codegen.expressions import ExpressionWriter
from softswitch.codegen.layout import STANDARD, Layout
from softswitch.codegen.wire import Wire

STANDARD_METADATA = "p->base.std"


@dataclass(frozen=True, slots=True)
class Place:
    """A header in C: its lvalue, and the lvalues of what it excludes in a union."""

    text: str
    type: HeaderType
    metadata: bool = False
    excludes: tuple[str, ...] = ()

    def alone(self) -> str:
        """C statements that make the rest of its union invalid."""
        return "".join(f" {other}.valid = 0;" for other in self.excludes)


class HeaderWriter:
    """Statements for primitives that take headers."""

    def __init__(self, program: Program, layout: Layout) -> None:
        self.program = program
        self.layout = layout
        self.wire = Wire(layout)

    def place(self, name: str) -> Place:
        """A header by name."""
        header = self.program.headers[name]
        text = STANDARD_METADATA if name == STANDARD else self.layout.header(name)
        return Place(text, header.type, header.metadata, self.layout.excluded_by(name))

    def _operand(self, operand: Operand, writer: ExpressionWriter) -> Place:
        if operand.kind == "element" and operand.expression is not None:
            stack = self.program.stacks[operand.name]
            return Place(writer.header_at(StackElement(stack.name, operand.expression, "")), stack.type)
        if operand.kind != "header" or operand.name not in self.program.headers:
            raise UnsupportedProgram(f"a {operand.kind} where a header is needed", writer.source)
        return self.place(operand.name)

    def assign_header(self, primitive: Primitive, writer: ExpressionWriter) -> list[str]:
        """`target = origin;` of headers or metadata structs."""
        target, origin = (self._operand(o, writer) for o in primitive.operands)
        return self._copy(target, origin, writer.source)

    def _copy(self, target: Place, origin: Place, source: Source | None) -> list[str]:
        if target.type.name != origin.type.name:
            raise UnsupportedProgram(
                f"assignment of header type {origin.type.name!r} to another type {target.type.name!r}", source
            )
        if target.metadata and STANDARD_METADATA in (target.text, origin.text):
            return self._copy_standard(target, origin)
        if target.metadata:
            return [f"{target.text} = {origin.text};"] if self.layout.has_storage(target.type) else []
        # the fields of an invalid source are not copied: the target keeps its last values
        return [
            f"if ({origin.text}.valid) {{ {target.text} = {origin.text};{target.alone()} }}",
            f"else {target.text}.valid = 0;",
        ]

    def _copy_standard(self, target: Place, origin: Place) -> list[str]:
        """standard_metadata has a struct of its own, so it is copied field by field."""
        lines = []
        for field in self.layout.stored(target.type):
            to, value = (self._standard_field(place, field) for place in (target, origin))
            lines.append(f"{to} = {value};")
        return lines

    def _standard_field(self, place: Place, field: Field) -> str:
        if place.text == STANDARD_METADATA:
            return self.layout.field(FieldRef(STANDARD, field.name))
        return f"{place.text}.{self.layout.member(field)}"

    def assign_stack(self, primitive: Primitive, writer: ExpressionWriter) -> list[str]:
        """Assignment of a whole stack."""
        target, origin = (self.program.stacks[o.name] for o in primitive.operands)
        if len(target.headers) != len(origin.headers):
            raise UnsupportedProgram("assignment between header stacks of different sizes", primitive.source)
        lines = [f"{self.layout.stack(target.name)}.next = {self.layout.stack(origin.name)}.next;"]
        for a, b in zip(target.headers, origin.headers, strict=True):
            lines += self._copy(self.place(a), self.place(b), primitive.source)
        return lines

    def assign_union(self, primitive: Primitive, writer: ExpressionWriter) -> list[str]:
        """Assignment of a whole union."""
        target, origin = (self.program.unions[o.name].headers for o in primitive.operands)
        return self._copy_union(target, origin, primitive.source)

    def _copy_union(self, target: tuple[str, ...], origin: tuple[str, ...], source: Source | None) -> list[str]:
        if len(target) != len(origin):
            raise UnsupportedProgram("assignment between header unions of different types", source)
        pairs = zip(target, origin, strict=True)
        return [line for a, b in pairs for line in self._copy(self.place(a), self.place(b), source)]

    def assign_union_stack(self, primitive: Primitive, writer: ExpressionWriter) -> list[str]:
        """Assignment of a whole stack of unions."""
        target, origin = (self.program.union_stacks[o.name] for o in primitive.operands)
        if len(target.unions) != len(origin.unions):
            raise UnsupportedProgram("assignment between header union stacks of different sizes", primitive.source)
        lines = [f"{self.layout.stack(target.name)}.next = {self.layout.stack(origin.name)}.next;"]
        for a, b in zip(target.unions, origin.unions, strict=True):
            lines += self._copy_union(a.headers, b.headers, primitive.source)
        return lines

    def add_header(self, primitive: Primitive, writer: ExpressionWriter) -> list[str]:
        """`setValid()`; a header that becomes valid is zero."""
        place = self._operand(primitive.operands[0], writer)
        if place.metadata:
            return []
        return [
            f"if (!{place.text}.valid) {{",
            f"    memset(&{place.text}, 0, sizeof {place.text});",
            f"    {place.text}.valid = 1;{place.alone()}",
            f"    p->base.length += {place.type.width // 8};",
            "}",
        ]

    def remove_header(self, primitive: Primitive, writer: ExpressionWriter) -> list[str]:
        """`setInvalid()`."""
        place = self._operand(primitive.operands[0], writer)
        if place.metadata:
            return []
        length = self.wire.length(place.text, place.type)
        return [f"if ({place.text}.valid) {{ p->base.length -= {length}; {place.text}.valid = 0; }}"]

    def push(self, primitive: Primitive, writer: ExpressionWriter) -> list[str]:
        """`push_front(count)`: the whole stack moves, the new elements are invalid."""
        name, size, count = self._shift_of(primitive)
        text, kept = self.layout.stack(name), max(size - count, 0)
        lines = [f"{text}.next = {text}.next + {count} < {size} ? {text}.next + {count} : {size};"]
        if kept:
            lines.append(f"memmove(&{text}.element[{count}], &{text}.element[0], {kept} * sizeof {text}.element[0]);")
        return lines + self._invalid(name, range(min(count, size)))

    def pop(self, primitive: Primitive, writer: ExpressionWriter) -> list[str]:
        """`pop_front(count)`: the whole stack moves, the elements it leaves are invalid."""
        name, size, count = self._shift_of(primitive)
        text, kept = self.layout.stack(name), max(size - count, 0)
        lines = [f"{text}.next = {text}.next > {count} ? {text}.next - {count} : 0;"]
        if kept:
            lines.append(f"memmove(&{text}.element[0], &{text}.element[{count}], {kept} * sizeof {text}.element[0]);")
        return lines + self._invalid(name, range(kept, size))

    def _invalid(self, stack: str, elements: range) -> list[str]:
        if stack in self.program.stacks:
            headers = [self.program.stacks[stack].headers[i] for i in elements]
        else:
            headers = [h for i in elements for h in self.program.union_stacks[stack].unions[i].headers]
        return [f"{self.layout.header(h)}.valid = 0;" for h in headers]

    def _shift_of(self, primitive: Primitive) -> tuple[str, int, int]:
        name, count = primitive.operands[0].name, primitive.operands[1].expression
        if name in self.program.stacks:
            size = len(self.program.stacks[name].headers)
        else:
            size = len(self.program.union_stacks[name].unions)
        if not isinstance(count, Const):
            raise UnsupportedProgram(f"{primitive.op} of a header stack by no constant", primitive.source)
        return name, size, count.value
