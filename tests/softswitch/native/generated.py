"""Small v1model programs made at random, with table entries and packets for them. `programs()` is the strategy.

Every program extracts a header `base`, and by its first byte others, a stack and a varbit; works on their fields, on
metadata and registers with random statements in ingress and egress; and sends all headers and metadata out. What P4
leaves open and two switches may answer differently is not written: no field of a header is read that was never valid
(but as a key, which is zero then), no register or stack is left, no clock or queue is looked at, and copies are not
copied again without end.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from hypothesis import strategies as st
from softswitch.bmv2.match import Exact, Lpm, Range, Ternary

from tests.softswitch.native.generated_expressions import Expressions, Type, Variable
from tests.softswitch.native.generated_frame import FRAME
from tests.softswitch.native.writes import Entry, Match, Optional

HASHES = ["crc32", "crc16", "csum16", "xor16", "identity"]
GROUPS = {1: [(2, 10), (3, 11)], 2: [(5, 7)]}
SESSIONS = {1: [(6, 0)], 2: [(7, 3), (4, 4)]}
PACKETS = 120


@dataclass(frozen=True)
class Generated:
    """A program, what its tables hold, and what it is sent."""

    text: str
    entries: tuple[Entry, ...]
    packets: list[tuple[int, bytes]] = field(repr=False)


@dataclass
class Writer(Expressions):
    """Draws the parts of one program; declarations gather on the way."""

    headers: dict[str, list[Variable]] = field(default_factory=dict)
    metadata: list[Variable] = field(default_factory=list)
    declarations: list[str] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    control: str = "I"

    def block(self, env: list[Variable], depth: int, most: int = 5, action: bool = False) -> list[str]:
        """Statements."""
        count = self.draw(st.integers(1, most))
        return [f"    {line}" for _ in range(count) for line in self.statement(env, depth, action)]

    def statement(self, env: list[Variable], depth: int, action: bool = False) -> list[str]:
        """One statement, in an action or in a control."""
        forms: list[Callable[[list[Variable]], list[str]]] = [self.assign, self.assign, self.hash, self.special]
        if self.control == "I":
            forms.append(self.register)
        if depth:
            forms.append(lambda e: self.branch(e, depth, action))
        if not action:
            forms += [self.stack, self.header]
            if depth:
                forms += [lambda e: self.guarded(e, depth), lambda e: self.guarded(e, depth), self.table, self.table]
        return forms[self.draw(st.integers(0, len(forms) - 1))](env)

    def assign(self, env: list[Variable]) -> list[str]:
        """To a variable, or to a part of one."""
        target = env[self.draw(st.integers(0, len(env) - 1))]
        if not target.type.signed and target.type.width > 1 and self.chance(5):
            low = self.draw(st.integers(0, target.type.width - 2))
            value = self.expression(Type(target.type.width - 1 - low), env)
            return [f"{target.text}[{target.type.width - 2}:{low}] = {value};"]
        return [f"{target.text} = {self.expression(target.type, env)};"]

    def hash(self, env: list[Variable]) -> list[str]:
        """One of the algorithms over variables."""
        kind, result = Type(int(str(self.choose(8, 16, 32, 64)))), self.name("h")
        inputs = ", ".join(self.expression(self.type(), env, 1) for _ in range(self.draw(st.integers(1, 4))))
        target = env[self.draw(st.integers(0, len(env) - 1))]
        base, limit = f"{kind.width}w{self.draw(st.integers(0, 9))}", f"64w{self.number(33)}"
        algorithm = self.choose(*HASHES)
        return [
            f"{kind} {result} = 0;",
            f"hash({result}, HashAlgorithm.{algorithm}, {base}, {{ {inputs} }}, {limit});",
            f"{target.text} = {self.cast(target.type, Variable(result, kind))};",
        ]

    def register(self, env: list[Variable]) -> list[str]:
        """Read, change, write."""
        kind, name, old = Type(self.type().width), self.name("r"), self.name("old")
        self.declarations.append(f"register<{kind}>(8) {name};")
        index = f"(bit<32>)({self.expression(Type(3), env, 1)})"
        target = env[self.draw(st.integers(0, len(env) - 1))]
        value = self.expression(kind, [*env, Variable(old, kind)], 2)
        return [
            f"{kind} {old} = 0;",
            f"{name}.read({old}, {index});",
            f"{target.text} = {self.cast(target.type, Variable(old, kind))};",
            f"{name}.write({index}, {value});",
        ]

    def special(self, env: list[Variable]) -> list[str]:
        """What becomes of the packet."""
        list_id = self.draw(st.integers(0, 2))
        first = "std.instance_type == 0"
        if self.chance(3):
            return ["mark_to_drop(std);"]
        if self.control == "E":
            forms = [
                f"if ({first}) {{ clone_preserving_field_list(CloneType.E2E, {self.choose(1, 2)}, {list_id}); }}",
                f"if ({first} && meta.again == 0) {{ meta.again = 1; recirculate_preserving_field_list(1); }}",
                f"truncate(32w{self.draw(st.integers(0, 60))});",
            ]
        else:
            forms = [
                f"std.egress_spec = (bit<9>)({self.expression(Type(3), env, 1)});",
                f"std.mcast_grp = (bit<16>)({self.expression(Type(1), env, 1)});",
                f"if ({first}) {{ clone_preserving_field_list(CloneType.I2E, {self.choose(1, 2)}, {list_id}); }}",
                f"if ({first} && meta.again == 0) {{ meta.again = 1; resubmit_preserving_field_list(1); }}",
                "exit;",
            ]
        return [str(self.choose(*forms))]

    def branch(self, env: list[Variable], depth: int, action: bool) -> list[str]:
        """if, else."""
        lines = [f"if ({self.condition(env)}) {{", *self.block(env, depth - 1, 2, action)]
        return [*lines, "} else {", *self.block(env, depth - 1, 2, action), "}"]

    def guarded(self, env: list[Variable], depth: int) -> list[str]:
        """Statements with the fields of a header that is there."""
        header = str(self.choose("h1", "h2", "st[0]", "st[1]"))
        fields = [Variable(f"hdr.{header}.{v.text}", v.type) for v in self.headers[header[:2]]]
        return [f"if (hdr.{header}.isValid()) {{", *self.block([*env, *fields, *fields], depth - 1, 4), "}"]

    def header(self, env: list[Variable]) -> list[str]:
        """Validity, copies, comparisons of whole headers."""
        name = self.choose("h1", "h2")
        value = self.expression(self.headers[str(name)][0].type, env, 2)
        pair = f"hdr.st[{self.draw(st.integers(0, 2))}]", f"hdr.st[{self.draw(st.integers(0, 2))}]"
        forms = [
            f"hdr.{name}.setValid();",
            f"hdr.{name}.setInvalid();",
            f"if (!hdr.{name}.isValid()) {{ hdr.{name}.setValid(); hdr.{name}.f0 = {value}; }}",
            f"{pair[0]} = {pair[1]};",
            f"if ({pair[0]} == {pair[1]}) {{ meta.again = meta.again | 2; }}",
        ]
        return [str(self.choose(*forms))]

    def stack(self, env: list[Variable]) -> list[str]:
        """push, pop, an element at an index known at run time."""
        target = self.headers["st"][0]
        at, name = self.expression(Type(1), env, 1), self.name("i")
        element, value = f"hdr.st[{name}].{target.text}", self.expression(target.type, env, 1)
        both = "hdr.st[0].isValid() && hdr.st[1].isValid()"
        forms = [
            [f"hdr.st.push_front({self.choose(1, 2, 3)});"],
            [f"hdr.st.pop_front({self.choose(1, 2, 3)});"],
            [f"bit<1> {name} = {at};", f"if ({both}) {{ {element} = {element} ^ {value}; }}"],
        ]
        return list(forms[self.draw(st.integers(0, 2))])

    def action(self, env: list[Variable]) -> tuple[str, list[Type]]:
        """A new action with parameters."""
        name, kinds = self.name("a"), [self.type() for _ in range(self.draw(st.integers(0, 2)))]
        parameters = [Variable(f"p{i}", k) for i, k in enumerate(kinds)]
        body = self.block(env, 1, 2, action=True)
        for given in parameters:
            target = env[self.draw(st.integers(0, len(env) - 1))]
            body.append(f"    {target.text} = {self.cast(target.type, given)};")
        signature = ", ".join(f"{p.type} {p.text}" for p in parameters)
        self.declarations += [f"action {name}({signature}) {{", *body, "}"]
        return name, kinds

    def table(self, env: list[Variable]) -> list[str]:
        """A new table, applied in one of the ways."""
        name = self.name("t")
        known = [v for v in env if v.text.startswith(("hdr.base", "meta")) and not v.type.signed]
        perhaps = [v for v in self.absent() if not v.type.signed]
        keys = [
            self.one_of(perhaps if perhaps and self.chance(2) else known) for _ in range(self.draw(st.integers(1, 3)))
        ]
        kinds = [str(self.choose("exact", "ternary", "lpm", "range", "optional")) for _ in keys]
        kinds = ["exact" if k == "lpm" and "lpm" in kinds[:i] else k for i, k in enumerate(kinds)]
        # BMv2 takes a prefix of a field that is no whole bytes for a shorter one
        kinds = ["ternary" if k == "lpm" and v.type.width % 8 else k for k, v in zip(kinds, keys, strict=True)]
        actions = [self.action([v for v in env if v.text.startswith(("hdr.base", "meta"))]) for _ in range(2)]
        self.declarations += [
            f"table {name} {{",
            "    key = { "
            + " ".join(f'{v.text}: {k} @name("k{i}");' for i, (v, k) in enumerate(zip(keys, kinds, strict=True)))
            + " }",
            f"    actions = {{ {actions[0][0]}; {actions[1][0]}; NoAction; }}",
            "    default_action = NoAction;",
            "}",
        ]
        for priority in range(1, self.draw(st.integers(0, 6)) + 1):
            chosen, given = actions[self.draw(st.integers(0, 1))]
            self.entries.append(
                Entry(
                    f"{self.control}.{name}",
                    tuple(self.match(k, v.type.width) for k, v in zip(kinds, keys, strict=True)),
                    priority if {"ternary", "range", "optional"} & set(kinds) else 0,
                    f"{self.control}.{chosen}",
                    tuple(self.number(kind.width) for kind in given),
                )
            )
        if self.chance(4):
            chosen, given = actions[0]
            values = tuple(self.number(kind.width) for kind in given)
            name_of = (f"{self.control}.{name}", f"{self.control}.{chosen}")
            self.entries.append(Entry(name_of[0], action=name_of[1], parameters=values, default=True))
        after = self.block([v for v in env if not v.text.startswith("hdr.h")], 0, 2)
        forms = [
            [f"{name}.apply();"],
            [f"if ({name}.apply().hit) {{", *after, "}"],
            [f"if ({name}.apply().miss) {{", *after, "}"],
            [f"switch ({name}.apply().action_run) {{ {actions[0][0]}: {{", *after, "} default: { } }"],
        ]
        return list(forms[self.draw(st.integers(0, 3))])

    def absent(self) -> list[Variable]:
        """The fields of headers that may be absent: a key on one is looked up as zero then. p4c reads the elements of a
        stack before it looks them up, which is no key any more."""
        return [Variable(f"hdr.{h}.{v.text}", v.type) for h in ("h1", "h2") for v in self.headers[h]]

    def one_of(self, variables: list[Variable]) -> Variable:
        """Any of them."""
        return variables[self.draw(st.integers(0, len(variables) - 1))]

    def match(self, kind: str, width: int) -> Match:
        """A key field that often matches."""
        value, mask = self.number(width), self.number(width)
        if kind == "exact":
            return Exact(value)
        if kind == "ternary":
            return Ternary(value & mask, mask)
        if kind == "lpm":
            length = self.draw(st.integers(0, width))
            return Lpm(value >> (width - length) << (width - length), length)
        if kind == "range":
            return Range(min(value, mask), max(value, mask))
        return Optional(None if self.chance(3) else value)


def packet(rng: random.Random) -> bytes:
    """`base.kind` decides what the parser finds; the fields are often all zeros or all ones."""
    kind = rng.choice([0, 1, 2, 3, 4, 4, 5, 5, 8, 9, 16, 17, 32, 255])
    length = rng.choice([0, 3, 20, 60, 100, 200, 200, 200])
    body = b"".join(rng.choice([b"\0", b"\xff", b"\x80", rng.randbytes(1), rng.randbytes(1)]) for _ in range(length))
    return bytes([kind, rng.choice([0, 1, 2, 8, 9, rng.randrange(256)])]) + body


def structure(name: str, fields: list[Variable]) -> str:
    """A header declaration."""
    return f"header {name} {{ {' '.join(f'{v.type} {v.text};' for v in fields)} }}"


@st.composite
def programs(draw: Callable[[st.SearchStrategy[object]], object]) -> Generated:
    """Programs with their entries and packets."""
    writer = Writer(draw)  # type: ignore[arg-type]
    base = [Variable("kind", Type(8)), Variable("more", Type(8)), *writer.fields("", draw(st.integers(1, 5)))]  # type: ignore[arg-type]
    writer.headers = {"h1": writer.fields("", 3), "h2": writer.fields("", 2), "st": writer.fields("", 2)}
    writer.metadata = [Variable(f"f{i}", writer.type()) for i in range(4)]
    lists = [f"@field_list({writer.choose(0, 1, 2)})" for _ in writer.metadata]
    env = [Variable(f"hdr.base.{v.text}", v.type) for v in base]
    env += [Variable(f"meta.{v.text}", v.type) for v in writer.metadata]
    bodies = {}
    for control in ("I", "E"):
        writer.control, writer.declarations = control, []
        body = writer.block(env, 2, 8)
        bodies[control] = (writer.declarations, body)
    out = [*(Variable(v.text, v.type) for v in writer.metadata), Variable("again", Type(8))]
    rest = -sum(v.type.width for v in out) % 8
    shown = [*out, *([Variable("pad", Type(rest))] if rest else [])]
    text = "\n".join(
        [
            "#include <core.p4>",
            "#include <v1model.p4>",
            structure("base_t", base),
            structure("h1_t", writer.headers["h1"]),
            structure("h2_t", writer.headers["h2"]),
            structure("st_t", [*writer.headers["st"], Variable("bos", Type(8))]),
            structure("out_t", [*shown, Variable("sum", Type(16)), Variable("bad", Type(8))]),
            "header v_t { bit<8> length; varbit<64> body; bit<16> after; }",
            "struct headers_t { base_t base; h1_t h1; h2_t h2; st_t[3] st; v_t v; out_t o; }",
            "struct metadata_t {",
            *(f"    {tag} {v.type} {v.text};" for tag, v in zip(lists, writer.metadata, strict=True)),
            "    @field_list(0, 1, 2) bit<8> again;",
            "}",
            FRAME.replace("@INGRESS_DECLARATIONS@", _lines(bodies["I"][0]))
            .replace("@INGRESS@", _lines(bodies["I"][1]))
            .replace("@EGRESS_DECLARATIONS@", _lines(bodies["E"][0]))
            .replace("@EGRESS@", _lines(bodies["E"][1]))
            .replace("@SHOW@", " ".join(f"hdr.o.{v.text} = meta.{v.text};" for v in out))
            .replace("@SUMMED@", ", ".join(f"hdr.o.{v.text}" for v in shown)),
        ]
    )
    rng = random.Random(draw(st.integers(0, 2**32)))  # type: ignore[arg-type]
    return Generated(text, tuple(writer.entries), [(1, packet(rng)) for _ in range(PACKETS)])


def _lines(lines: list[str]) -> str:
    return "\n".join(f"    {line}" for line in lines)
