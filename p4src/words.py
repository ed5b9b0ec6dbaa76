"""Write what other code must know of the steering program, from its sources: `python -m p4src.words`.

The P4 sources say once how wide a number is, what it means, and how headers are laid out. This writes the same down for
Python (`hitless/words.py`) and for C (`p4src/words.h`). It needs no compiler: it reads `types.p4`, of which it
knows every form of declaration, and the headers of `headers.p4` that are this project's own.
"""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TYPES = Path("p4src/types.p4")
HEADERS = Path("p4src/headers.p4")
PYTHON = Path("hitless/words.py")
C = Path("p4src/words.h")

ENUMERATIONS = {
    "affinity_t": "Affinity",
    "drop_t": "DropReason",
    "event_t": "Reason",
    "flow_state_t": "FlowState",
    "invocation_t": "InvocationType",
    "kind_t": "PacketKind",
    "no_live_t": "OnNoLive",
    "packet_in_t": "PacketInOp",
    "packet_out_t": "PacketOutOp",
    "place_t": "FlowPlace",
    "policy_t": "PolicyKind",
    "status_t": "MemberStatus",
    "unreachable_t": "Unreachable",
}
"""What the enumerations are called in Python."""
LAYOUTS = {
    "report_h": "REPORT_LAYOUT",
    "invocation_h": "INVOCATION_LAYOUT",
    "packet_out_h": "PACKET_OUT_LAYOUT",
    "packet_in_h": "PACKET_IN_LAYOUT",
    "steering_event_t": "DIGEST_LAYOUT",
}
"""The headers and structs whose layouts are written, and what they are called."""
DERIVED = '''
SERVICE_NETWORK: Final = IPv4Network((SERVICE_PREFIX, SERVICE_PREFIX_LENGTH))
"""All service addresses and the report address are in it."""
LEVELS: Final = MEMBER_BITS
"""Of a service's tree: one for each bit of a member's number."""
'''
"""What follows from the declarations, in Python's words."""
WIDTH = 120
"""Of a line."""
_C_PREFIX = "STEERING_"
"""C has one name space for all."""

_COMMENT = r"(?:\s*// ?(?P<comment>.*))?"
_TYPEDEF = re.compile(rf"typedef bit<(?P<bits>\d+)>\s+(?P<name>\w+)_t;{_COMMENT}")
_CONSTANT = re.compile(rf"(?:@\w+\([^)]*\) )?const (?P<type>[\w<>]+)\s+(?P<name>\w+)\s*=\s*(?P<value>[^;]+);{_COMMENT}")
_ENUM = re.compile(r"enum bit<(?P<bits>\d+)> (?P<name>\w+)\s*\{(?P<inside>.*)")
_MEMBER = re.compile(r"(?P<name>\w+)\s*=\s*(?P<value>\d+)")
_FIELD = re.compile(rf"(?P<type>[\w<>]+)\s+(?P<name>\w+);{_COMMENT}")


class WordsError(ValueError):
    """A source has a declaration of a form that is not known here; the message says where."""


@dataclass(frozen=True)
class Width:
    """A typedef of an unsigned number."""

    name: str
    bits: int
    comment: str


@dataclass(frozen=True)
class Constant:
    """A named number; `expression` is what the source says, `value` what it comes to."""

    name: str
    type: str
    expression: str
    value: int
    comment: str


@dataclass(frozen=True)
class Member:
    """A value of an enumeration, or a comment among them if it has no name."""

    name: str
    value: int
    comment: str


@dataclass(frozen=True)
class Enumeration:
    """An enumeration with the comment before it."""

    name: str
    members: tuple[Member, ...]
    comment: str


@dataclass(frozen=True)
class Field:
    """A field of a header or struct."""

    name: str
    bits: int
    comment: str


@dataclass(frozen=True)
class Layout:
    """The fields of a header or struct in order, with the comment before it."""

    name: str
    fields: tuple[Field, ...]
    comment: str


@dataclass(frozen=True)
class Heading:
    """A blank line, with the comment that stands over the constants after it, if there is one."""

    comment: str


Declaration = Width | Constant | Enumeration | Heading


def declarations(root: Path = ROOT) -> list[Declaration]:
    """What `types.p4` declares, in its order. Raises WordsError."""
    lines = iter(enumerate((root / TYPES).read_text().splitlines(), 1))
    names: dict[str, int] = {}
    found: list[Declaration] = []
    comment: list[str] = []
    for number, line in lines:
        if line.startswith("//"):
            comment.append(line.removeprefix("//").strip())
        elif not line.strip():
            found.append(Heading(""))
            comment = []
        elif one := _TYPEDEF.fullmatch(line):
            found.append(Width(one["name"], int(one["bits"]), one["comment"] or ""))
        elif one := _CONSTANT.fullmatch(line):
            if comment:
                found.append(Heading(" ".join(comment)))
                comment = []
            value = names[one["name"]] = _value(one["value"], names)
            found.append(Constant(one["name"], one["type"], one["value"], value, one["comment"] or ""))
        elif one := _ENUM.fullmatch(line):
            if one["name"] not in ENUMERATIONS:
                raise WordsError(f"{TYPES}:{number}: {one['name']} has no Python name in p4src/words.py: ENUMERATIONS")
            inside = [one["inside"]]
            while "}" not in _code(inside[-1]):
                inside.append(next(lines)[1])
            found.append(Enumeration(one["name"], tuple(_members(inside)), " ".join(comment)))
            comment = []
        else:
            raise WordsError(f"{TYPES}:{number}: expected a typedef, a constant or an enumeration, got {line!r}")
    return found


def layouts(widths: Mapping[str, int], root: Path = ROOT) -> list[Layout]:
    """The layouts that LAYOUTS names, in its order; `widths` are those of the typedefs. Raises WordsError."""
    text = (root / HEADERS).read_text()
    return [_layout(name, text, widths) for name in LAYOUTS]


def _layout(name: str, text: str, widths: Mapping[str, int]) -> Layout:
    found = re.search(rf"((?:^//[^\n]*\n)*)(?:^@[^\n]*\n)?^(?:header|struct) {name} \{{\n(.*?)^\}}", text, re.M | re.S)
    if found is None:
        raise WordsError(f"{HEADERS}: expected a header or struct {name}")
    comment = " ".join(line.removeprefix("//").strip() for line in found[1].splitlines())
    fields = []
    for line in found[2].splitlines():
        field = _FIELD.fullmatch(line.strip())
        if field is None:
            raise WordsError(f"{HEADERS}: {name}: expected a field, got {line.strip()!r}")
        fields.append(Field(field["name"], _bits(field["type"], widths), field["comment"] or ""))
    return Layout(name, tuple(fields), comment)


def _bits(type_name: str, widths: Mapping[str, int]) -> int:
    if found := re.fullmatch(r"bit<(\d+)>", type_name):
        return int(found[1])
    if type_name.removesuffix("_t") not in widths:
        raise WordsError(f"{HEADERS}: expected bit<N> or a typedef of {TYPES}, got {type_name}")
    return widths[type_name.removesuffix("_t")]


def _members(lines: Sequence[str]) -> Iterator[Member]:
    for line in lines:
        comment = line.partition("//")[2].strip()
        found = list(_MEMBER.finditer(_code(line)))
        for one in found:
            yield Member(one["name"], int(one["value"]), comment if one is found[-1] else "")
        if comment and not found:
            yield Member("", 0, comment)


def _code(line: str) -> str:
    return line.partition("//")[0]


def _value(expression: str, names: Mapping[str, int]) -> int:
    def value(node: ast.expr) -> int:
        match node:
            case ast.Constant(value=int(number)):
                return number
            case ast.Name(id=name) if name in names:
                return names[name]
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                return value(left) + value(right)
            case ast.BinOp(left=left, op=ast.Sub(), right=right):
                return value(left) - value(right)
            case ast.BinOp(left=left, op=ast.Mult(), right=right):
                return value(left) * value(right)
            case ast.BinOp(left=left, op=ast.LShift(), right=right):
                return value(left) << value(right)
        raise WordsError(f"{TYPES}: expected numbers, constants, +, -, * or <<, got {expression!r}")

    return value(ast.parse(expression, mode="eval").body)


def _docstring(comment: str, indent: str = "") -> list[str]:
    """A comment as a sentence in quotes; nothing for none."""
    if not comment:
        return []
    begins_with_a_word = re.match(r"[a-z]+[ ,:;](?!\+)", comment)
    text = (comment[:1].upper() if begins_with_a_word else comment[:1]) + comment[1:]
    text += "" if text.endswith((".", "?")) else "."
    if len(indent) + len(text) + 6 <= WIDTH:
        return [f'{indent}"""{text}"""']
    first, *rest = textwrap.wrap(text, WIDTH - len(indent) - 6)
    return [f'{indent}"""{first}', *(indent + line for line in rest), f'{indent}"""']


def _remark(text: str, mark: str, indent: str = "") -> list[str]:
    return [f"{indent}{mark} {line}" for line in textwrap.wrap(text, WIDTH - len(indent) - len(mark) - 1)]


def python(declared: Sequence[Declaration], headers: Sequence[Layout]) -> str:
    """The Python module."""
    heading = f"""\"\"\"The numbers, names and layouts of the steering program.

Generated by `p4src/words.py` from `{TYPES}` and `{HEADERS}`, where each is explained. To change one,
change it there and run `make words`.
\"\"\"

from enum import IntEnum
from ipaddress import IPv4Address, IPv4Network
from typing import Final

Layout = tuple[tuple[str, int], ...]
\"\"\"(field, bits) of a header in order: big-endian, and nothing between the fields.\"\"\"
"""
    blocks = [heading]
    for together, group in groupby(declared, key=lambda one: not isinstance(one, Enumeration)):
        if together:
            lines = [line for one in group for line in _python_lines(one)]
            blocks.append(re.sub(r"\n{3,}", "\n\n", "\n".join(lines)))
        else:
            blocks += ["\n".join(_python_lines(one)) for one in group]
    blocks.append(DERIVED)
    blocks.append("\n\n".join("\n".join(_python_layout(header)) for header in headers))
    return "\n\n\n".join(block.strip() for block in blocks if block.strip()) + "\n"


def _python_lines(one: Declaration) -> list[str]:
    match one:
        case Heading():
            return ["", *_remark(one.comment, "#")]
        case Width():
            return [f"{one.name.upper()}_BITS: Final = {one.bits}", *_docstring(one.comment)]
        case Constant():
            number = re.sub(r"(?<=\b0x)\w+", lambda digits: digits[0].upper(), one.expression)
            expression = f"IPv4Address({number})" if one.type == "ipv4_t" else number
            return [f"{one.name}: Final = {expression}", *_docstring(one.comment)]
        case Enumeration():
            lines = [f"class {ENUMERATIONS[one.name]}(IntEnum):"]
            lines += [*_docstring(one.comment, "    "), ""] if one.comment else []
            for member in one.members:
                if member.name:
                    lines += [f"    {member.name} = {member.value}", *_docstring(member.comment, "    ")]
                else:
                    lines += _remark(member.comment, "#", "    ")
            return lines


def _python_layout(header: Layout) -> Iterator[str]:
    yield f"{LAYOUTS[header.name]}: Final[Layout] = ("
    for field in header.fields:
        comment = re.sub(r"\b\w+_t\b", lambda name: ENUMERATIONS.get(name[0], name[0]), field.comment)
        yield f'    ("{field.name}", {field.bits}),' + (f"  # {comment}" if comment else "")
    yield ")"
    yield from _docstring(header.comment)


def c(declared: Sequence[Declaration], headers: Sequence[Layout]) -> str:
    """The C header."""
    lines = [
        "/* SPDX-License-Identifier: Apache-2.0 */",
        "/* The numbers and layouts of the steering program.",
        " *",
        f" * Generated by p4src/words.py from {TYPES} and {HEADERS}, where each is explained. To change one,",
        " * change it there and run `make words`. A layout is a list of FIELD(name, bits), in order, big-endian, with",
        " * nothing between the fields.",
        " */",
        "#ifndef STEERING_WORDS_H",
        "#define STEERING_WORDS_H",
        "",
        "#include <stdint.h>",
        "",
    ]
    lines += [
        f"#define {_C_PREFIX}{one.name} UINT64_C({one.value:{'#x' if one.expression.startswith('0x') else 'd'}})"
        for one in declared
        if isinstance(one, Constant)
    ]
    for one in declared:
        if isinstance(one, Enumeration):
            name = _C_PREFIX + one.name.removesuffix("_t").upper()
            members = [f"    {name}_{member.name} = {member.value}," for member in one.members if member.name]
            lines += ["", "enum {", *members, "};"]
    for header in headers:
        fields = [f"    FIELD({field.name}, {field.bits})" for field in header.fields]
        lines += ["", " \\\n".join([f"#define {_C_PREFIX}{LAYOUTS[header.name]}(FIELD)", *fields])]
    return "\n".join([*lines, "", "#endif"]) + "\n"


def generated(root: Path = ROOT) -> dict[Path, str]:
    """The text of each file, by its path relative to the repository. Raises WordsError."""
    declared = declarations(root)
    widths = {one.name: one.bits for one in declared if isinstance(one, Width)}
    headers = layouts(widths, root)
    return {PYTHON: python(declared, headers), C: c(declared, headers)}


def main() -> None:
    """Write both files."""
    for path, text in generated().items():
        (ROOT / path).write_text(text)
        print(f"{path}: generated from {TYPES} and {HEADERS}")


if __name__ == "__main__":
    main()
