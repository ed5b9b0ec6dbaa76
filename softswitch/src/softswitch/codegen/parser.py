"""The parser in C: one label a state, an error leaves with what was parsed so far."""

from __future__ import annotations

from collections.abc import Callable

from softswitch.bmv2.control import Primitive
from softswitch.bmv2.expressions import Const, FieldRef
from softswitch.bmv2.program import HeaderType, ParserOp, ParserState, Program, TransitionKey
from softswitch.bmv2.source import UnsupportedProgram
from softswitch.codegen.expressions import ExpressionWriter
from softswitch.codegen.integers import (
    WIDE,
    compare,
    constant,
    convert,
    low_bits,
    operate,
    sign,
    unsigned_type,
    write,
)
from softswitch.codegen.layout import Layout
from softswitch.codegen.primitives import ASSERTIONS
from softswitch.codegen.wire import Wire, load

CORE_ERRORS = (
    "NoError",
    "PacketTooShort",
    "NoMatch",
    "StackOutOfBounds",
    "HeaderTooShort",
    "ParserTimeout",
    "ParserInvalidArgument",
)

MOST_IDLE = 1 << 16
"""Transitions of one packet through states that may take nothing of it. BMv2 would go on for ever."""


class ParserWriter:
    """Writes `parse`. In it `d` points at what is not parsed yet and `left` counts its bytes."""

    def __init__(
        self,
        program: Program,
        layout: Layout,
        primitive: Callable[[Primitive], list[str]],
        value_sets: dict[str, int],
    ) -> None:
        self.program = program
        self.layout = layout
        self.wire = Wire(layout)
        self.primitive = primitive
        self.value_sets = value_sets
        self.idle = self._idle_states()

    def _idle_states(self) -> set[str]:
        """States that can come again and again without a byte of the packet in between."""
        follow = {
            state.name: {t.next_state for t in state.transitions} - {None}
            for state in self.program.parser_states.values()
            if not any(self._takes_bytes(op) for op in state.ops)
        }
        idle = set()
        for start in follow:
            seen: set[str] = set()
            waiting = [start]
            while waiting:
                for name in follow.get(waiting.pop(), ()):
                    if name is not None and name not in seen:
                        seen.add(name)
                        waiting.append(name)
            if start in seen:
                idle.add(start)
        return idle

    def _takes_bytes(self, op: ParserOp) -> bool:
        if op.op == "advance":
            return isinstance(op.expression, Const) and op.expression.value > 0
        return op.op == "extract" and self._type_of(op).width > 0

    def _type_of(self, op: ParserOp) -> HeaderType:
        """What an extraction extracts."""
        if op.member:
            return self.program.union_stacks[op.target].members[op.member]
        return self.program.stacks[op.target].type if op.stack else self.program.headers[op.target].type

    def function(self) -> list[str]:
        """The whole function, checksum verification not included."""
        lines = [
            "static void parse_states(struct ss_state *s, struct phv *p, const uint8_t *d, uint32_t left)",
            "{",
            "    uint32_t error = 0;",
            *(["    uint32_t idle = 0;"] if self.idle else []),
            "    (void)s;",
        ]
        lines += [f"    {line}" for line in self.layout.absent()]
        stacks = [*self.program.stacks, *self.program.union_stacks]
        lines += [f"    {self.layout.stack(name)}.next = 0;" for name in stacks]
        if self.program.parser_start is not None:
            lines.append(f"    goto {self._label(self.program.parser_start)};")
        for state in self.program.parser_states.values():
            lines += self._state(state)
        lines += [
            "accept:",
            *self.layout.hooks.parsed(),
            "    p->base.std.parser_error = error;",
            "    p->base.payload = d;",
            "    p->base.payload_length = left;",
            "}",
        ]
        return lines

    def _label(self, state: str | None) -> str:
        return "accept" if state is None else self.layout.identifiers.get("state_", state)

    def _fail(self, error: str) -> str:
        return f"{{ error = {self.program.errors.get(error, CORE_ERRORS.index(error))}; goto accept; }}"

    def _state(self, state: ParserState) -> list[str]:
        hooks = self.layout.hooks
        lines = [f"{self._label(state.name)}: {{", *hooks.state(state)]
        if state.name in self.idle:
            lines.append(f"    if (++idle > {MOST_IDLE}) {self._fail('ParserTimeout')}")
        for op in state.ops:
            lines += [f"    {line}" for line in hooks.parser_op(op, self._op(op))]
        lines += [f"    {line}" for line in self._select(state)]
        return [*lines, "}"]

    def _op(self, op: ParserOp) -> list[str]:
        writer = ExpressionWriter(self.layout, source=op.source)
        if op.op == "extract":
            return self._extract(op, writer)
        if op.op == "set":
            return self._set(op, writer)
        if op.op == "verify":
            assert op.condition is not None and op.expression is not None
            error = writer.truncated(op.expression, 32)
            return [f"if (!({writer.boolean(op.condition)})) {{ error = (uint32_t){error}; goto accept; }}"]
        if op.op == "advance":
            assert op.expression is not None
            bits = writer.truncated(op.expression, 64)
            return [
                f"{{ uint64_t bits = {bits};",
                f"    if (bits % 8) {self._fail('ParserInvalidArgument')}",
                f"    if (bits / 8 > left) {self._fail('PacketTooShort')}",
                "    d += bits / 8; left -= (uint32_t)(bits / 8); }",
            ]
        assert op.primitive is not None
        failed = ["if (p->base.failed) goto accept;"] if op.primitive.op in ASSERTIONS else []
        return [*self.primitive(op.primitive), *failed]

    def _extract(self, op: ParserOp, writer: ExpressionWriter) -> list[str]:
        lines, excludes = [], self.layout.excluded_by(op.target)
        if op.stack:
            text = self.layout.stack(op.target)
            lines.append(f"if ({text}.next >= {self.layout.depth(op.target)}) {self._fail('StackOutOfBounds')}")
            header = f"{text}.element[{text}.next]"
            if op.member:
                members = self.program.union_stacks[op.target].members
                excludes = tuple(f"{header}.{self.layout.union_member(m)}" for m in members if m != op.member)
                header = f"{header}.{self.layout.union_member(op.member)}"
        else:
            header = self.layout.header(op.target)
        header_type = self._type_of(op)
        self.wire.check(header_type)
        fixed = header_type.width // 8
        if op.expression is None:
            lines.append(f"if (left < {fixed}) {self._fail('PacketTooShort')}")
        else:
            limit = next(f.width for f in header_type.fields if f.varbit)
            lines += [
                f"{{ uint64_t bits = {writer.truncated(op.expression, 32)};",
                f"    if (bits % 8) {self._fail('ParserInvalidArgument')}",
                f"    if (left < {fixed} + bits / 8) {self._fail('PacketTooShort')}",
                f"    if (bits > {limit}) {self._fail('HeaderTooShort')}",
                f"    {header}.varbit = (uint16_t)(bits / 8); }}",
            ]
        lines += self.wire.extract(header, header_type, "d")
        lines += [f"{other}.valid = 0;" for other in excludes]
        length = self.wire.length(header, header_type)
        lines += self.layout.hooks.extracted(op, length)
        lines.append(f"d += {length}; left -= {length};")
        if op.stack:
            lines.append(f"{self.layout.stack(op.target)}.next++;")
        return lines

    def _set(self, op: ParserOp, writer: ExpressionWriter) -> list[str]:
        assert op.field is not None
        target, info = self.layout.field(op.field), self.layout.field_info(op.field)
        if op.lookahead is None:
            assert op.expression is not None
            if info.varbit:
                if not isinstance(op.expression, FieldRef):
                    raise UnsupportedProgram("assignment of a varbit field from no field", op.source)
                return self.layout.copy_varbit(op.field, op.expression)
            return [write(target, info, writer.stored(op.expression, info))]
        offset, width = op.lookahead
        value = convert(self._load(offset, width), unsigned_type(width), unsigned_type(info.width))
        if info.signed:
            value = sign(value, info.width)
        elif info.width < width:
            value = low_bits(value, info.width)
        return [self._look(offset, width), write(target, info, value)]

    def _load(self, offset: int, width: int) -> str:
        """C text, of type `unsigned_type(width)`, of bits that are not parsed yet."""
        self.layout.reserve(width + 1)
        return load("d", offset, width)

    def _look(self, offset: int, width: int) -> str:
        return f"if (left * UINT64_C(8) < {offset + width}) {self._fail('PacketTooShort')}"

    def _select(self, state: ParserState) -> list[str]:
        lines: list[str] = []
        default = "accept"
        shifts, total = [], 0
        for key in reversed(state.key):
            shifts.append(total)
            total += (key.width + 7) // 8 * 8
        shifts.reverse()
        for number, key in enumerate(state.key):
            lines += self._key(number, key)
        lines += self.layout.hooks.selecting(state)
        full = (1 << total) - 1
        for transition in state.transitions:
            if transition.value_set is not None:
                test = self._member(transition.value_set, state)
                lines.append(f"if ({test}) goto {self._label(transition.next_state)};")
                continue
            if transition.value is None:
                default = self._label(transition.next_state)
                continue
            mask = full if transition.mask is None else transition.mask
            tests = []
            for number, (key, shift) in enumerate(zip(state.key, shifts, strict=True)):
                ones = (1 << key.width) - 1
                part, wanted = mask >> shift & ones, (transition.value & mask) >> shift & ones
                c_type = unsigned_type(key.width)
                left = f"k{number}"
                if part != ones:
                    left = operate("&", c_type, left, constant(part, c_type))
                if part:
                    tests.append(compare("==", c_type, left, constant(wanted, c_type)))
            lines.append(f"if ({' && '.join(tests) or 'true'}) goto {self._label(transition.next_state)};")
        return [*lines, f"goto {default};"]

    def _member(self, name: str, state: ParserState) -> str:
        """Whether the key of a select, its parts laid end to end, is in a value set."""
        width = sum(key.width for key in state.key)
        if name not in self.value_sets or self.program.value_sets[name].width != width:
            raise UnsupportedProgram(
                f"value set {name!r}, absent or of another width than state {state.name!r} looks up"
            )
        if any(unsigned_type(key.width) == WIDE for key in state.key):
            raise UnsupportedProgram(f"value set {name!r} of a field wider than 128 bits")
        words: list[list[str]] = [[] for _ in range(0, width, 64)]
        at = width
        for number, key in enumerate(state.key):
            at -= key.width
            for word in range(at // 64, (at + key.width - 1) // 64 + 1):
                shift = at - word * 64
                if shift >= 0:
                    words[word].append(f"(uint64_t)k{number} << {shift}")
                else:
                    words[word].append(f"(uint64_t)(k{number} >> {-shift})")
        key_text = ", ".join(" | ".join(parts) for parts in words)
        table = f"&s->tables[{self.value_sets[name]}]"
        return f"ss_find_masked({table}, (const uint64_t[]){{{key_text}}}, {len(words)})"

    def _key(self, number: int, key: TransitionKey) -> list[str]:
        c_type = unsigned_type(key.width)
        if key.lookahead is not None:
            offset, width = key.lookahead
            return [self._look(offset, width), f"const {c_type} k{number} = {self._load(offset, width)};"]
        assert key.expression is not None
        value = ExpressionWriter(self.layout).truncated(key.expression, key.width)
        return [f"const {c_type} k{number} = {value};"]
