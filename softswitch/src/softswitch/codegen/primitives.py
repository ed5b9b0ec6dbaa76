"""Primitives in C: one method each, and actions as sequences of them."""

from __future__ import annotations

import re
from collections.abc import Callable

from softswitch.bmv2.control import Action, Operand, Primitive
from softswitch.bmv2.expressions import Const, Expression, FieldRef, StackElement, StackLast
from softswitch.bmv2.program import Field, Program, RegisterArray
from softswitch.bmv2.source import Source, UnsupportedProgram
from softswitch.codegen.calculations import CalculationWriter
from softswitch.codegen.expressions import ExpressionWriter
from softswitch.codegen.headers import HeaderWriter
from softswitch.codegen.integers import (
    MAX_BITS,
    WIDE,
    convert,
    low_bits,
    read,
    sign,
    storage,
    type_for,
    unsigned_type,
    words,
    write,
)
from softswitch.codegen.layout import Layout

MOST_TURNS = 1 << 16
"""Of the loops of an action that is run once; a packet that wants more is dropped. BMv2 would go on for ever."""

ASSERTIONS = frozenset(["assert", "assume"])
"""Primitives after whose failure a packet is dropped at once."""

JUMPS = {"_jump": 1, "_jump_if_zero": 2}
"""Primitives that go on elsewhere in their action, and how many operands they have, the last one where."""


def quoted(text: str) -> str:
    """A C string literal."""
    return '"' + "".join(c if " " <= c <= "~" and c not in '"\\' else f"\\{ord(c) & 0xFF:03o}" for c in text) + '"'


def comment(text: str) -> str:
    """Text that is safe inside a C comment, on one line."""
    return re.sub(r"\s+", " ", text).replace("*/", "* /").replace("/*", "/ *").replace("\\", "/")


class PrimitiveWriter:
    """Statements for primitives. In generated code `s` is the program's state and `p` the packet."""

    def __init__(self, program: Program, layout: Layout, calculations: CalculationWriter) -> None:
        self.program = program
        self.layout = layout
        self.calculations = calculations
        self.registers = {name: index for index, name in enumerate(program.registers)}
        indirect = [name for name, array in program.counters.items() if array.table is None]
        self.counters = {name: index for index, name in enumerate(indirect)}
        headers = HeaderWriter(program, layout)
        self.meters = {m.name: i for i, m in enumerate(m for m in program.meters.values() if m.table is None)}
        self._handlers: dict[str, Callable[[Primitive, ExpressionWriter], list[str]]] = {
            "assign": self._assign,
            "modify_field": self._assign,
            "set": self._assign,
            "assign_VL": self._assign_varbit,
            "assign_header": headers.assign_header,
            "assign_header_stack": headers.assign_stack,
            "assign_union": headers.assign_union,
            "assign_union_stack": headers.assign_union_stack,
            "add_header": headers.add_header,
            "remove_header": headers.remove_header,
            "push": headers.push,
            "pop": headers.pop,
            "mark_to_drop": self._mark_to_drop,
            "drop": self._mark_to_drop,
            "register_read": self._register_read,
            "register_write": self._register_write,
            "count": self._count,
            "execute_meter": self._meter,
            "modify_field_with_hash_based_offset": self._hash,
            "modify_field_rng_uniform": self._random,
            "generate_digest": self._digest,
            "clone_ingress_pkt_to_egress": self._clone,
            "clone_egress_pkt_to_egress": self._clone,
            "resubmit": self._resubmit,
            "recirculate": self._recirculate,
            "truncate": self._truncate,
            "exit": lambda primitive, writer: ["p->base.exit = 1;"],
            "no_op": lambda primitive, writer: [],
            "log_msg": self._log,
            "assert": self._assert,
            "assume": self._assert,
        }

    def statements(self, primitive: Primitive, action: Action | None = None) -> list[str]:
        """C for one primitive. Raises UnsupportedProgram for those that do not exist here."""
        handler = self._handlers.get(primitive.op)
        if handler is None:
            raise UnsupportedProgram(f"primitive {primitive.op!r}", primitive.source)
        try:
            return handler(primitive, ExpressionWriter(self.layout, action, primitive.source))
        except (IndexError, KeyError, ValueError, AssertionError) as error:
            raise UnsupportedProgram(f"operands of primitive {primitive.op!r}", primitive.source) from error
        except UnsupportedProgram as refusal:
            raise UnsupportedProgram(refusal.construct, refusal.source or primitive.source) from refusal

    def action_name(self, action: Action) -> str:
        """The C function of an action; ids are unique, names are not."""
        return self.layout.identifiers.get("action_", f"{action.id}_{action.name}")

    def action(self, action: Action) -> list[str]:
        """`static void action_…(struct ss_state *s, struct phv *p, const uint64_t *data)`."""
        where = f" /* {comment(str(action.source))} */" if action.source else ""
        parameters = "struct ss_state *s, struct phv *p, const uint64_t *data"
        lines = [
            f"static inline void {self.action_name(action)}({parameters}){where}",
            "{",
            "    (void)s; (void)p; (void)data;",
        ]
        word = 0
        for index, parameter in enumerate(action.parameters):
            if parameter.width >= MAX_BITS:
                raise UnsupportedProgram(
                    f"action parameter {parameter.name!r} of {parameter.width} bits", action.source
                )
            if parameter.width > 128:
                count = words(parameter.width)
                self.layout.reserve(parameter.width + 1)
                lines.append(f"    const {WIDE} a{index} = ss_wide_get(data + {word}, {count});")
                word += count
            elif parameter.width > 64:
                lines.append(f"    const u128 a{index} = (u128)data[{word + 1}] << 64 | data[{word}];")
                word += 2
            elif parameter.width:
                lines.append(f"    const uint64_t a{index} = data[{word}];")
                word += 1
            else:
                lines.append(f"    const uint64_t a{index} = 0;")
            lines.append(f"    (void)a{index};")
        jumps = {at: self._jump_target(p, action) for at, p in enumerate(action.primitives) if p.op in JUMPS}
        targets = set(jumps.values())
        if any(target <= at for at, target in jumps.items()):
            lines.append("    uint32_t turns = 0;")
        line = None
        for index, primitive in enumerate(action.primitives):
            if index in targets:
                lines.append(f"L{index}:;")
            if primitive.source and primitive.source.line != line:
                line = primitive.source.line
                lines.append(f"    /* {comment(f'{primitive.source} {primitive.source.fragment}')} */")
            lines += [f"    {text}" for text in self._in_action(primitive, index, action)]
        if len(action.primitives) in targets:
            lines.append(f"L{len(action.primitives)}:;")
        return [*lines, "}"]

    def _jump_target(self, primitive: Primitive, action: Action) -> int:
        if len(primitive.operands) != JUMPS[primitive.op] or primitive.operands[0].expression is None:
            raise UnsupportedProgram(f"operands of primitive {primitive.op!r}", primitive.source)
        target = primitive.operands[-1].expression
        if not isinstance(target, Const):
            raise UnsupportedProgram(f"{primitive.op} to no constant", primitive.source)
        if target.value > len(action.primitives):
            raise UnsupportedProgram(f"{primitive.op} out of its action", primitive.source)
        return target.value

    def _in_action(self, primitive: Primitive, at: int, action: Action) -> list[str]:
        if primitive.op not in JUMPS:
            return self.layout.hooks.primitive(primitive, action, self.statements(primitive, action))
        target = self._jump_target(primitive, action)
        jump = f"goto L{target};"
        if target <= at:
            text = f"a loop of action {action.name} ran more than {MOST_TURNS} times" + (
                f" ({primitive.source})" if primitive.source else ""
            )
            log = f"s->host->log(s->host, SS_ERROR, {quoted(text.replace('%', '%%'))});"
            jump = f"{{ if (++turns <= {MOST_TURNS}) {jump} {log} p->base.exit = p->base.failed = 1; return; }}"
        if primitive.op == "_jump":
            return [jump]
        writer = ExpressionWriter(self.layout, action, primitive.source)
        test = writer.truth(self._expression(primitive.operands[0]))
        return [f"if (!({test})) {jump}"]

    @staticmethod
    def _expression(operand: Operand) -> Expression:
        assert operand.expression is not None
        return operand.expression

    def _target(self, operand: Operand, writer: ExpressionWriter) -> tuple[str, Field]:
        """The C lvalue that an operand names, and what fits in."""
        expression = self._expression(operand)
        if isinstance(expression, StackLast):
            stack = self.layout.stack(expression.stack)
            field = self.program.stacks[expression.stack].type.field(expression.field)
            return f"{stack}.element[{stack}.next ? {stack}.next - 1 : 0].{self.layout.member(field)}", field
        if isinstance(expression, StackElement):
            field = self.program.stacks[expression.stack].type.field(expression.field)
            return writer.element(expression), field
        if not isinstance(expression, FieldRef):
            raise UnsupportedProgram(f"store to a {type(expression).__name__}", writer.source)
        if self.layout.field_info(expression).varbit:
            raise UnsupportedProgram(
                f"store of a number to varbit field {expression.header}.{expression.field}", writer.source
            )
        return self.layout.field(expression), self.layout.field_info(expression)

    def _assign(self, primitive: Primitive, writer: ExpressionWriter) -> list[str]:
        target, field = self._target(primitive.operands[0], writer)
        return [write(target, field, writer.stored(self._expression(primitive.operands[1]), field))]

    def _assign_varbit(self, primitive: Primitive, writer: ExpressionWriter) -> list[str]:
        target, origin = (self._expression(o) for o in primitive.operands)
        if not isinstance(target, FieldRef) or not isinstance(origin, FieldRef):
            raise UnsupportedProgram("assignment of a varbit field to or from no field", primitive.source)
        if not all(self.layout.field_info(field).varbit for field in (target, origin)):
            raise UnsupportedProgram("assignment between a varbit field and one that is none", primitive.source)
        return self.layout.copy_varbit(target, origin)

    def _mark_to_drop(self, primitive: Primitive, writer: ExpressionWriter) -> list[str]:
        return ["p->base.std.egress_spec = s->host->drop_port;", "p->base.std.mcast_grp = 0;"]

    def _register(self, operand: Operand, source: Source | None) -> tuple[RegisterArray, str]:
        if operand.name not in self.registers:
            raise UnsupportedProgram(f"reference to unknown register {operand.name!r}", source)
        array = self.program.registers[operand.name]
        if array.width >= MAX_BITS:
            raise UnsupportedProgram(f"register {array.name!r} of {array.width} bits", source)
        cells = f"s->registers[{self.registers[array.name]}]"
        if array.width > 128:
            self.layout.reserve(array.width + 1)
            return array, f"((uint64_t *){cells} + {words(array.width)} * i)"
        return array, f"(({storage(array.width)} *){cells})[i]"

    def _in_range(self, what: str, size: int, index: str, body: list[str]) -> list[str]:
        """BMv2 ignores an access out of range and logs an error."""
        text = quoted(what.replace("%", "%%") + " at out-of-bounds index %llu (size %u)")
        return [
            f"{{ uint64_t i = {index};",
            f"    if (i < {size}) {{",
            *[f"        {line}" for line in body],
            "    } else",
            f"        s->host->log(s->host, SS_ERROR, {text}, (unsigned long long)i, {size}u); }}",
        ]

    def _register_read(self, primitive: Primitive, writer: ExpressionWriter) -> list[str]:
        array, cell = self._register(primitive.operands[1], primitive.source)
        target, field = self._target(primitive.operands[0], writer)
        value = convert(read(cell, Field("", array.width)).text, unsigned_type(array.width), unsigned_type(field.width))
        if field.signed:
            value = sign(value, field.width)
        elif array.width > field.width:
            value = low_bits(value, field.width)
        index = writer.truncated(self._expression(primitive.operands[2]), 64)
        store = write(target, field, value)
        return self._in_range(f"read of register {array.name!r}", array.size, index, [store])

    def _register_write(self, primitive: Primitive, writer: ExpressionWriter) -> list[str]:
        array, cell = self._register(primitive.operands[0], primitive.source)
        index = writer.truncated(self._expression(primitive.operands[1]), 64)
        value = writer.truncated(self._expression(primitive.operands[2]), array.width)
        store = write(cell, Field("", array.width), value)
        return self._in_range(f"write of register {array.name!r}", array.size, index, [store])

    def _count(self, primitive: Primitive, writer: ExpressionWriter) -> list[str]:
        name = primitive.operands[0].name
        if name not in self.counters:
            raise UnsupportedProgram(f"reference to unknown counter {name!r}", primitive.source)
        index = writer.truncated(self._expression(primitive.operands[1]), 64)
        cell = f"s->counters[{self.counters[name]}][i]"
        body = [f"{cell}.packets++;", f"{cell}.octets += p->base.received;"]
        return self._in_range(f"update of counter {name!r}", self.program.counters[name].size, index, body)

    def _meter(self, primitive: Primitive, writer: ExpressionWriter) -> list[str]:
        name = primitive.operands[0].name
        if name not in self.meters:
            raise UnsupportedProgram(f"reference to unknown meter {name!r}", primitive.source)
        meter = self.program.meters[name]
        index = writer.truncated(self._expression(primitive.operands[1]), 64)
        target, field = self._target(primitive.operands[2], writer)
        body = [self.meter(target, field, f"&s->meters[{self.meters[name]}][i]", meter.packets)]
        return self._in_range(f"execution of meter {name!r}", meter.size, index, body)

    def meter(self, target: str, field: Field, meter: str, packets: bool) -> str:
        """C statement that stores the colour which the meter at a C address gives the packet."""
        color = f"ss_meter_execute(s->host, {meter}, {'true' if packets else 'false'}, p->base.received)"
        return self._low(target, field, f"(uint64_t){color}")

    @staticmethod
    def _low(target: str, field: Field, text: str) -> str:
        """C statement that stores the low bits of an unsigned 64-bit value."""
        value = convert(text, "uint64_t", unsigned_type(field.width))
        if field.signed:
            return write(target, field, sign(value, field.width))
        return write(target, field, low_bits(value, field.width) if field.width < 64 else value)

    def _hash(self, primitive: Primitive, writer: ExpressionWriter) -> list[str]:
        target, field = self._target(primitive.operands[0], writer)
        base = writer.truncated(self._expression(primitive.operands[1]), 64)
        limit = writer.truncated(self._expression(primitive.operands[3]), 64)
        name = primitive.operands[2].name
        if name not in self.program.calculations:
            raise UnsupportedProgram(f"reference to unknown calculation {name!r}", primitive.source)
        value = f"ss_hash_between({self.calculations.name(name)}(p), {base}, {limit})"
        return [self._low(target, field, value)]

    def _random(self, primitive: Primitive, writer: ExpressionWriter) -> list[str]:
        target, field = self._target(primitive.operands[0], writer)
        low, high = (writer.truncated(self._expression(o), 64) for o in primitive.operands[1:3])
        store = self._low(target, field, "ss_random_between(s->host, lo, hi)")
        return [f"{{ uint64_t lo = {low}, hi = {high};", f"    if (lo <= hi) {store} }}"]

    def _list(self, operand: Operand, writer: ExpressionWriter) -> str:
        return f"(uint16_t){writer.truncated(self._expression(operand), 16)}"

    def _digest(self, primitive: Primitive, writer: ExpressionWriter) -> list[str]:
        return [f"p->base.learn_list = {self._list(primitive.operands[1], writer)};"]

    def _clone(self, primitive: Primitive, writer: ExpressionWriter) -> list[str]:
        session, fields = (self._list(o, writer) for o in primitive.operands)
        return [f"p->base.clone_session = (uint16_t)({session} | SS_CLONE);", f"p->base.clone_list = {fields};"]

    def _resubmit(self, primitive: Primitive, writer: ExpressionWriter) -> list[str]:
        return [f"p->base.resubmit_list = {self._list(primitive.operands[0], writer)};"]

    def _recirculate(self, primitive: Primitive, writer: ExpressionWriter) -> list[str]:
        return [f"p->base.recirculate_list = {self._list(primitive.operands[0], writer)};"]

    def _truncate(self, primitive: Primitive, writer: ExpressionWriter) -> list[str]:
        length = writer.truncated(self._expression(primitive.operands[0]), 32)
        return [f"{{ uint32_t n = (uint32_t){length}; if (n < p->base.truncate) p->base.truncate = n; }}"]

    def _log(self, primitive: Primitive, writer: ExpressionWriter) -> list[str]:
        text = primitive.operands[0].name
        values = primitive.operands[1].elements
        pieces = text.replace("\\{", "\x01").replace("\\}", "\x02").split("{}")
        if len(pieces) - 1 != len(values):
            raise UnsupportedProgram(
                f"log_msg with {len(values)} values for {len(pieces) - 1} places", primitive.source
            )
        printed = [self._printed(self._expression(v), writer) for v in values]
        template = "".join(
            piece.replace("%", "%%").replace("\x01", "{").replace("\x02", "}") + conversion
            for piece, (conversion, _) in zip(pieces, [*printed, ("", "")], strict=True)
        )
        arguments = "".join(f", {argument}" for _, argument in printed)
        return [f"s->host->log(s->host, SS_INFO, {quoted(template)}{arguments});"]

    @staticmethod
    def _printed(expression: Expression, writer: ExpressionWriter) -> tuple[str, str]:
        """A number in decimal: printf's conversion and its argument."""
        if writer.is_boolean(expression):
            return "%d", f"(int)({writer.truth(expression)})"
        value = writer.exact(expression)
        c_type = type_for(value.low, value.high)
        assert c_type is not None
        if c_type == "uint64_t":
            return "%llu", f"(unsigned long long){value.text}"
        if c_type == "int64_t":
            return "%lld", f"(long long){value.text}"
        signed = "true" if value.low < 0 else "false"
        return "%s", f"ss_wide_decimal((char[SS_WIDE_DIGITS]){{0}}, {convert(value.text, c_type, WIDE)}, {signed})"

    def _assert(self, primitive: Primitive, writer: ExpressionWriter) -> list[str]:
        """BMv2 aborts the process; here the failure is logged, nothing more is done, and the packet dropped."""
        test = writer.truth(self._expression(primitive.operands[0]))
        text = f"{primitive.op} failed" + (
            f": {primitive.source.fragment} ({primitive.source})" if primitive.source else ""
        )
        log = f"s->host->log(s->host, SS_ERROR, {quoted(text.replace('%', '%%'))});"
        end = " return;" if writer.action is not None else ""
        return [f"if (!({test})) {{ {log} p->base.exit = p->base.failed = 1;{end} }}"]
