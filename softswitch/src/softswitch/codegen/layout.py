"""The packet header vector as C structs, and how a field is named in C."""

from __future__ import annotations

import re
from collections.abc import Iterable

from softswitch.bmv2.expressions import FieldRef
from softswitch.bmv2.json_reader import VALID
from softswitch.bmv2.program import Field, Header, HeaderType, Program
from softswitch.bmv2.source import Source, UnsupportedProgram
from softswitch.codegen.hooks import Hooks
from softswitch.codegen.integers import MAX_BITS, declaration, storage_bits, words
from softswitch.codegen.usage import Usage, find_usage
from softswitch.codegen.validity import Validity, find_validity

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


_FORMER_FIELDS = frozenset(
    ["clone_spec", "drop", "recirculate_port", "lf_field_list", "resubmit_flag", "recirculate_flag"]
)
"""Of standard metadata in programs that p4c compiled before 2019: memory of the packet, and no more."""


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

    def __init__(self, program: Program, hooks: Hooks | None = None) -> None:
        self.program = program
        self.hooks = hooks or Hooks()
        self.usage: Usage = find_usage(program)
        self.validity: Validity = find_validity(program)
        self.identifiers = Identifiers()
        self.wide_words = 3
        self._elements = {
            header: (stack.name, index)
            for stack in program.stacks.values()
            for index, header in enumerate(stack.headers)
        }
        self._union_elements = {
            header: (stack.name, index, member)
            for stack in program.union_stacks.values()
            for index, union in enumerate(stack.unions)
            for header, member in zip(union.headers, stack.members, strict=True)
        }
        self._unions = {header: union for union in program.unions.values() for header in union.headers}
        for header_type in program.header_types.values():
            self._check(header_type)
            for item in self.stored(header_type):
                self.reserve(item.width)

    def _check(self, header_type: HeaderType) -> None:
        for item in header_type.fields:
            used = (header_type.name, item.name) in self.usage.used
            if used and item.width >= MAX_BITS and not item.varbit:
                raise UnsupportedProgram(
                    f"use of field of {item.width} bits {header_type.name}.{item.name} in an expression",
                    self.usage.where.get((header_type.name, item.name)),
                )

    def reserve(self, bits: int) -> None:
        """Numbers beyond 128 bits have room for that many."""
        self.wide_words = max(self.wide_words, words(bits))

    def header(self, name: str) -> str:
        """The C lvalue of a header or metadata struct."""
        if name in self._elements:
            stack, index = self._elements[name]
            return f"{self.stack(stack)}.element[{index}]"
        if name in self._union_elements:
            stack, index, member = self._union_elements[name]
            return f"{self.stack(stack)}.element[{index}].{self.union_member(member)}"
        if self.program.headers[name].metadata:
            return f"p->metadata.{self.identifiers.get('m_', name)}"
        return f"p->{self.identifiers.get('h_', name)}"

    def excluded_by(self, name: str) -> tuple[str, ...]:
        """The C lvalues of the headers that share a union with this one."""
        union = self._unions.get(name)
        return tuple(self.header(h) for h in union.headers if h != name) if union else ()

    def union_member(self, name: str) -> str:
        """The C name of a member of a union in a stack."""
        return self.identifiers.get("u_", name)

    def stack(self, name: str) -> str:
        """The C lvalue of a stack. Behind the elements of P4 a spare one takes accesses out of range."""
        return f"p->{self.identifiers.get('s_', name)}"

    def depth(self, stack: str) -> int:
        """Elements of a stack of headers or unions."""
        if stack in self.program.stacks:
            return len(self.program.stacks[stack].headers)
        return len(self.program.union_stacks[stack].unions)

    def type_name(self, header_type: HeaderType) -> str:
        """The C struct tag of a header type."""
        return self.identifiers.get("t_", header_type.name)

    def member(self, field: Field) -> str:
        """A field's name inside its struct."""
        return self.identifiers.get("f_", field.name)

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
            if ref.field in _FORMER_FIELDS:
                return f"p->metadata.{self.identifiers.get('standard_', ref.field)}"
            if ref.field not in _STANDARD_FIELDS:
                raise UnsupportedProgram(f"standard metadata field {ref.field!r}")
            return f"p->base.std.{ref.field}"
        return f"{self.header(ref.header)}.{self.member(header.type.field(ref.field))}"

    def stored(self, header_type: HeaderType) -> list[Field]:
        """Fields that have storage: none of those of no bits."""
        used = self.usage.used
        return [f for f in header_type.fields if (header_type.name, f.name) in used and f.width and not f.varbit]

    def varbit(self, header_type: HeaderType) -> Field | None:
        """The varbit field whose bytes an expression or an assignment needs."""
        for item in header_type.fields:
            if item.varbit and (header_type.name, item.name) in self.usage.used:
                return item
        return None

    def has_storage(self, header_type: HeaderType) -> bool:
        """Whether a metadata struct has a C struct."""
        return bool(self.stored(header_type) or self.varbit(header_type))

    def copy_varbit(self, target: FieldRef, origin: FieldRef) -> list[str]:
        """Statements that assign one varbit field to another: both then point to the same received bytes."""
        to, source = self.header(target.header), self.header(origin.header)
        return [f"{to}.{part} = {source}.{part};" for part in ("varbit", "variable")]

    def place(self, header_type: HeaderType) -> Source | None:
        """Where the program first reads or writes a field of such a header: p4c gives declarations no place."""
        places = (self.usage.where.get((header_type.name, item.name)) for item in header_type.fields)
        return next((place for place in places if place is not None), None)

    def is_written(self, header_type: HeaderType, item: Field) -> bool:
        """Whether the program may change the field."""
        return (header_type.name, item.name) in self.usage.written

    def headers(self) -> Iterable[Header]:
        """Headers of packets, stack elements included."""
        return (h for h in self.program.headers.values() if not h.metadata)

    def single(self) -> list[Header]:
        """Headers of packets that are in no stack, as they lie in memory: first those that `absent` is about."""
        exposed = {ref.header for ref in self.validity.exposed}
        alone = (h for h in self.headers() if h.name not in self._elements and h.name not in self._union_elements)
        return sorted(alone, key=lambda header: header.name not in exposed)

    def absent(self) -> list[str]:
        """Statements that make all headers absent, and zero what may be read of them while they are."""
        exposed = {ref.header for ref in self.validity.exposed}
        cleared = [header.name for header in self.single() if header.name in exposed]
        lines = []
        if cleared:  # at once: dearer than a byte for each, but not by much
            first, last = (f"offsetof(struct phv, {self.header(cleared[at]).removeprefix('p->')})" for at in (0, -1))
            size = f"{last} - {first} + sizeof {self.header(cleared[-1])}"
            lines.append(f"ss_clear((uint8_t *)p + {first}, {size});")
        for header in self.headers():
            if header.name in cleared:
                continue
            text = self.header(header.name)
            if header.name in exposed:
                lines.append(f"memset(&{text}, 0, sizeof {text});")
                continue
            lines.append(f"{text}.valid = 0;")
            if self.varbit(header.type):  # it points into the packet before
                lines.append(f"{text}.varbit = 0;")
        for name in sorted(self.validity.indexed):
            spare = f"{self.stack(name)}.element[{self.depth(name)}]"
            lines.append(f"memset(&{spare}, 0, sizeof {spare});")
        return lines

    def declarations(self) -> list[str]:
        """C declarations of `struct phv` and what it is made of."""
        lines: list[str] = []
        metadata = [h for h in self.program.headers.values() if h.metadata and h.name != STANDARD]
        packet_types = {h.type.name: h.type for h in self.headers()}
        for header_type in packet_types.values():
            lines.append(f"struct {self.type_name(header_type)} {{")
            lines.append("    const uint8_t *raw; /* as extracted; NULL when the program made the header */")
            if self.varbit(header_type):
                lines.append("    const uint8_t *variable; /* the varbit field as it was received */")
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
            if self.has_storage(header.type):
                lines.append("        struct {")
                if self.varbit(header.type):
                    lines += ["            const uint8_t *variable;", "            uint16_t varbit;"]
                lines += [f"            {declaration(f, self.member(f))}" for f in stored]
                lines.append(f"        }} {self.identifiers.get('m_', header.name)};")
        former = [f for f in self.stored(self.program.headers[STANDARD].type) if f.name in _FORMER_FIELDS]
        lines += [f"        {declaration(f, self.identifiers.get('standard_', f.name))}" for f in former]
        lines.append("    } metadata;")
        for header in self.single():
            lines.append(f"    struct {self.type_name(header.type)} {self.identifiers.get('h_', header.name)};")
        for stack in self.program.stacks.values():
            element, name = self.type_name(stack.type), self.identifiers.get("s_", stack.name)
            size = len(stack.headers) + 1
            lines.append(f"    struct {{ struct {element} element[{size}]; uint32_t next; }} {name};")
        for union_stack in self.program.union_stacks.values():
            members = " ".join(
                f"struct {self.type_name(kind)} {self.union_member(member)};"
                for member, kind in union_stack.members.items()
            )
            name, size = self.identifiers.get("s_", union_stack.name), len(union_stack.unions) + 1
            lines.append(f"    struct {{ struct {{ {members} }} element[{size}]; uint32_t next; }} {name};")
        lines.append("};")
        return lines

    def pointers(self) -> list[str]:
        """The members of `struct phv` that point into the packet as it came in."""

        def of(path: str, header_type: HeaderType) -> list[str]:
            return [f"{path}.raw", *([f"{path}.variable"] if self.varbit(header_type) else [])]

        found = ["base.payload"]
        for header in self.program.headers.values():
            if (
                header.metadata
                and header.name != STANDARD
                and self.has_storage(header.type)
                and self.varbit(header.type)
            ):
                found.append(f"metadata.{self.identifiers.get('m_', header.name)}.variable")
        for header in self.headers():
            if header.name not in self._elements and header.name not in self._union_elements:
                found += of(self.identifiers.get("h_", header.name), header.type)
        for stack in self.program.stacks.values():
            name = self.identifiers.get("s_", stack.name)
            for index in range(len(stack.headers) + 1):
                found += of(f"{name}.element[{index}]", stack.type)
        for union_stack in self.program.union_stacks.values():
            name = self.identifiers.get("s_", union_stack.name)
            for index in range(len(union_stack.unions) + 1):
                for member, kind in union_stack.members.items():
                    found += of(f"{name}.element[{index}].{self.union_member(member)}", kind)
        return found
