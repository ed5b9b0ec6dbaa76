"""The whole C file of a program."""

from __future__ import annotations

from dataclasses import dataclass, replace

from softswitch.bmv2.expressions import FieldRef
from softswitch.bmv2.json_reader import VALID
from softswitch.bmv2.program import Checksum, FieldList, LearnList, Program, RegisterArray
from softswitch.bmv2.source import UnsupportedProgram
from softswitch.codegen.calculations import CalculationWriter
from softswitch.codegen.control import ControlWriter
from softswitch.codegen.expressions import ExpressionWriter
from softswitch.codegen.hooks import Hooks
from softswitch.codegen.integers import WIDE, convert, low_bits, read, storage_bits, unsigned_type, words, write
from softswitch.codegen.layout import STANDARD, Layout
from softswitch.codegen.parser import ParserWriter
from softswitch.codegen.primitives import ASSERTIONS, PrimitiveWriter, comment
from softswitch.codegen.table_layout import TableLayout, lay_out, lay_out_value_set, longest_data
from softswitch.codegen.tracing import Subjects, Tracer
from softswitch.engine.abi import MAX_DIGEST_VALUES

_EGRESS_CLOCK = ("egress_global_timestamp", "enq_timestamp", "deq_timedelta")


@dataclass(frozen=True)
class Generated:
    """C text, and how it packs table keys (in the order of the tables' numbers, which those of value sets follow)."""

    text: str
    tables: dict[str, TableLayout]
    value_sets: dict[str, TableLayout]
    subjects: Subjects | None = None
    """What the numbers in a trace mean; None unless the code is traced."""


def register_bytes(array: RegisterArray) -> int:
    """Bytes of one cell."""
    return storage_bits(array.width) // 8


def digest_values(width: int) -> int:
    """How many values of 128 bits report a field of a digest."""
    return max((width + 127) // 128, 1)


def generate(program: Program, traced: bool = False) -> Generated:
    """The variant that moves packets, or the one that also tells what it does; they agree on every structure.

    Raises UnsupportedProgram, naming the construct.
    """
    if not traced:
        return _Generator(program, Hooks()).run()
    tracer = Tracer()
    return replace(_Generator(program, tracer).run(), subjects=tracer.subjects)


class _Generator:
    def __init__(self, program: Program, hooks: Hooks) -> None:
        self.program = program
        self.hooks = hooks
        self.layout = Layout(program, hooks)
        self.tables = {name: lay_out(table, program) for name, table in program.tables.items()}
        self.value_sets = {name: lay_out_value_set(value_set) for name, value_set in program.value_sets.items()}
        self.calculations = CalculationWriter(program, self.layout)
        self.primitives = PrimitiveWriter(program, self.layout, self.calculations)
        self.control = ControlWriter(program, self.layout, self.primitives, self.tables)
        numbers = {name: len(self.tables) + index for index, name in enumerate(self.value_sets)}
        self.parser = ParserWriter(program, self.layout, self.primitives.statements, numbers)

    def run(self) -> Generated:
        lines = [*self.layout.declarations(), ""]
        lines += self.hooks.declarations(self.layout)
        lines += [*self.calculations.functions(), ""]
        for action in self.program.actions.values():
            lines += [*self.primitives.action(action), ""]
        lines += [*self.parser.function(), ""]
        lines += [*self._parse(), ""]
        for name in ("ingress", "egress"):
            lines += [*self.control.function(name, self.program.pipelines.get(name)), ""]
        lines += [*self._deparse(), "", *self._preserve(), "", *self._digest(), "", *self._tables()]
        widest = f"#define SS_WIDE_WORDS {self.layout.wide_words}"
        includes = [widest, *(f'#include "{name}.h"' for name in ("hash", "meter", "profile", "table", "wide")), ""]
        return Generated("\n".join(includes + lines) + "\n", self.tables, self.value_sets)

    def _parse(self) -> list[str]:
        lines = [
            "static void parse(struct ss_state *s, struct ss_phv *base, const uint8_t *data, uint32_t length)",
            "{",
            "    struct phv *p = (struct phv *)base;",
            "    parse_states(s, p, data, length);",
            "    bool bad = false;",
        ]
        for checksum in self.program.checksums:
            if checksum.verify:
                # of a header that is not there nothing is verified
                tests = [f"{self.layout.field(FieldRef(checksum.target.header, VALID))}"]
                if checksum.condition is not None:
                    tests.append(ExpressionWriter(self.layout, source=checksum.source).boolean(checksum.condition))
                value = f"{self._calculation(checksum)}(p)"
                target = self.layout.field(checksum.target)
                held = read(target, self.layout.field_info(checksum.target)).text
                if self.layout.field_info(checksum.target).width > 128:
                    held = convert(held, WIDE, "uint64_t")
                lines.append(f"    if ({' && '.join(f'({t})' for t in tests)} && {value} != {held}) bad = true;")
        return [*lines, *self.hooks.verified(), "    p->base.std.checksum_error = bad;", "}"]

    def _calculation(self, checksum: Checksum) -> str:
        name = checksum.calculation
        if name not in self.program.calculations:
            raise UnsupportedProgram(f"reference to unknown calculation {name!r}", checksum.source)
        return self.calculations.name(name)

    def _deparse(self) -> list[str]:
        lines = [
            "static uint32_t deparse(struct ss_state *s, struct ss_phv *base, uint8_t *out)",
            "{",
            "    struct phv *p = (struct phv *)base;",
            "    uint8_t *q = out;",
            "    (void)s; (void)p;",
        ]
        for checksum in self.program.checksums:
            if not checksum.update:
                continue
            writer = ExpressionWriter(self.layout, source=checksum.source)
            target, field = self.layout.field(checksum.target), self.layout.field_info(checksum.target)
            value = convert(f"{self._calculation(checksum)}(p)", "uint64_t", unsigned_type(field.width))
            condition = "true" if checksum.condition is None else writer.boolean(checksum.condition)
            update = f"    if ({condition}) {write(target, field, low_bits(value, field.width))}"
            lines += self.hooks.checksum(checksum, [update])
        for primitive in self.program.deparser_primitives:
            statements = self.hooks.primitive(primitive, None, self.primitives.statements(primitive))
            lines += [f"    {line}" for line in statements]
            if primitive.op in ASSERTIONS:
                lines.append("    if (p->base.failed) return 0;")
        for name in self.program.deparser:
            header = self.program.headers[name]
            if header.metadata:
                continue
            text = self.layout.header(name)
            self.calculations.wire.check(header.type)
            lines.append(f"    if ({text}.valid) {{")
            lines += self.hooks.emitted(name)
            lines += [f"        {line}" for line in self.calculations.wire.emit(text, header.type, "q")]
            lines.append(f"        q += {self.calculations.wire.length(text, header.type)};")
            lines.append("    }")
        return [*lines, "    return (uint32_t)(q - out);", "}"]

    def _headers_limit(self) -> int:
        types = [self.program.headers[name].type for name in self.program.deparser]
        return sum((f.width + 7) // 8 + 1 if f.varbit else 0 for t in types for f in t.fields) + sum(
            t.width // 8 for t in types
        )

    def _preserve(self) -> list[str]:
        lines = [
            "static void preserve(struct ss_phv *to_base, const struct ss_phv *from_base, uint32_t list)",
            "{",
            "    struct phv *to = (struct phv *)to_base;",
            "    const struct phv *from = (const struct phv *)from_base;",
            "    (void)to; (void)from;",
            "    switch (list) {",
        ]
        for field_list in self.program.field_lists.values():
            lines += [f"    case {field_list.id}:", *self._copies(field_list), "        break;"]
        return [*lines, "    }", "}"]

    def _copies(self, field_list: FieldList) -> list[str]:
        lines = []
        for ref in field_list.fields:
            if self.program.headers[ref.header].metadata and self.layout.field_info(ref).width:
                if self.layout.field_info(ref).varbit:
                    # its bytes are those of the packet, which is gone by then
                    raise UnsupportedProgram(f"varbit field {ref.header}.{ref.field} in a field list")
                path = self.layout.field(ref).removeprefix("p->")
                if self.layout.field_info(ref).width > 128:
                    lines.append(f"        memcpy(to->{path}, from->{path}, sizeof to->{path});")
                else:
                    lines.append(f"        to->{path} = from->{path};")
        return lines

    def _digest(self) -> list[str]:
        lines = [
            "static uint32_t digest(const struct ss_phv *base, uint32_t list, u128 *values)",
            "{",
            "    const struct phv *p = (const struct phv *)base;",
            "    uint32_t n = 0;",
            "    (void)p; (void)values;",
            "    switch (list) {",
        ]
        for learn_list in self.program.learn_lists.values():
            lines += [f"    case {learn_list.id}:", *self._values(learn_list), "        break;"]
        return [*lines, "    }", "    return n;", "}"]

    def _values(self, learn_list: LearnList) -> list[str]:
        if sum(digest_values(w) for w in learn_list.widths) > MAX_DIGEST_VALUES:
            raise UnsupportedProgram(
                f"digest {learn_list.name!r} of more than {MAX_DIGEST_VALUES} values of up to 128 bits",
                learn_list.source,
            )
        writer = ExpressionWriter(self.layout, source=learn_list.source)
        lines = []
        for element, width in zip(learn_list.elements, learn_list.widths, strict=True):
            text = writer.truncated(element, width)
            if width <= 128:
                lines.append(f"        values[n++] = (u128){text};")
                continue
            parts = digest_values(width)
            lines.append(f"        ss_wide_put((uint64_t *)(values + n), {words(width)}, {text});")
            if words(width) % 2:
                lines.append(f"        values[n + {parts - 1}] = (uint64_t)values[n + {parts - 1}];")
            lines.append(f"        n += {parts};")
        return lines

    def _tables(self) -> list[str]:
        program = self.program
        lines = ["static const struct ss_table_layout table_layouts[] = {"]
        sizes = [*((n, program.tables[n].size, t) for n, t in self.tables.items())]
        sizes += [(n, program.value_sets[n].size, t) for n, t in self.value_sets.items()]
        for name, size, layout in sizes:
            numbers = (size, layout.words, layout.data_words, layout.ranged, layout.match, layout.idle, layout.metered)
            lines.append(f"    {{{', '.join(str(int(n)) for n in numbers)}}}, /* {comment(name)} */")
        lines += ["    {0}};", "static const struct ss_profile_layout profile_layouts[] = {"]
        for profile in program.profiles:
            lines.append(f"    {{{longest_data(program.profile_actions(profile))}}}, /* {comment(profile)} */")
        lines += ["    {0}};", "static const struct ss_array_layout counter_layouts[] = {"]
        counters = [c for c in program.counters.values() if c.table is None]
        lines += [f"    {{{c.size}, sizeof(struct ss_cell)}}, /* {comment(c.name)} */" for c in counters]
        lines += ["    {0}};", "static const struct ss_array_layout meter_layouts[] = {"]
        meters = [m for m in program.meters.values() if m.table is None]
        lines += [f"    {{{m.size}, sizeof(struct ss_meter)}}, /* {comment(m.name)} */" for m in meters]
        lines += ["    {0}};", "static const struct ss_array_layout register_layouts[] = {"]
        lines += [f"    {{{r.size}, {register_bytes(r)}}}, /* {comment(r.name)} */" for r in program.registers.values()]
        lines += ["    {0}};", "static const uint32_t pointers[] = {"]
        pointers = self.layout.pointers()
        lines += [f"    offsetof(struct phv, {path})," for path in pointers]
        clock = any((program.headers[STANDARD].type.name, f) in self.layout.usage.used for f in _EGRESS_CLOCK)
        lines += [
            "};",
            "const struct ss_program ss_program = {",
            "    .abi = SS_ABI,",
            "    .phv_size = sizeof(struct phv),",
            "    .metadata_offset = offsetof(struct phv, metadata),",
            "    .metadata_size = sizeof(((struct phv *)0)->metadata),",
            f"    .headers_limit = {self._headers_limit()},",
            f"    .egress_clock = {int(clock)},",
            f"    .n_tables = {len(sizes)},",
            f"    .n_profiles = {len(program.profiles)},",
            f"    .n_counters = {len(counters)},",
            f"    .n_meters = {len(meters)},",
            f"    .n_registers = {len(program.registers)},",
            f"    .n_pointers = {len(pointers)},",
            "    .pointers = pointers,",
            "    .tables = table_layouts,",
            "    .profiles = profile_layouts,",
            "    .counters = counter_layouts,",
            "    .meters = meter_layouts,",
            "    .registers = register_layouts,",
            "    .parse = parse,",
            "    .ingress = ingress,",
            "    .egress = egress,",
            "    .deparse = deparse,",
            "    .preserve = preserve,",
            "    .digest = digest,",
            "};",
        ]
        return lines
