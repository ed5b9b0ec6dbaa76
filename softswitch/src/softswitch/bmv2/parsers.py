"""The parser part of the JSON: states, what they do, and their selects."""

from __future__ import annotations

from collections.abc import Callable

from softswitch.bmv2.control import Primitive
from softswitch.bmv2.json_reader import Json, Names, integer, number, optional_word, reads, source_of, word
from softswitch.bmv2.program import ParserOp, ParserState, Transition, TransitionKey
from softswitch.bmv2.source import Source, UnsupportedProgram

ReadPrimitive = Callable[[Json, Source | None], Primitive]


def load_states(parser: Json, names: Names, primitive: ReadPrimitive) -> dict[str, ParserState]:
    """Every state of one parser by name."""
    states = {word(item["name"]): _state(item, names, primitive) for item in parser["parse_states"]}
    for state in states.values():
        for transition in state.transitions:
            if transition.next_state is not None and transition.next_state not in states:
                raise UnsupportedProgram(f"parser state {state.name!r} goes to unknown {transition.next_state!r}")
    return states


@reads("parser state")
def _state(item: Json, names: Names, primitive: ReadPrimitive) -> ParserState:
    source = source_of(item)
    return ParserState(
        name=word(item["name"]),
        ops=tuple(_op(op, names, primitive, source) for op in item["parser_ops"]),
        key=tuple(_key(k, names, source) for k in item["transition_key"]),
        transitions=tuple(_transition(t, item["name"], source) for t in item["transitions"]),
    )


@reads("parser operation")
def _op(item: Json, names: Names, primitive: ReadPrimitive, outer: Source | None) -> ParserOp:
    op, parameters = item["op"], item["parameters"]
    source = source_of(item, outer)
    if op in ("extract", "extract_VL"):
        return _extract(op, parameters, names, source)
    if op == "set":
        target, value = parameters
        if target["type"] != "field":
            raise UnsupportedProgram(f"assignment to a {target['type']}", source)
        field = names.field(target["value"], source)
        if value["type"] == "lookahead":
            return ParserOp("set", field=field, lookahead=_lookahead(value["value"]), source=source)
        return ParserOp("set", field=field, expression=names.expression(value, source), source=source)
    if op == "verify":
        condition, error = parameters
        if isinstance(error, int):
            error = {"type": "hexstr", "value": hex(error)}
        return ParserOp(
            "verify",
            condition=names.expression(condition, source),
            expression=names.expression(error, source),
            source=source,
        )
    if op == "advance":
        return ParserOp("advance", expression=names.expression(parameters[0], source), source=source)
    if op == "shift":
        bits = {"type": "hexstr", "value": hex(integer(parameters[0]) * 8)}
        return ParserOp("advance", expression=names.expression(bits), source=source)
    if op == "primitive":
        return ParserOp("primitive", primitive=primitive(parameters[0], source), source=source)
    raise UnsupportedProgram(f"parser operation {op!r}", source)


def _extract(op: str, parameters: Json, names: Names, source: Source | None) -> ParserOp:
    target = parameters[0]
    if target["type"] == "regular":
        header = names.header(target["value"], source)
        if header.metadata:
            raise UnsupportedProgram(f"extraction into metadata: {header.name!r}", source)
        header_type = header.type
    elif target["type"] == "stack":
        header_type = names.stack(target["value"], source).type
    elif target["type"] == "union_stack":
        stack, member = target["value"]
        header_type = names.union_member(stack, member, source)
    else:
        raise UnsupportedProgram(f"extraction into a {target['type']}", source)
    varbit = any(f.varbit for f in header_type.fields)
    if varbit != (op == "extract_VL"):
        raise UnsupportedProgram(f"extraction of {target['value']!r}: a varbit field needs a length", source)
    length = names.expression(parameters[1], source) if op == "extract_VL" else None
    if target["type"] == "union_stack":
        return ParserOp("extract", target=stack, stack=True, member=member, expression=length, source=source)
    return ParserOp(
        "extract", target=target["value"], stack=target["type"] == "stack", expression=length, source=source
    )


def _lookahead(value: Json) -> tuple[int, int]:
    offset, width = value
    return integer(offset), integer(width, 1)


def _key(item: Json, names: Names, source: Source | None) -> TransitionKey:
    kind, value = item["type"], item["value"]
    if kind == "field":
        field = names.field(value, source)
        return TransitionKey(names.width(field), expression=field)
    if kind == "stack_field":
        width = names.stack(value[0], source).type.field(value[1]).width
        return TransitionKey(width, expression=names.expression(item, source))
    if kind == "union_stack_field":
        width = names.union_member(value[0], value[1], source).field(value[2]).width
        return TransitionKey(width, expression=names.expression(item, source))
    if kind == "lookahead":
        return TransitionKey(value[1], lookahead=_lookahead(value))
    raise UnsupportedProgram(f"select on a {kind}", source)


def _transition(item: Json, state: str, source: Source | None) -> Transition:
    kind = item.get("type", "hexstr")
    if kind == "default" or item["value"] == "default":
        return Transition(None, None, optional_word(item["next_state"]))
    if kind == "hexstr":
        mask = item.get("mask")
        return Transition(
            number(item["value"]), None if mask is None else number(mask), optional_word(item["next_state"])
        )
    if kind == "parse_vset" and item.get("mask") is None:
        return Transition(None, None, optional_word(item["next_state"]), value_set=word(item["value"]))
    raise UnsupportedProgram(f"parser state {state!r} selects on a {kind} with a mask", source)
