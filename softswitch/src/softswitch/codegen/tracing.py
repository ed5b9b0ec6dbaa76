"""The traced variant of a program: the same code, telling what it does (the records of runtime/trace.h)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar

from softswitch.bmv2.control import Action, Conditional, Primitive, Table
from softswitch.bmv2.expressions import FieldRef
from softswitch.bmv2.json_reader import VALID
from softswitch.bmv2.program import Checksum, Field, ParserOp, ParserState
from softswitch.bmv2.source import Source, UnsupportedProgram
from softswitch.codegen.expressions import ExpressionWriter
from softswitch.codegen.hooks import Hooks
from softswitch.codegen.integers import convert, unsigned_type, words
from softswitch.codegen.layout import STANDARD, Layout
from softswitch.codegen.table_layout import TableLayout, longest_data, parameter_words
from softswitch.codegen.usage import STORES
from softswitch.engine.abi import Match

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Statement:
    """A step of a parser state or action. `text` is its P4 text, as far as p4c kept it."""

    op: str
    text: str
    source: Source | None


@dataclass
class Subjects:
    """What the numbers in a trace mean: positions in these lists."""

    states: list[str] = field(default_factory=list)
    selects: list[tuple[int, ...]] = field(default_factory=list)
    extracts: list[ParserOp] = field(default_factory=list)
    controls: list[str] = field(default_factory=list)
    conditionals: list[Conditional] = field(default_factory=list)
    tables: list[tuple[Table, TableLayout]] = field(default_factory=list)
    statements: list[Statement] = field(default_factory=list)
    fields: list[tuple[FieldRef, Field]] = field(default_factory=list)
    headers: list[str] = field(default_factory=list)


class Tracer(Hooks):
    """Hooks that write records, and the list of what these are about."""

    def __init__(self) -> None:
        self.subjects = Subjects()

    def declarations(self, layout: Layout) -> list[str]:
        """The comparison of a packet with its copy from before a statement."""
        self._layout = layout
        lines = ["static void trace_changes(struct ss_host *host, const struct phv *b, const struct phv *p)", "{"]
        for header in layout.program.headers.values():
            text = layout.header(header.name)
            stored = [f for f in header.type.fields if header.name == STANDARD] or layout.stored(header.type)
            # a header that was invalid had no fields: what memory held is not told
            valid = None if header.metadata else f"b->{text.removeprefix('p->')}.valid"
            changes = [line for f in stored for line in self._change(FieldRef(header.name, f.name), f, valid)]
            if header.metadata:
                lines += changes
                continue
            lines += self._change(FieldRef(header.name, VALID), Field(VALID, 1))
            lines += [f"    if ({text}.valid) {{", *changes, "    }"] if changes else []
        return ['#include "trace.h"', "", *lines, "    (void)host; (void)b; (void)p;", "}", ""]

    def _change(self, ref: FieldRef, item: Field, valid: str | None = None) -> list[str]:
        if item.varbit:
            return []
        try:
            after = self._layout.field(ref)
        except UnsupportedProgram:
            return []  # of standard metadata: the program does not use it
        before = f"b->{after.removeprefix('p->')}"
        number = _number(self.subjects.fields, (ref, item))
        if item.width > 128:
            before = before if valid is None else f"{valid} ? {before} : NULL"
            return [f"    ss_trace_wide(host, {number}, {before}, {after}, {words(item.width)});"]
        if valid is not None:
            before = f"({valid} ? {before} : 0)"
        return [f"    if ({before} != {after}) ss_trace_change(host, {number}, (u128){before}, (u128){after});"]

    def state(self, state: ParserState) -> list[str]:
        number = _number(self.subjects.states, state.name)
        return [f"    {_put('STATE', number)}"]

    def extracted(self, op: ParserOp, length: str) -> list[str]:
        number = _number(self.subjects.extracts, op)
        index = f"{self._layout.stack(op.target)}.next" if op.stack else "0"
        return [f"ss_trace_extract(s->host, {number}, {index}, d, (uint32_t){length});"]

    def selecting(self, state: ParserState) -> list[str]:
        if not state.key:
            return []
        number = _number(self.subjects.selects, tuple(key.width for key in state.key))
        keys = [convert(f"k{place}", unsigned_type(key.width), "u128") for place, key in enumerate(state.key)]
        return [_put("SELECT", number, keys)]

    def parsed(self) -> list[str]:
        return ["    ss_trace_words(s->host, SS_TRACE_PARSED, error, NULL, 0);"]

    def parser_op(self, op: ParserOp, lines: list[str]) -> list[str]:
        if op.op not in ("set", "primitive"):
            return lines
        name = op.primitive.op if op.primitive else op.op
        source = op.source or (op.primitive.source if op.primitive else None)
        return self._watched(name, source, [], lines)

    def control(self, name: str) -> list[str]:
        return [f"    {_put('CONTROL', _number(self.subjects.controls, name))}"]

    def condition(self, item: Conditional, text: str) -> str:
        return f"ss_trace_condition(s->host, {_number(self.subjects.conditionals, item)}, {text})"

    def table(self, table: Table, layout: TableLayout) -> list[str]:
        subject = _number(self.subjects.tables, (table, layout))
        key = f"key, {layout.words}" if table.keys else "NULL, 0"
        data, reference = str(layout.data_words), "NULL, false"
        if table.profile is not None:
            actions = self._layout.program.profile_actions(table.profile)
            data = f"member ? {longest_data(actions)} : 0"
            reference = f"e ? e->words + {layout.data_at} : NULL, e && e->action == SS_GROUP"
        return [f"    ss_trace_table(s->host, {subject}, t, e, {key}, {reference}, action, data, {data});"]

    def only_action(self, table: Table, action: Action, data: str) -> list[str]:
        subject = _number(self.subjects.tables, (table, TableLayout(Match.EXACT, 0, 0, (), parameter_words(action))))
        arguments = f"{subject}, NULL, NULL, NULL, 0, NULL, false, {action.id}, {data}, {parameter_words(action)}"
        return [f"    ss_trace_table(s->host, {arguments});"]

    def primitive(self, primitive: Primitive, action: Action | None, lines: list[str]) -> list[str]:
        values = []
        writer = ExpressionWriter(self._layout, action, primitive.source)
        for place, operand in enumerate(primitive.operands):
            expression = operand.expression
            if expression is None or primitive.op in ("assign", "modify_field") or place == STORES.get(primitive.op):
                continue
            try:
                values.append(writer.truncated(expression, 64))
            except (UnsupportedProgram, KeyError):
                continue
        return self._watched(primitive.op, primitive.source, values, lines)

    def _watched(self, op: str, source: Source | None, values: list[str], lines: list[str]) -> list[str]:
        """Statements in a block that tells what they changed."""
        number = _number(self.subjects.statements, Statement(op, source.fragment if source else "", source))
        return [
            "{ const struct phv before = *p;",
            _put("STATEMENT", number, values),
            *lines,
            "trace_changes(s->host, &before, p); }",
        ]

    def verified(self) -> list[str]:
        return [f"    {_put('CHECKSUMS', 0, ['bad'])}"]

    def checksum(self, checksum: Checksum, lines: list[str]) -> list[str]:
        return self._watched("checksum", checksum.source, [], lines)

    def emitted(self, header: str) -> list[str]:
        return [_put("EMIT", _number(self.subjects.headers, header))]


def _number(items: list[_T], item: _T) -> int:
    items.append(item)
    return len(items) - 1


def _put(kind: str, subject: int, values: list[str] | None = None) -> str:
    """C statement that writes a record of values of two words each."""
    if not values:
        return f"ss_trace_words(s->host, SS_TRACE_{kind}, {subject}, NULL, 0);"
    if kind == "CHECKSUMS":
        items = values[0]
        count = 1
    else:
        items = ", ".join(f"(uint64_t)({v}), (uint64_t)((u128)({v}) >> 64)" for v in values)
        count = 2 * len(values)
    array = f"(const uint64_t[]){{{items}}}"
    return f"ss_trace_words(s->host, SS_TRACE_{kind}, {subject}, {array}, {count});"
