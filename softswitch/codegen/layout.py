"""The packet header vector as C structs, and how a field is named in C."""

from __future__ import annotations

import re
from collections.abc import Iterable

from softswitch.bmv2.expressions import FieldRef
from softswitch.bmv2.json_reader import VALID
from softswitch.bmv2.program import Field, Header, HeaderType, Program, UnsupportedProgram
from softswitch.codegen.integers import MAX_BITS, declaration, storage_bits, words
from softswitch.codegen.usage import Usage, find_usage

STANDARD = "standard_metadata"

_STANDARD_FIELDS = frozenset(
    [
        "ingress_port",
        "egress_spec",
        "egress_port",
        "instance_type",
        "packet_length",
        "enq_timestamp",
        "enq_qdepth",
        "deq_timedelta",
        "deq_qdepth",
        "ingress_global_timestamp",
        "egress_global_timestamp",
        "mcast_grp",
        "egress_rid",
        "checksum_error",
        "parser_error",
        "priority",
    ]
)


class Identifiers:
    """C identifiers for P4 names: readable, unique, stable."""

    def __init__(self) -> None:
        self._given: dict[tuple[str, str], str] = {}
        self._taken: set[str] = set()

    def get(self, prefix: str, name: str) -> str:
        """The identifier for `name` in the name space `prefix`."""
        if (prefix, name) not in self._given:
            base = prefix + re.sub(r"[^A-Za-z0-9_]", "_", name)
            candidate, count = base, 1
            while candidate in self._taken:
                count += 1
                candidate = f"{base}_{count}"
            self._taken.add(candidate)
            self._given[(prefix, name)] = candidate
        return self._given[(prefix, name)]


class Layout:
    """Where everything of a packet lives in C. In generated functions `p` is the packet's `struct phv`."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.usage: Usage = find_usage(program)
        self.identifiers = Identifiers()
        self.wide_words = 3
        self._elements = {
            header: (stack.name, index)
            for stack in program.stacks.values()
            for index, header in enumerate(stack.headers)
        }
        for header_type in program.header_types.values():
            self._check(header_type)

    def _check(self, header_type: HeaderType) -> None:
        for item in header_type.fields:
            used = (header_type.name, item.name) in self.usage.used
            if used and (item.width >= MAX_BITS or item.varbit):
                what = "varbit field" if item.varbit else f"field of {item.width} bits"
                raise UnsupportedProgram(f"use of {what} {header_type.name}.{item.name} in an expression")

    def reserve(self, bits: int) -> None:
        """Numbers beyond 128 bits have room for that many."""
        self.wide_words = max(self.wide_words, words(bits))

    def header(self, name: str) -> str:
        """The C lvalue of a header or metadata struct."""
        if name in self._elements:
            stack, index = self._elements[name]
            return f"{self.stack(stack)}.element[{index}]"
        if self.program.headers[name].metadata:
            return f"p->metadata.{self.identifiers.get('m_', name)}"
        return f"p->{self.identifiers.get('h_', name)}"

    def stack(self, name: str) -> str:
        """The C lvalue of a header stack. It has one element more than in P4, for accesses out of range to go to."""
        return f"p->{self.identifiers.get('s_', name)}"

    def type_name(self, header_type: HeaderType) -> str:
        """The C struct tag of a header type."""
        return self.identifiers.get("t_", header_type.name)

    def member(self, field: Field) -> str:
        """A field's name inside its struct."""
        return "f_" + re.sub(r"[^A-Za-z0-9_]", "_", field.name)

    def field_info(self, ref: FieldRef) -> Field:
        """Width and sign; a header's validity is a field of one bit."""
        if ref.field == VALID:
            return Field(VALID, 1)
        return self.program.headers[ref.header].type.field(ref.field)

    def field(self, ref: FieldRef) -> str:
        """The C lvalue of a field."""
        header = self.program.headers[ref.header]
        if ref.field == VALID:
            return "1" if header.metadata else f"{self.header(ref.header)}.valid"
        if ref.header == STANDARD:
            if ref.field not in _STANDARD_FIELDS:
                raise UnsupportedProgram(f"standard metadata field {ref.field!r}")
            return f"p->base.std.{ref.field}"
        return f"{self.header(ref.header)}.{self.member(header.type.field(ref.field))}"

    def stored(self, header_type: HeaderType) -> list[Field]:
        """Fields that have storage."""
        return [f for f in header_type.fields if (header_type.name, f.name) in self.usage.used]

    def is_written(self, header_type: HeaderType, item: Field) -> bool:
        """Whether the program may change the field."""
        return (header_type.name, item.name) in self.usage.written

    def headers(self) -> Iterable[Header]:
        """Headers of packets, stack elements included."""
        return (h for h in self.program.headers.values() if not h.metadata)

    def declarations(self) -> list[str]:
        """C declarations of `struct phv` and what it is made of."""
        lines: list[str] = []
        metadata = [h for h in self.program.headers.values() if h.metadata and h.name != STANDARD]
        packet_types = {h.type.name: h.type for h in self.headers()}
        for header_type in packet_types.values():
            lines.append(f"struct {self.type_name(header_type)} {{")
            lines.append("    const uint8_t *raw; /* as extracted; NULL when the program made the header */")
            if any(f.varbit for f in header_type.fields):
                lines.append("    uint16_t varbit; /* bytes */")
            lines.append("    uint8_t valid;")
            lines += [f"    {declaration(f, self.member(f))}" for f in self.stored(header_type)]
            lines.append("};")
        lines.append("struct phv {")
        lines.append("    struct ss_phv base;")
        lines.append("    struct {")
        for header in metadata:
            stored = sorted(self.stored(header.type), key=lambda f: -storage_bits(f.width))
            if stored:
                lines.append("        struct {")
                lines += [f"            {declaration(f, self.member(f))}" for f in stored]
                lines.append(f"        }} {self.identifiers.get('m_', header.name)};")
        lines.append("    } metadata;")
        for header in self.headers():
            if header.name not in self._elements:
                lines.append(f"    struct {self.type_name(header.type)} {self.identifiers.get('h_', header.name)};")
        for stack in self.program.stacks.values():
            element, name = self.type_name(stack.type), self.identifiers.get("s_", stack.name)
            size = len(stack.headers) + 1
            lines.append(f"    struct {{ struct {element} element[{size}]; uint32_t next; }} {name};")
        lines.append("};")
        return lines
