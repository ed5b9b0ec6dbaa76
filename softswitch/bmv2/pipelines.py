"""The control part of the JSON: actions, tables with their const entries, conditionals, action calls."""

from __future__ import annotations

from softswitch.bmv2.json_reader import VALID, Json, Names, integer, number, optional_word, source_of, word
from softswitch.bmv2.program import (
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
    Source,
    Table,
    TableKey,
    UnsupportedProgram,
)
from softswitch.entries import Exact, Lpm, MatchKey, Range, Ternary

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
    if kind == "expression" and "op" in item["value"] and item["value"]["op"] == "dereference_header_stack":
        stack = names.stack(item["value"]["left"]["value"], source)
        index = names.expression(item["value"]["right"], source)
        return Operand("element", expression=index, name=stack.name)
    return Operand("expression", expression=names.expression(item, source))


def load_actions(items: Json, names: Names) -> dict[int, Action]:
    """Every action by id."""
    actions = {}
    for item in items:
        source = source_of(item)
        actions[integer(item["id"])] = Action(
            id=item["id"],
            name=word(item["name"]),
            parameters=tuple(Parameter(word(p["name"]), integer(p["bitwidth"], 1)) for p in item["runtime_data"]),
            primitives=tuple(load_primitive(p, names, source) for p in item["primitives"]),
            source=source,
        )
    return actions


def load_pipeline(item: Json, names: Names, actions: dict[int, Action], counters: dict[str, str]) -> Pipeline:
    """One control. `counters` maps a table to its direct counter."""
    nodes: dict[str, Node] = {}
    for table in item["tables"]:
        nodes[word(table["name"])] = _table(table, names, actions, counters)
    for condition in item["conditionals"]:
        source = source_of(condition)
        nodes[word(condition["name"])] = Conditional(
            name=condition["name"],
            condition=names.expression(condition["expression"], source),
            if_true=optional_word(condition.get("true_next")),
            if_false=optional_word(condition.get("false_next")),
            source=source,
        )
    for call in item.get("action_calls", ()):
        if call["action_id"] not in actions or actions[call["action_id"]].parameters:
            raise UnsupportedProgram(f"call of action {call['action_id']}, which is absent or takes parameters")
        nodes[word(call["name"])] = ActionCall(
            call["name"], call["action_id"], optional_word(call.get("next_node")), source_of(call)
        )
    pipeline = Pipeline(item["name"], optional_word(item["init_table"]), nodes)
    _check_edges(pipeline)
    return pipeline


def _check_edges(pipeline: Pipeline) -> None:
    """Every edge leads to a node, and no path comes back (BMv2 would loop for ever)."""
    state: dict[str, int] = {}
    stack: list[tuple[str, list[str]]] = []

    def enter(name: str) -> None:
        if name not in pipeline.nodes:
            raise UnsupportedProgram(f"pipeline {pipeline.name!r} goes to unknown node {name!r}")
        if state.get(name) == 1:
            raise UnsupportedProgram(f"pipeline {pipeline.name!r} loops at {name!r}", pipeline.nodes[name].source)
        if name not in state:
            state[name] = 1
            stack.append((name, [s for s in successors(pipeline.nodes[name]) if s is not None]))

    if pipeline.first is not None:
        enter(pipeline.first)
    while stack:
        name, rest = stack[-1]
        if rest:
            enter(rest.pop())
        else:
            state[name] = 2
            stack.pop()


def successors(node: Node) -> tuple[str | None, ...]:
    """Where control may go from a node."""
    if isinstance(node, Conditional):
        return (node.if_true, node.if_false)
    if isinstance(node, ActionCall):
        return (node.next,)
    if node.by_hit:
        return (node.next_hit, node.next_miss)
    return tuple(dict.fromkeys([*node.next.values(), node.next_without_action]))


def _table(item: Json, names: Names, actions: dict[int, Action], counters: dict[str, str]) -> Table:
    source, name = source_of(item), item["name"]
    if item["type"] not in ("simple", "indirect", "indirect_ws"):
        raise UnsupportedProgram(f"table {name!r} of type {item['type']}", source)
    keys = tuple(_table_key(k, names, name, source) for k in item["key"])
    identifiers = tuple(item["action_ids"])
    for identifier in identifiers:
        if identifier not in actions:
            raise UnsupportedProgram(f"table {name!r} refers to unknown action {identifier}", source)
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
        default_parameters=tuple(number(v) for v in default["action_data"]) if default else (),
        const_default=bool(default and default.get("action_entry_const", False)),
        const_default_action=default_id if default and default.get("action_const", False) else None,
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
    if kind is MatchKind.VALID:
        field = names.field((target if isinstance(target, str) else target[0], VALID), source)
    else:
        field = names.field(target, source)
    mask = item.get("mask")
    return TableKey(
        name=word(item.get("name", f"{field.header}.{field.field}")),
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
    matches = tuple(_match(m, k) for m, k in zip(item["match_key"], keys, strict=True))
    action = item["action_entry"]
    ordered = match_type in ("ternary", "range")
    return ConstEntry(
        key=matches,
        priority=BMV2_MAX_PRIORITY - integer(item["priority"]) if ordered else 0,
        action=actions[action["action_id"]].id,
        parameters=tuple(number(v) for v in action["action_data"]),
    )


def _match(item: Json, key: TableKey) -> MatchKey:
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
