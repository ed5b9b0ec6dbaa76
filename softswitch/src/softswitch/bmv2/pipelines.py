"""The control part of the JSON: actions, tables with their const entries, conditionals, action calls."""

from __future__ import annotations

from softswitch.bmv2.control import (
    Action,
    ActionCall,
    Conditional,
    ConstEntry,
    MatchKind,
    Node,
    Operand,
    Parameter,
    Pipeline,
    Primitive,
    Table,
    TableKey,
    in_order,
)
from softswitch.bmv2.expressions import FieldRef, StackElement
from softswitch.bmv2.json_reader import VALID, Json, Names, integer, number, optional_word, reads, source_of, word
from softswitch.bmv2.match import Exact, Lpm, MatchKey, Range, Ternary, check
from softswitch.bmv2.source import Source, UnsupportedProgram

BMV2_MAX_PRIORITY = 2**31 - 1
"""P4Runtime priority p is BMv2 priority BMV2_MAX_PRIORITY - p (PI, targets/bmv2/pi_tables_imp.cpp)."""

_NAMED = frozenset(
    [
        "header",
        "header_stack",
        "header_union",
        "header_union_stack",
        "calculation",
        "register_array",
        "counter_array",
        "meter_array",
        "string",
    ]
)


@reads("primitive")
def load_primitive(item: Json, names: Names, outer: Source | None) -> Primitive:
    """One primitive with its operands."""
    source = source_of(item, outer)
    return Primitive(word(item["op"]), tuple(_operand(p, names, source) for p in item["parameters"]), source)


def _operand(item: Json, names: Names, source: Source | None) -> Operand:
    kind = item["type"]
    if kind in _NAMED:
        return Operand(kind, name=word(item["value"]))
    if kind == "parameters_vector":
        return Operand(kind, elements=tuple(_operand(e, names, source) for e in item["value"]))
    if kind in ("extern", "field_list"):
        raise UnsupportedProgram(f"operand of type {kind}", source)
    if _dereferences(item):
        stack, index = names.element(item, source)
        return Operand("element", expression=index, name=stack)
    return Operand("expression", expression=names.expression(item, source))


def _dereferences(item: Json) -> bool:
    """Whether an operand is a header of a stack at a computed index."""
    while isinstance(item, dict) and item.get("type") == "expression":
        item = item["value"]
    return isinstance(item, dict) and item.get("op") == "dereference_header_stack"


def load_actions(items: Json, names: Names) -> dict[int, Action]:
    """Every action by id."""
    actions = [_action(item, names) for item in items]
    return {action.id: action for action in actions}


@reads("action")
def _action(item: Json, names: Names) -> Action:
    source = source_of(item)
    return Action(
        id=integer(item["id"]),
        name=word(item["name"]),
        parameters=tuple(Parameter(word(p["name"]), integer(p["bitwidth"])) for p in item["runtime_data"]),
        primitives=tuple(load_primitive(p, names, source) for p in item["primitives"]),
        source=source,
    )


@reads("pipeline")
def load_pipeline(item: Json, names: Names, actions: dict[int, Action], counters: dict[str, str]) -> Pipeline:
    """One control. `counters` maps a table to its direct counter."""
    nodes: dict[str, Node] = {}
    for table in item["tables"]:
        nodes[word(table["name"])] = _table(table, names, actions, counters)
    for condition in item["conditionals"]:
        nodes[word(condition["name"])] = _conditional(condition, names)
    for call in item.get("action_calls", ()):
        nodes[word(call["name"])] = _call(call, actions)
    pipeline = Pipeline(item["name"], optional_word(item["init_table"]), nodes)
    in_order(pipeline)
    return pipeline


@reads("conditional")
def _conditional(item: Json, names: Names) -> Conditional:
    source = source_of(item)
    return Conditional(
        name=word(item["name"]),
        condition=names.expression(item["expression"], source),
        if_true=optional_word(item.get("true_next")),
        if_false=optional_word(item.get("false_next")),
        source=source,
    )


@reads("action call")
def _call(item: Json, actions: dict[int, Action]) -> ActionCall:
    if item["action_id"] not in actions or actions[item["action_id"]].parameters:
        raise UnsupportedProgram(f"call of action {item['action_id']}, which is absent or takes parameters")
    return ActionCall(word(item["name"]), item["action_id"], optional_word(item.get("next_node")), source_of(item))


@reads("table")
def _table(item: Json, names: Names, actions: dict[int, Action], counters: dict[str, str]) -> Table:
    source, name = source_of(item), item["name"]
    if item["type"] not in ("simple", "indirect", "indirect_ws"):
        raise UnsupportedProgram(f"table {name!r} of type {item['type']}", source)
    keys = tuple(_table_key(k, names, name, source) for k in item["key"])
    identifiers = tuple(item["action_ids"])
    for identifier in identifiers:
        if identifier not in actions:
            raise UnsupportedProgram(f"table {name!r} refers to unknown action {identifier}", source)
    if len({actions[i].name for i in identifiers}) < len(identifiers):
        raise UnsupportedProgram(f"table {name!r} with two actions of one name", source)
    next_tables = item["next_tables"]
    by_hit = "__HIT__" in next_tables
    default = item.get("default_entry")
    default_id = default["action_id"] if default else None
    if default_id is not None and default_id not in identifiers:
        raise UnsupportedProgram(f"the default action of table {name!r} is none of its actions", source)
    entries = tuple(_entry(e, keys, item["match_type"], actions, source) for e in item.get("entries", ()))
    return Table(
        name=name,
        keys=keys,
        size=len(entries) if "entries" in item else integer(item["max_size"]),
        actions=identifiers,
        by_hit=by_hit,
        next={} if by_hit else {i: optional_word(next_tables[actions[i].name]) for i in identifiers},
        next_hit=optional_word(next_tables.get("__HIT__")),
        next_miss=optional_word(next_tables.get("__MISS__")),
        next_without_action=optional_word(item.get("base_default_next")),
        default_action=default_id,
        default_parameters=_data(default["action_data"], actions[default_id]) if default_id is not None else (),
        const_default=bool(default and (default.get("action_entry_const") or default.get("action_const"))),
        entries=entries,
        const_entries="entries" in item,
        counter=counters.get(name),
        meter=optional_word(item.get("direct_meters")),
        profile=None if item["type"] == "simple" else word(item["action_profile"]),
        idle_timeout=bool(item.get("support_timeout", False)),
        source=source,
    )


def _table_key(item: Json, names: Names, table: str, source: Source | None) -> TableKey:
    kinds = {kind.value for kind in MatchKind}
    if item["match_type"] not in kinds:
        raise UnsupportedProgram(f"match kind {item['match_type']!r} in table {table!r}", source)
    kind = MatchKind(item["match_type"])
    target = item["target"]
    field: FieldRef | StackElement
    if isinstance(target, dict):
        index = names.expression(target, source)
        if not isinstance(index, StackElement):
            raise UnsupportedProgram(f"a key of table {table!r} that is no field", source)
        field = index
    elif kind is MatchKind.VALID:
        field = names.field((target if isinstance(target, str) else target[0], VALID), source)
    else:
        field = names.field(target, source)
    mask = item.get("mask")
    return TableKey(
        name=word(item.get("name", "")),
        kind=kind,
        expression=field,
        width=names.width(field),
        mask=None if mask is None else number(mask),
    )


def _entry(
    item: Json, keys: tuple[TableKey, ...], match_type: str, actions: dict[int, Action], source: Source | None
) -> ConstEntry:
    where = source_of(item, source)
    if len(item["match_key"]) != len(keys):
        raise UnsupportedProgram(f"a const entry with {len(item['match_key'])} key fields for {len(keys)}", where)
    matches = tuple(_match(m, k, where) for m, k in zip(item["match_key"], keys, strict=True))
    action = item["action_entry"]
    ordered = match_type in ("ternary", "range")
    return ConstEntry(
        key=matches,
        priority=BMV2_MAX_PRIORITY - integer(item["priority"]) if ordered else 0,
        action=actions[action["action_id"]].id,
        parameters=_data(action["action_data"], actions[action["action_id"]]),
    )


def _data(values: Json, action: Action) -> tuple[int, ...]:
    if len(values) != len(action.parameters):
        raise UnsupportedProgram(f"action {action.name!r} with {len(values)} parameters, not {len(action.parameters)}")
    return tuple(number(v) for v in values)


def _match(item: Json, key: TableKey, where: Source | None) -> MatchKey:
    made = _made(item, key)
    try:
        if any(value >> key.width for value in made.bounds((1 << key.width) - 1)):
            raise ValueError(f"its numbers do not fit {key.width} bits")
        check(made, key.width)
    except ValueError as error:
        raise UnsupportedProgram(f"a const entry with key field {key.name!r}: {error}", where) from error
    return made


def _made(item: Json, key: TableKey) -> MatchKey:
    if key.kind is MatchKind.EXACT:
        return Exact(number(item["key"]))
    if key.kind is MatchKind.VALID:
        return Exact(int(bool(item["key"])))
    if key.kind is MatchKind.LPM:
        length = integer(item["prefix_length"], 0, key.width)
        return Lpm(number(item["key"]) >> (key.width - length) << (key.width - length), length)
    if key.kind is MatchKind.RANGE:
        return Range(number(item["start"]), number(item["end"]))
    mask = number(item["mask"])
    return Ternary(number(item["key"]) & mask, mask)
