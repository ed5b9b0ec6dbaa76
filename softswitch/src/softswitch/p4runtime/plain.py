"""Table updates as most clients write them: decoded, checked and packed by a function generated for each table.

A generated function knows the table's ids, widths and words, so it has nothing to look up. It answers None to what it
was not made for (direct resources, fields in another order than P4Info's) and to everything that is wrong: such updates
take the general way through `TableStore.stage`, which is also the one place where errors are told.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from finsy.proto import p4r

from softswitch.bmv2.control import MatchKind
from softswitch.codegen.table_layout import Match
from softswitch.engine.engine import Engine
from softswitch.engine.operations import TableCodec
from softswitch.entries import Exact, Lpm, PackedOperation, Range, Ternary
from softswitch.p4runtime.schema import Action, Field, Table
from softswitch.p4runtime.table_entries import Entry, TableState
from softswitch.p4runtime.tables import TableChange, TableStore

Updater = Callable[[int, p4r.TableEntry], TableChange | None]

_HEADER = "<IIIIiI"
_INSERT, _MODIFY, _DELETE = 0, 1, 2


class PlainUpdates:
    """The plain updates of one pipeline, whose program `engine` has loaded."""

    def __init__(self, tables: TableStore, engine: Engine) -> None:
        self._tables = tables
        self._engine = engine
        self._updaters: dict[int, Updater | None] = {}

    def stage(self, kind: int, message: p4r.TableEntry) -> TableChange | None:
        """Check a plain update and do it in the model, as `TableStore.stage` does. None, with nothing changed, when it
        is not plain."""
        table = message.table_id
        try:
            update = self._updaters[table]
        except KeyError:
            update = self._updaters[table] = self._make(table)
        return None if update is None else update(kind, message)

    def _make(self, table: int) -> Updater | None:
        state = self._tables.states.get(table)
        if state is None or not state.schema.fields or state.schema.const_entries:
            return None
        if state.profile is not None or state.schema.direct_meter is not None:
            return None
        codec = self._engine.codec(state.schema.name)
        return generate(state, codec)


def generate(state: TableState, codec: TableCodec) -> Updater:
    """The function for one table: takes INSERT, MODIFY or DELETE and a TableEntry of this table."""
    table, layout = state.schema, codec.layout
    actions = {use.action.id: use.action for use in table.uses.values() if use.in_entries}
    words = layout.words * (1 if layout.match is Match.EXACT else 2) + layout.data_words
    form = struct.Struct(f"{_HEADER}{words}Q")
    scope: dict[str, Any] = {
        "Entry": Entry,
        "Exact": Exact,
        "Lpm": Lpm,
        "PackedOperation": PackedOperation,
        "Range": Range,
        "TableChange": TableChange,
        "Ternary": Ternary,
        "entries": state.entries,
        "from_bytes": int.from_bytes,
        "name": table.name,
        "native": {identifier: codec.actions[action.name].id for identifier, action in actions.items()},
        "actions": actions,
        "pack": form.pack,
        "state": state,
    }
    lines = [line for action in actions.values() for line in _parameters(action, layout.data_words)]
    lines += [f"takers = {{{', '.join(f'{i}: take_{i}' for i in actions)}}}", *_update(table, codec, form.size)]
    exec(compile("\n".join(lines), f"<updates of {table.name}>", "exec"), scope)
    updater: Updater = scope["update"]
    return updater


def _parameters(action: Action, room: int) -> list[str]:
    """take_<id>(params): the parameters' values, and the same as `room` words."""
    lines = [f"def take_{action.id}(params):", f" if len(params) != {len(action.parameters)}: return None"]
    words: list[str] = []
    for place, parameter in enumerate(action.parameters):
        lines += [
            f" param = params[{place}]; text = param.value",
            f" if param.param_id != {parameter.id} or not text: return None",
            f" p{place} = from_bytes(text, 'big')",
            f" if p{place} >> {parameter.width}: return None",
        ]
        words += [
            f"p{place} >> {low} & {2**64 - 1}" if parameter.width > 64 else f"p{place}"
            for low in range(0, parameter.width, 64)
        ]
    values = "".join(f"p{place}, " for place in range(len(action.parameters)))
    return [*lines, f" return ({values}), ({''.join(f'{word}, ' for word in words + ['0'] * (room - len(words)))})"]


def _update(table: Table, codec: TableCodec, size: int) -> list[str]:
    prefix = next((place for place, field in enumerate(table.fields) if field.kind is MatchKind.LPM), None)
    native_priority = f"m{prefix}" if codec.layout.match is Match.PREFIX else "priority"
    fields = enumerate(table.fields)
    return [
        "def update(kind, message):",
        " if (message.is_default_action or message.is_const or message.idle_timeout_ns",
        "   or message.HasField('counter_data') or message.HasField('meter_config')",
        "   or message.HasField('meter_counter_data') or message.HasField('time_since_last_hit')): return None",
        " priority = message.priority",
        f" if {'priority <= 0' if table.has_priorities else 'priority'}: return None",
        " matches = iter(message.match)",
        " match = next(matches, None)",
        *(line for place, field in fields for line in _field(place, field)),
        " if match is not None: return None",
        f" identifier = (({''.join(f'k{place}, ' for place in range(len(table.fields)))}), priority)",
        " before = entries.get(identifier)",
        " if kind == 3:",
        "  if before is None or before.const: return None",
        f"  after, operation, action, words = None, {_DELETE}, 0, ({'0, ' * codec.layout.data_words})",
        " else:",
        f"  if kind == 1 and before is None and len(entries) < {table.size}: operation = {_INSERT}",
        f"  elif kind == 2 and before is not None and not before.const: operation = {_MODIFY}",
        "  else: return None",
        "  written = message.action.action",
        "  identity = written.action_id",
        "  take = takers.get(identity)",
        "  if take is None: return None",
        "  taken = take(written.params)",
        "  if taken is None: return None",
        "  parameters, words = taken",
        "  action = native[identity]",
        "  after = Entry(identifier[0], priority, actions[identity], parameters, message.metadata,",
        "                message.controller_metadata)",
        f" data = pack({size}, {codec.number}, operation, action, {native_priority}, 0,",
        f"             {', '.join(_key_words(table, codec))}, *words)",
        " change = TableChange(state, identifier, before, after, PackedOperation(name, data))",
        " if after is None: del entries[identifier]",
        " else: entries[identifier] = after",
        " return change",
    ]


def _field(place: int, field: Field) -> list[str]:
    """Decode one field: k is its part of the key, v its value, m its mask, prefix length or upper end."""
    ones = (1 << field.width) - 1
    number = f"  v{place} = from_bytes(text, 'big')"
    key: list[str]
    match field.kind:
        case MatchKind.EXACT:
            key = ["  text = match.exact.value", "  if not text: return None", number]
            key += [f"  if v{place} > {ones}: return None", f"  k{place} = Exact(v{place})"]
        case MatchKind.LPM:
            key = [
                f"  lpm = match.lpm; text = lpm.value; m{place} = lpm.prefix_len",
                "  if not text: return None",
                number,
            ]
            key += [f"  if v{place} > {ones} or not 0 < m{place} <= {field.width}: return None"]
            key += [f"  if v{place} & ({ones} >> m{place}): return None", f"  k{place} = Lpm(v{place}, m{place})"]
        case MatchKind.TERNARY:
            key = ["  ternary = match.ternary; text = ternary.value; mask = ternary.mask"]
            key += ["  if not text or not mask: return None", number, f"  m{place} = from_bytes(mask, 'big')"]
            key += [f"  if not 0 < m{place} <= {ones} or v{place} & ~m{place}: return None"]
            key += [f"  k{place} = Ternary(v{place}, m{place})"]
        case MatchKind.OPTIONAL:
            key = ["  text = match.optional.value", "  if not text: return None", number]
            key += [
                f"  if v{place} > {ones}: return None",
                f"  m{place} = {ones}",
                f"  k{place} = Ternary(v{place}, {ones})",
            ]
        case _:
            key = ["  between = match.range; text = between.low; high = between.high"]
            key += ["  if not text or not high: return None", number, f"  m{place} = from_bytes(high, 'big')"]
            key += [f"  if not v{place} <= m{place} <= {ones} or (v{place} == 0 and m{place} == {ones}): return None"]
            key += [f"  k{place} = Range(v{place}, m{place})"]
    return [
        f" if match is not None and match.field_id == {field.id}:",
        *key,
        "  match = next(matches, None)",
        f" else: {_left_out(place, field)}",
    ]


def _left_out(place: int, field: Field) -> str:
    match field.kind:
        case MatchKind.EXACT:
            return "return None"
        case MatchKind.LPM:
            return f"v{place} = m{place} = 0; k{place} = Lpm(0, 0)"
        case MatchKind.RANGE:
            ones = (1 << field.width) - 1
            return f"v{place}, m{place} = 0, {ones}; k{place} = Range(0, {ones})"
        case _:
            return f"v{place} = m{place} = 0; k{place} = Ternary(0, 0)"


def _key_words(table: Table, codec: TableCodec) -> list[str]:
    """The key's words, then those of its mask unless the table is exact."""
    values: list[list[str]] = [[] for _ in range(codec.layout.words)]
    masks: list[list[str]] = [[] for _ in range(codec.layout.words)]
    for place, (field, pieces) in enumerate(zip(table.fields, codec.layout.pieces, strict=True)):
        ones = (1 << field.width) - 1
        mask = f"m{place}"
        if field.kind is MatchKind.EXACT:
            mask = str(ones)
        elif field.kind is MatchKind.LPM:
            mask = f"({ones} ^ {ones} >> m{place})"
        for piece in pieces:
            for words, whole in ((values, f"v{place}"), (masks, mask)):
                part = f"({whole} >> {piece.low} & {(1 << piece.width) - 1})" if field.width > piece.width else whole
                words[piece.word].append(f"{part} << {piece.shift}" if piece.shift else part)
    listed = values if codec.layout.match is Match.EXACT else values + masks
    return [" | ".join(parts) for parts in listed]
