"""What one packet met on its way, step by step, with the names and lines of the P4 program."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from softswitch.bmv2.control import Action, MatchKind, Table, TableKey
from softswitch.bmv2.expressions import FieldRef
from softswitch.bmv2.json_reader import VALID
from softswitch.bmv2.program import HeaderType, Program
from softswitch.bmv2.source import Source
from softswitch.codegen.table_layout import TableLayout
from softswitch.codegen.tracing import Statement, Subjects
from softswitch.engine.abi import InstanceType, TraceKind
from softswitch.engine.addresses import Format, Formats, format_of, show

_INSTANCE_TYPES: dict[int, str] = {
    InstanceType.NORMAL: "",
    InstanceType.INGRESS_CLONE: "clone of ingress",
    InstanceType.EGRESS_CLONE: "clone of egress",
    InstanceType.RECIRCULATED: "recirculated",
    InstanceType.REPLICATED: "copy of a multicast group",
    InstanceType.RESUBMITTED: "resubmitted",
}
_SOURCE_WIDTH, _CHANGE_COLUMN, _TEXT_WIDTH = 20, 64, 72
_SILENT = frozenset(["checksum", "set"])


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happened.

    `kind` is packet, pass, state, extract, select, parsed, checksums, control, condition, table, action, statement,
    change, clone, digest, resubmit, multicast, drop, copy, recirculate, emit, out, failed or cut; `name` what it is
    about by its P4 name (a table, an action, a field, …), `detail` the rest, for people; `depth` indents it.
    """

    kind: str
    name: str
    detail: str
    source: Source | None = None
    depth: int = 0


@dataclass(frozen=True, slots=True)
class Trace:
    """The steps of a packet, in order; its text explains them."""

    steps: tuple[Step, ...]

    def of(self, kind: str) -> list[str]:
        """Names of the steps of a kind: `trace.of("table")` are the tables that were applied."""
        return [step.name for step in self.steps if step.kind == kind]

    def __str__(self) -> str:
        lines: list[str] = []
        for place, step in enumerate(self.steps):
            before, after = self.steps[place - 1 : place], self.steps[place + 1 : place + 2]
            only = step.kind == "change" and before[0].kind == "statement" and not _changes(after)
            if only:
                lines[-1] = f"{lines[-1]:{_CHANGE_COLUMN}}  {step.detail}"
            else:
                lines.append(_line(step))
        return "\n".join(lines)


def _changes(steps: Sequence[Step]) -> bool:
    return bool(steps) and steps[0].kind == "change"


def _line(step: Step) -> str:
    where = f"{PurePath(step.source.filename).name}:{step.source.line}" if step.source else ""
    return f"{where:{_SOURCE_WIDTH}} {'  ' * step.depth}{step.detail}".rstrip()


@dataclass(frozen=True, slots=True)
class _Record:
    subject: int
    words: tuple[int, ...]

    def pairs(self) -> list[int]:
        """Values of two words each."""
        return [_joined(self.words[i : i + 2]) for i in range(0, len(self.words), 2)]


def _joined(words: Sequence[int]) -> int:
    """A number from its words, low word first."""
    return sum(word << 64 * place for place, word in enumerate(words))


class TraceReader:
    """Makes traces of what the traced variant of `program` recorded (runtime/trace.h). `formats` is what its P4Info
    says of how values are written."""

    def __init__(self, program: Program, subjects: Subjects, formats: Formats) -> None:
        self._program = program
        self._formats = formats
        self._fields = {
            (key.expression.header, key.expression.field): formats[table.name, key.name]
            for table in program.tables.values()
            for key in table.keys
            if isinstance(key.expression, FieldRef) and (table.name, key.name) in formats
        }
        self._subjects = subjects
        self._errors = {number: name for name, number in program.errors.items()}
        tables = [table for table in program.tables.values() if not _made_up(table)]
        self._named_actions = {action for table in tables for action in table.actions}
        self._verifies = any(checksum.verify for checksum in program.checksums)
        self._readers: dict[int, Callable[[_Record], Iterator[Step]]] = {
            TraceKind.CUT: self._cut,
            TraceKind.PACKET: self._packet,
            TraceKind.PASS: self._pass,
            TraceKind.CLONE: self._clone,
            TraceKind.DIGEST: self._digest,
            TraceKind.RESUBMIT: self._resubmit,
            TraceKind.MULTICAST: self._multicast,
            TraceKind.DROP: self._drop,
            TraceKind.COPY: self._copy,
            TraceKind.RECIRCULATE: self._recirculate,
            TraceKind.OUT: self._out,
            TraceKind.FAILED: self._failed,
            TraceKind.QUEUED: self._queued,
            TraceKind.DEQUEUED: self._dequeued,
            TraceKind.STATE: self._state,
            TraceKind.EXTRACT: self._extract,
            TraceKind.SELECT: self._select,
            TraceKind.PARSED: self._parsed,
            TraceKind.CONTROL: self._control,
            TraceKind.CONDITION: self._condition,
            TraceKind.TABLE: self._table,
            TraceKind.STATEMENT: self._statement,
            TraceKind.CHANGE: self._change,
            TraceKind.CHECKSUMS: self._checksums,
            TraceKind.EMIT: self._emit,
        }

    def read(self, data: bytes) -> Trace:
        """The trace in a sequence of records."""
        words = struct.unpack(f"<{len(data) // 8}Q", data)
        steps: list[Step] = []
        at = 0
        while at < len(words):
            kind, count, subject = words[at] & 0xFF, words[at] >> 8 & 0xFFFFFF, words[at] >> 32
            steps += self._readers[kind](_Record(subject, words[at + 1 : at + 1 + count]))
            at += 1 + count
        return Trace(tuple(_settle(steps)))

    def _cut(self, record: _Record) -> Iterator[Step]:
        yield Step("cut", "", "… the rest is not traced: too long")

    def _packet(self, record: _Record) -> Iterator[Step]:
        length, clock_us = record.words
        seconds = f"{clock_us // 10**6}.{clock_us % 10**6:06}"
        yield Step("packet", str(record.subject), f"packet of {length} bytes in at port {record.subject}, {seconds} s")

    def _pass(self, record: _Record) -> Iterator[Step]:
        how = _INSTANCE_TYPES.get(record.subject, "")
        yield Step("pass", how, f"parser ({how})" if how else "parser")

    def _clone(self, record: _Record) -> Iterator[Step]:
        of_egress, exists = record.words
        missing = "" if exists else ", which does not exist"
        detail = f"clone of {'egress' if of_egress else 'ingress'} to session {record.subject}{missing}"
        yield Step("clone", str(record.subject), detail)

    def _digest(self, record: _Record) -> Iterator[Step]:
        learn_list = self._program.learn_lists[record.subject]
        values = ", ".join(map(hex, record.pairs()))
        yield Step("digest", learn_list.name, f"digest {learn_list.name}: {values}")

    def _resubmit(self, record: _Record) -> Iterator[Step]:
        yield Step("resubmit", "", "resubmitted")

    def _multicast(self, record: _Record) -> Iterator[Step]:
        missing = "" if record.words[0] else ", which does not exist: dropped"
        yield Step("multicast", str(record.subject), f"to multicast group {record.subject}{missing}")

    def _drop(self, record: _Record) -> Iterator[Step]:
        yield Step("drop", "", "dropped")

    def _copy(self, record: _Record) -> Iterator[Step]:
        instance, kind = record.words
        how = [text for text in (_INSTANCE_TYPES.get(kind, ""), f"instance {instance}" if instance else "") if text]
        yield Step("copy", str(record.subject), f"to port {record.subject}" + (f" ({', '.join(how)})" if how else ""))

    def _recirculate(self, record: _Record) -> Iterator[Step]:
        yield Step("recirculate", "", "recirculated")

    def _out(self, record: _Record) -> Iterator[Step]:
        length, payload = record.words
        detail = f"packet of {length} bytes out of port {record.subject}, {payload} of them payload"
        yield Step("out", str(record.subject), detail)

    def _failed(self, record: _Record) -> Iterator[Step]:
        yield Step("failed", "", "an assert failed: dropped")

    def _queued(self, record: _Record) -> Iterator[Step]:
        priority, before, full = record.words
        what = f"queue {priority} of port {record.subject}"
        if full:
            yield Step("queue full", str(record.subject), f"{what} is full, with {before} packets: dropped")
        else:
            yield Step("queued", str(record.subject), f"into {what}, behind {before} packets")

    def _dequeued(self, record: _Record) -> Iterator[Step]:
        priority, behind, waited = record.words
        detail = f"out of queue {priority} of port {record.subject} after {waited} µs, {behind} packets behind it"
        yield Step("dequeued", str(record.subject), detail)

    def _state(self, record: _Record) -> Iterator[Step]:
        name = self._subjects.states[record.subject]
        yield Step("state", name, f"state {name}", None, 1)

    def _extract(self, record: _Record) -> Iterator[Step]:
        index, length, *body = record.words
        data = struct.pack(f"<{len(body)}Q", *body)[:length]
        op = self._subjects.extracts[record.subject]
        shown = f"{op.target}[{index}]" if op.stack else op.target
        if op.member:
            header_type = self._program.union_stacks[op.target].members[op.member]
            shown = f"{shown}.{op.member}"
        else:
            header_type = (self._program.stacks if op.stack else self._program.headers)[op.target].type
        yield Step("extract", shown, f"extract {shown}: {self._extracted(op.target, header_type, data)}", None, 2)

    def _select(self, record: _Record) -> Iterator[Step]:
        yield Step("select", "", f"select {', '.join(map(hex, record.pairs()))}", None, 2)

    def _parsed(self, record: _Record) -> Iterator[Step]:
        error = self._errors.get(record.subject, str(record.subject))
        yield Step("parsed", error, f"parser error {error}" if record.subject else "accept", None, 1)

    def _checksums(self, record: _Record) -> Iterator[Step]:
        if self._verifies:
            result = "wrong" if record.words[0] else "right"
            yield Step("checksums", result, f"checksums are {result}", None, 1)

    def _control(self, record: _Record) -> Iterator[Step]:
        name = self._subjects.controls[record.subject]
        yield Step("control", name, name)

    def _condition(self, record: _Record) -> Iterator[Step]:
        item = self._subjects.conditionals[record.subject]
        text = item.source.fragment.strip() if item.source else item.name
        detail = f"if ({text}): {'true' if record.words[0] else 'false'}"
        yield Step("condition", item.name, detail, item.source, 1)

    def _table(self, record: _Record) -> Iterator[Step]:
        table, layout = self._subjects.tables[record.subject]
        hit, by_group, number, priority, reference, *words = record.words
        count = layout.words if table.keys else 0
        key, entry, mask = (words[i * count : (i + 1) * count] for i in range(3))
        action = self._action(table, number)
        if not _made_up(table):
            detail = f"table {table.name}"
            if table.keys:
                detail += f" ({self._key(table, layout, key)}): {'hit' if hit else 'miss'}"
            if hit:
                detail += f" {self._entry(table, layout, entry, mask)}"
                if table.profile is not None:
                    detail += f", {'group' if by_group else 'member'} {reference}"
                if table.has_priorities:
                    detail += f", priority {priority if priority < 2**63 else priority - 2**64}"
            yield Step("table", table.name, detail, table.source, 1)
        if action is None:
            yield Step("action", "", "no action", table.source, 2)
        elif action.id in self._named_actions or "." in action.name:
            yield Step("action", action.name, self._call(action, words[3 * count :]), action.source, 2)

    def _action(self, table: Table, number: int) -> Action | None:
        """An action by what entries know it by (in an indirect table, members)."""
        if table.profile is None:
            return self._program.actions.get(number)
        actions = self._program.profile_actions(table.profile)
        return actions[number] if number < len(actions) else None

    def _statement(self, record: _Record) -> Iterator[Step]:
        item = self._subjects.statements[record.subject]
        detail = _text(item)
        if values := record.pairs():
            detail += f"  [{', '.join(map(hex, values))}]"
        yield Step("statement", item.op, detail, item.source, 2)

    def _change(self, record: _Record) -> Iterator[Step]:
        ref, item = self._subjects.fields[record.subject]
        half = len(record.words) // 2
        old, new = (_joined(part) & ((1 << item.width) - 1) for part in (record.words[:half], record.words[half:]))
        header = "" if ref.header == "scalars" else f"{ref.header}."
        if ref.field == VALID:
            yield Step("change", ref.header, f"{ref.header} is {'valid' if new else 'invalid'}", None, 3)
            return
        name = f"{header}{ref.field}"
        form = self._field_format(ref.header, ref.field, item.width)
        yield Step("change", name, f"{name}: {show(old, form)} -> {show(new, form)}", None, 3)

    def _emit(self, record: _Record) -> Iterator[Step]:
        name = self._subjects.headers[record.subject]
        yield Step("emit", name, f"emit {name}", None, 1)

    def _field_format(self, header: str, field: str, width: int) -> Format:
        return self._fields.get((header, field)) or format_of(width, field, header)

    def _key_format(self, table: Table, key: TableKey) -> Format:
        owner, _, name = key.name.rpartition(".")
        return self._formats.get((table.name, key.name)) or format_of(key.width, name, owner)

    def _extracted(self, header: str, header_type: HeaderType, data: bytes) -> str:
        """A header's bytes as its fields."""
        value, left = int.from_bytes(data, "big"), len(data) * 8
        varbit = left - header_type.width
        shown = []
        for item in header_type.fields:
            width = varbit if item.varbit else item.width
            left -= width
            form = Format.HEX if item.varbit else self._field_format(header, item.name, width)
            shown.append(f"{item.name}={show(value >> left & ((1 << width) - 1), form)}")
        return " ".join(shown)

    def _key(self, table: Table, layout: TableLayout, words: Sequence[int]) -> str:
        parts = zip(table.keys, _values(layout, words), strict=True)
        return ", ".join(f"{key.name}={show(value, self._key_format(table, key))}" for key, value in parts)

    def _entry(self, table: Table, layout: TableLayout, words: Sequence[int], masks: Sequence[int]) -> str:
        parts = zip(table.keys, _values(layout, words), _values(layout, masks), strict=True)
        shown = (_match(key, value, mask, self._key_format(table, key)) for key, value, mask in parts)
        return f"[{', '.join(shown)}]"

    def _call(self, action: Action, words: Sequence[int]) -> str:
        values, at = [], 0
        for parameter in action.parameters:
            count = (parameter.width + 63) // 64
            form = self._formats.get((action.name, parameter.name)) or format_of(parameter.width, parameter.name)
            values.append(f"{parameter.name}={show(_joined(words[at : at + count]), form)}")
            at += count
        return f"{action.name}({', '.join(values)})"


def _settle(steps: Sequence[Step]) -> Iterator[Step]:
    """Without statements of no text that changed nothing."""
    for place, step in enumerate(steps):
        if step.kind != "statement" or step.name not in _SILENT or _changes(steps[place + 1 : place + 2]):
            yield step


def _text(item: Statement) -> str:
    """The P4 text, where p4c kept enough of it to be understood."""
    text = item.text.replace('\\"', '"').strip()
    if not any(c.isalnum() for c in text) or text[0] == "=":
        return item.op
    return text if len(text) <= _TEXT_WIDTH else f"{text[: _TEXT_WIDTH - 1]}…"


def _made_up(table: Table) -> bool:
    """Whether p4c made the table of statements. A name in P4 is qualified with its control's, or chosen by `@name`."""
    return table.name.startswith("tbl_")


def _values(layout: TableLayout, words: Sequence[int]) -> list[int]:
    """Key fields, unpacked."""
    values = []
    for pieces in layout.pieces:
        value = 0
        for piece in pieces:
            value |= (words[piece.word] >> piece.shift & ((1 << piece.width) - 1)) << piece.low
        values.append(value)
    return values


def _match(key: TableKey, value: int, mask: int, form: Format) -> str:
    if key.kind is MatchKind.RANGE:
        return f"{show(value, form)}..{show(mask, form)}"
    if mask == (1 << key.width) - 1:
        return show(value, form)
    if key.kind is MatchKind.LPM:
        return f"{show(value, form)}/{mask.bit_count()}"
    return f"{show(value, form)} &&& {show(mask, form)}" if mask else "*"
