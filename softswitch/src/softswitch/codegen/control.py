"""Pipelines in C: a label for every node, tables looked up in place."""

from __future__ import annotations

from collections.abc import Sequence

from softswitch.bmv2.control import (
    Action,
    ActionCall,
    Conditional,
    MatchKind,
    Node,
    Pipeline,
    Table,
    TableKey,
    in_order,
)
from softswitch.bmv2.expressions import FieldRef, StackElement
from softswitch.bmv2.json_reader import VALID
from softswitch.bmv2.program import Program
from softswitch.bmv2.source import UnsupportedProgram
from softswitch.codegen.expressions import ExpressionWriter
from softswitch.codegen.integers import WIDE, constant, operate, unsigned_type
from softswitch.codegen.layout import Layout
from softswitch.codegen.primitives import ASSERTIONS, JUMPS, PrimitiveWriter, comment, quoted
from softswitch.codegen.table_layout import Piece, TableLayout
from softswitch.codegen.validity import NOTHING
from softswitch.engine.abi import Match

_EXITING = ASSERTIONS | {"exit"}


class ControlWriter:
    """Writes one function for each pipeline."""

    def __init__(
        self, program: Program, layout: Layout, primitives: PrimitiveWriter, tables: dict[str, TableLayout]
    ) -> None:
        self.program = program
        self.layout = layout
        self.primitives = primitives
        self.tables = tables
        self.numbers = {name: index for index, name in enumerate(tables)}

    def function(self, name: str, pipeline: Pipeline | None) -> list[str]:
        """`static void <name>(struct ss_state *s, struct ss_phv *base)`."""
        lines = [
            f"static void {name}(struct ss_state *s, struct ss_phv *base)",
            "{",
            "    struct phv *p = (struct phv *)base;",
            "    (void)s; (void)p;",
        ]
        parsing = (op.primitive for state in self.program.parser_states.values() for op in state.ops)
        if any(primitive is not None and primitive.op in ASSERTIONS for primitive in parsing):
            lines.append("    if (p->base.failed) return;")
        lines += self.layout.hooks.control(name)
        if pipeline is None or pipeline.first is None:
            return [*lines, "}"]
        order = in_order(pipeline)  # so that gotos mostly fall through
        for position, node in enumerate(order):
            if position:
                lines.append(f"{self._label(pipeline, node)}:;")
            following = order[position + 1] if position + 1 < len(order) else None
            item = pipeline.nodes[node]
            if item.source:
                lines.append(f"    /* {comment(f'{item.source} {item.source.fragment}')} */")
            try:
                lines += self._node(pipeline, item, following)
            except UnsupportedProgram as refusal:
                raise UnsupportedProgram(refusal.construct, refusal.source or item.source) from refusal
        return [*lines, "done:;", "}"]

    def _node(self, pipeline: Pipeline, item: Node, following: str | None) -> list[str]:
        if isinstance(item, Conditional):
            condition = ExpressionWriter(self.layout, source=item.source).boolean(item.condition)
            condition = self.layout.hooks.condition(item, condition)
            test = f"    if (!({condition})) {self._goto(pipeline, item.if_false)}"
            return [test, *self._fall(pipeline, item.if_true, following)]
        if isinstance(item, ActionCall):
            call = self._call(self.program.actions[item.action], "NULL")
            return [*call, *self._fall(pipeline, item.next, following)]
        return self._table(pipeline, item, following)

    def _label(self, pipeline: Pipeline, node: str) -> str:
        return self.layout.identifiers.get(f"n_{pipeline.name}_", node)

    def _goto(self, pipeline: Pipeline, node: str | None) -> str:
        return "goto done;" if node is None else f"goto {self._label(pipeline, node)};"

    def _fall(self, pipeline: Pipeline, node: str | None, following: str | None) -> list[str]:
        return [] if node is not None and node == following else [f"    {self._goto(pipeline, node)}"]

    def _call(self, action: Action, data: str) -> list[str]:
        lines = [f"    {self.primitives.action_name(action)}(s, p, {data});"]
        if any(p.op in _EXITING or p.op in JUMPS for p in action.primitives):
            lines.append("    if (p->base.exit) goto done;")
        return lines

    def _table(self, pipeline: Pipeline, table: Table, following: str | None) -> list[str]:
        if not table.keys and table.const_default and table.default_action is not None and not table.by_hit:
            return self._statement(pipeline, table, table.default_action, following)
        layout, number = self.tables[table.name], self.numbers[table.name]
        lines = ["    {", f"    const struct ss_table *t = &s->tables[{number}];"]
        lines += self._lookup(table, layout)
        lines += self._indirect(table, layout) if table.profile is not None else self._direct(layout)
        lines += self.layout.hooks.table(table, layout)
        if table.counter is not None:
            lines.append("    if (e) { e->counter.packets++; e->counter.octets += p->base.received; }")
        if table.idle_timeout:
            lines.append(f"    if (e) e->words[{layout.idle_at}] = s->host->now(s->host);")
        if table.meter is not None:
            lines.append(f"    if (e) {{ {self._mark(table, layout)} }}")
        lines.append("    switch (action) {")
        for identifier in table.actions:
            lines.append(f"    case {self._action_number(table, identifier)}:")
            lines += [f"    {line}" for line in self._call(self.program.actions[identifier], "data")]
            lines.append(
                "        break;" if table.by_hit else f"        {self._goto(pipeline, table.next[identifier])}"
            )
        lines.append("    }")
        if table.by_hit:
            lines.append(f"    if (e) {self._goto(pipeline, table.next_hit)}")
            lines.append("    }")
            return lines + self._fall(pipeline, table.next_miss, following)
        # no entry and no default action, or an empty group: nothing runs
        lines.append("    }")
        return lines + self._fall(pipeline, table.next_without_action, following)

    def _statement(self, pipeline: Pipeline, table: Table, identifier: int, following: str | None) -> list[str]:
        """A table that p4c made of a statement: it can only run its one action."""
        action = self.program.actions[identifier]
        lines, data = [], "NULL"
        if action.parameters:
            words = pack_parameters(action, table.default_parameters)
            lines.append(f"    {{ static const uint64_t data[] = {{{', '.join(constant(w) for w in words)}}};")
            data = "data"
        lines += self.layout.hooks.only_action(table, action, data)
        lines += self._call(action, data)
        if action.parameters:
            lines.append("    }")
        return lines + self._fall(pipeline, table.next[identifier], following)

    def _action_number(self, table: Table, identifier: int) -> int:
        """What entries (in an indirect table members) know an action by."""
        if table.profile is None:
            return identifier
        names = [action.name for action in self.program.profile_actions(table.profile)]
        return names.index(self.program.actions[identifier].name)

    @staticmethod
    def _direct(layout: TableLayout) -> list[str]:
        return [
            "    uint32_t action = e ? e->action : t->default_action;",
            f"    const uint64_t *data = e ? e->words + {layout.data_at} : t->default_data;",
            "    (void)data;",
        ]

    def _indirect(self, table: Table, layout: TableLayout) -> list[str]:
        """The action of the member that an entry refers to, alone or through a group; none if the group is empty."""
        profile = self.program.profiles.get(table.profile or "")
        if profile is None:
            raise UnsupportedProgram(f"reference to unknown action profile {table.profile!r}", table.source)
        number = list(self.program.profiles).index(profile.name)
        lines = [f"    const struct ss_profile *profile = &s->profiles[{number}];"]
        member = f"ss_profile_member(profile, e->words[{layout.data_at}])"
        if profile.selector is not None:
            hashed = f"(uint32_t){self.primitives.calculations.name(profile.selector)}(p)"
            pick = f"ss_profile_pick(profile, e->words[{layout.data_at}], {hashed})"
            member = f"e->action == SS_GROUP ? {pick} : {member}"
        text = quoted(f"table {table.name}: the entry's group is empty".replace("%", "%%"))
        return [
            *lines,
            f"    const struct ss_member *member = !e ? NULL : {member};",
            f"    if (e && !member) s->host->log(s->host, SS_ERROR, {text});",
            "    uint32_t action = member ? (uint32_t)member->action : e ? UINT32_MAX : t->default_action;",
            "    const uint64_t *data = member ? member->data : t->default_data;",
            "    (void)data;",
        ]

    def _mark(self, table: Table, layout: TableLayout) -> str:
        """The direct meter: its colour is in place before the action runs."""
        meter = self.program.meters.get(table.meter or "")
        if meter is None or meter.target is None:
            raise UnsupportedProgram(f"reference to unknown direct meter {table.meter!r}", table.source)
        target, field = self.layout.field(meter.target), self.layout.field_info(meter.target)
        return self.primitives.meter(target, field, f"(struct ss_meter *)&e->words[{layout.meter_at}]", meter.packets)

    def _lookup(self, table: Table, layout: TableLayout) -> list[str]:
        if not table.keys:
            return ["    struct ss_entry *e = NULL;"]
        words: list[list[str]] = [[] for _ in range(layout.words)]
        lines = []
        for position, (key, pieces) in enumerate(zip(table.keys, layout.pieces, strict=True)):
            c_type = unsigned_type(key.width)
            value = self._looked_up(table, key)
            if key.mask is not None:
                value = operate("&", c_type, value, constant(key.mask, c_type))
            lines.append(f"    const {c_type} k{position} = {value}; /* {comment(key.name)} */")
            for piece in pieces:
                words[piece.word].append(self._piece(key, position, piece))
        lines.append(f"    const uint64_t key[] = {{{', '.join(' | '.join(w) for w in words)}}};")
        find = {
            Match.EXACT: f"ss_find_exact(t, key, {layout.words})",
            Match.PREFIX: f"ss_find_masked(t, key, {layout.words})",
            Match.MASKED: f"ss_find_masked(t, key, {layout.words})",
            Match.RANGED: self._find_ranged(table, layout),
        }[layout.match]
        return [*lines, f"    struct ss_entry *e = {find};"]

    @staticmethod
    def _find_ranged(table: Table, layout: TableLayout) -> str:
        """Ranges of one word each have a search of their own."""
        spans = [
            len(pieces) for key, pieces in zip(table.keys, layout.pieces, strict=True) if key.kind is MatchKind.RANGE
        ]
        if max(spans, default=1) == 1:
            return f"ss_find_ranged(t, key, {layout.words}, {layout.ranged})"
        numbers = ", ".join(map(str, spans))
        return f"ss_find_spans(t, key, {layout.words}, {layout.ranged}, (const unsigned[]){{{numbers}}})"

    def _looked_up(self, table: Table, key: TableKey) -> str:
        """C text of a key field; of an absent header it is zero, whatever memory holds."""
        writer = ExpressionWriter(self.layout, source=table.source)
        value, field = writer.truncated(key.expression, key.width), key.expression
        if isinstance(field, StackElement) and field.field != VALID:
            valid = f"{writer.header_at(field)}.valid"
        elif (
            isinstance(field, FieldRef)
            and field.field != VALID
            and not self.program.headers[field.header].metadata
            and field.header not in self.layout.validity.keyed.get(table.name, NOTHING)
        ):
            valid = f"{self.layout.header(field.header)}.valid"
        else:
            return value
        return f"({valid} ? {value} : {constant(0, unsigned_type(key.width))})"

    @staticmethod
    def _piece(key: TableKey, position: int, piece: Piece) -> str:
        text = f"k{position}"
        if unsigned_type(key.width) == WIDE:
            text = f"{text}.w[{piece.low // 64}]"
        elif piece.low:
            text = f"({text} >> {piece.low})"
        if 64 < key.width <= 128:
            text = f"(uint64_t){text}"
            if piece.width < 64:
                text = f"({text} & {constant((1 << piece.width) - 1)})"
        return f"{text} << {piece.shift}" if piece.shift else text


def pack_parameters(action: Action, values: Sequence[int]) -> list[int]:
    """Action data in words, low word first."""
    words = []
    for parameter, value in zip(action.parameters, values, strict=True):
        masked = value & ((1 << parameter.width) - 1)
        words += [(masked >> low) & (2**64 - 1) for low in range(0, parameter.width, 64)]
    return words
