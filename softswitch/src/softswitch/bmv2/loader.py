"""Reads BMv2 JSON text into a `Program`. What cannot be run is refused here or by the code generator, by name."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from softswitch.bmv2.control import Action
from softswitch.bmv2.expressions import FieldRef
from softswitch.bmv2.json_reader import Json, Names, integer, number, optional_word, reads, source_of, word
from softswitch.bmv2.parsers import load_states
from softswitch.bmv2.pipelines import load_actions, load_pipeline, load_primitive
from softswitch.bmv2.program import (
    ActionProfile,
    Calculation,
    CalculationInput,
    Checksum,
    CounterArray,
    Field,
    FieldList,
    Header,
    HeaderType,
    LearnList,
    MeterArray,
    ParserState,
    Program,
    RegisterArray,
    Stack,
    Union,
    UnionStack,
    ValueSet,
)
from softswitch.bmv2.source import Source, UnsupportedProgram

MAX_HEADER_BITS = 2**19
"""As many as the longest packet has."""


def load_program(text: str) -> Program:
    """Raises ValueError for text that is not BMv2 JSON, UnsupportedProgram for what does not exist here."""
    try:
        root = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"the device configuration is not JSON: {error}") from error
    try:
        return _load(root)
    except RecursionError as error:
        raise ValueError("the device configuration is not BMv2 JSON: nested too deeply") from error
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"the device configuration is not BMv2 JSON: {type(error).__name__}: {error}") from error


def _load(root: Json) -> Program:
    version = root.get("__meta__", {}).get("version", [2, 0])
    if version[0] != 2:
        raise UnsupportedProgram(f"BMv2 JSON version {version[0]}.{version[1]}; version 2 is understood")
    if "header_types" in root and "errors" not in root:
        raise UnsupportedProgram(
            "JSON in the format of p4c-bm, the former compiler of P4-14: p4c-bm2-ss --std p4-14 compiles such programs"
        )
    for extern in root.get("extern_instances", ()):
        what = f"extern {extern['name']!r} of type {extern.get('type')!r}"
        raise UnsupportedProgram(what, source_of(extern, _where_called(root["actions"], extern["name"])))
    types = {word(t["name"]): _header_type(t) for t in root["header_types"]}
    headers = {word(h["name"]): _header(h, types) for h in root["headers"]}
    by_id = {integer(h["id"]): headers[h["name"]] for h in root["headers"]}
    stacks = {word(s["name"]): _stack(s, types, by_id) for s in root["header_stacks"]}
    unions, union_stacks = _unions(root, types, by_id)
    aliases = {name: (target[0], target[1]) for name, target in root.get("field_aliases", ())}
    names = Names(headers, stacks, unions, union_stacks, aliases)
    if "standard_metadata" not in headers:
        raise UnsupportedProgram("a program without standard_metadata (not v1model)")
    parser, deparser = _only(root, "parsers"), _only(root, "deparsers")
    states = load_states(parser, names, lambda item, source: load_primitive(item, names, source))
    actions = load_actions(root["actions"], names)
    direct = {c["binding"]: c["name"] for c in root["counter_arrays"] if c.get("is_direct")}
    profiles = [p for pipeline in root["pipelines"] for p in pipeline.get("action_profiles", ())]
    checksums = tuple(_checksum(c, names) for c in root["checksums"])
    wanted = _where_calculated(actions, checksums)
    return Program(
        header_types=types,
        headers=headers,
        stacks=stacks,
        unions=unions,
        union_stacks=union_stacks,
        parser_start=_start(parser, states),
        parser_states=states,
        errors={word(name): integer(value) for name, value in root["errors"]},
        deparser=tuple(names.header(h).name for h in deparser["order"]),
        deparser_primitives=tuple(
            load_primitive(p, names, source_of(deparser)) for p in deparser.get("primitives", ())
        ),
        actions=actions,
        calculations={
            **{word(c["name"]): _calculation(c, names, wanted) for c in root["calculations"]},
            **{_selector(p): _selection(p, names) for p in profiles if "selector" in p},
        },
        checksums=checksums,
        counters={word(c["name"]): _counter(c) for c in root["counter_arrays"]},
        meters={word(m["name"]): _meter(m, names) for m in root.get("meter_arrays", ())},
        profiles={word(p["name"]): _profile(p) for p in profiles},
        value_sets={word(v["name"]): _value_set(v) for v in root.get("parse_vsets", ())},
        registers={word(r["name"]): _register(r) for r in root["register_arrays"]},
        field_lists={integer(f["id"]): _field_list(f, names) for f in root["field_lists"]},
        learn_lists={integer(d["id"]): _learn_list(d, names) for d in root["learn_lists"]},
        pipelines={word(p["name"]): load_pipeline(p, names, actions, direct) for p in root["pipelines"]},
    )


def _where_called(actions: Json, extern: str) -> Source | None:
    """Where an extern is first called: p4c gives places to calls, not to instances."""
    calls = (
        primitive
        for action in actions
        for primitive in action["primitives"]
        if {"type": "extern", "value": extern} in primitive["parameters"]
    )
    return next((source_of(call) for call in calls), None)


def _start(parser: Json, states: dict[str, ParserState]) -> str | None:
    start = optional_word(parser["init_state"])
    if start is not None and start not in states:
        raise UnsupportedProgram(f"the parser starts in unknown state {start!r}")
    return start


@reads("header")
def _header(item: Json, types: dict[str, HeaderType]) -> Header:
    kind, metadata = types[item["header_type"]], item["metadata"]
    if not isinstance(metadata, bool):
        raise ValueError(f"{metadata!r} where true or false belongs")
    # p4c gives a varbit that is no field of a header (an input of hash(), say) a header in metadata, of one field
    if metadata and len(kind.fields) > 1 and any(field.varbit for field in kind.fields):
        raise ValueError(f"a varbit field in metadata, of type {kind.name!r}")
    return Header(word(item["name"]), kind, metadata)


@reads("header stack")
def _stack(item: Json, types: dict[str, HeaderType], headers: dict[int, Header]) -> Stack:
    kind = types[item["header_type"]]
    elements = [headers[integer(i)] for i in item["header_ids"]]
    if any(element.type is not kind for element in elements):
        raise ValueError(f"elements {[element.name for element in elements]}, not all of type {kind.name!r}")
    return Stack(item["name"], kind, tuple(element.name for element in elements))


@reads("counter")
def _counter(item: Json) -> CounterArray:
    direct = bool(item.get("is_direct"))
    table = word(item["binding"]) if direct else None
    return CounterArray(item["name"], integer(item.get("size", 0)), table, source_of(item))


@reads("register")
def _register(item: Json) -> RegisterArray:
    return RegisterArray(item["name"], integer(item["bitwidth"], 1), integer(item["size"]), source_of(item))


@reads("meter")
def _meter(item: Json, names: Names) -> MeterArray:
    source = source_of(item)
    if item["type"] not in ("packets", "bytes") or item.get("rate_count", 2) != 2:
        raise UnsupportedProgram(
            f"meter {item['name']!r} of {item['type']} with {item.get('rate_count')} rates", source
        )
    direct = bool(item.get("is_direct"))
    return MeterArray(
        name=item["name"],
        size=integer(item["size"]),
        packets=item["type"] == "packets",
        table=word(item["binding"]) if direct else None,
        target=names.field(item["result_target"], source) if direct else None,
        source=source,
    )


@reads("action profile")
def _profile(item: Json) -> ActionProfile:
    selector = _selector(item) if "selector" in item else None
    return ActionProfile(item["name"], integer(item["max_size"]), selector, source_of(item))


def _selector(item: Json) -> str:
    """The name that the calculation of an action selector goes by."""
    return f"{word(item['name'])}$selector"


@reads("action selector")
def _selection(item: Json, names: Names) -> Calculation:
    source, selector = source_of(item), item["selector"]
    return Calculation(
        _selector(item), word(selector["algo"]), tuple(_input(i, names, source) for i in selector["input"])
    )


@reads("parser value set")
def _value_set(item: Json) -> ValueSet:
    return ValueSet(item["name"], integer(item["compressed_bitwidth"], 1), integer(item.get("max_size", 2**31 - 1)))


def _only(root: Json, key: str) -> Json:
    if len(root[key]) != 1:
        raise UnsupportedProgram(f"{len(root[key])} {key}; v1model has one")
    return root[key][0]


def _unions(
    root: Json, types: dict[str, HeaderType], headers: dict[int, Header]
) -> tuple[dict[str, Union], dict[str, UnionStack]]:
    members = {
        word(t["name"]): {word(name): types[kind] for name, kind in t["headers"]}
        for t in root.get("header_union_types", ())
    }
    by_id = {integer(u["id"]): _union(u, members, headers) for u in root.get("header_unions", ())}
    kinds = {integer(u["id"]): u["union_type"] for u in root.get("header_unions", ())}
    stacks = {word(s["name"]): _union_stack(s, members, by_id, kinds) for s in root.get("header_union_stacks", ())}
    return {u.name: u for u in by_id.values()}, stacks


@reads("header union")
def _union(item: Json, members: dict[str, dict[str, HeaderType]], headers: dict[int, Header]) -> Union:
    elements, kinds = [headers[integer(i)] for i in item["header_ids"]], members[item["union_type"]]
    if [element.type for element in elements] != list(kinds.values()):
        raise ValueError(f"headers {[element.name for element in elements]}, not of its members' types")
    return Union(word(item["name"]), tuple(element.name for element in elements))


@reads("header union stack")
def _union_stack(
    item: Json, members: dict[str, dict[str, HeaderType]], unions: dict[int, Union], kinds: dict[int, str]
) -> UnionStack:
    kind, ids = word(item["union_type"]), [integer(i) for i in item["header_union_ids"]]
    if any(kinds[i] != kind for i in ids):
        raise ValueError(f"elements {[unions[i].name for i in ids]}, not all of type {kind!r}")
    return UnionStack(item["name"], members[kind], tuple(unions[i] for i in ids))


@reads("header type")
def _header_type(item: Json) -> HeaderType:
    fields = []
    fixed = sum(integer(f[1]) for f in item["fields"] if f[1] != "*")
    for entry in item["fields"]:
        signed = len(entry) > 2 and bool(entry[2])
        if entry[1] == "*":
            length = integer(item["max_length"]) * 8 - fixed
            fields.append(Field(word(entry[0]), integer(length, 1), signed, varbit=True))
        else:
            fields.append(Field(word(entry[0]), entry[1], signed))
        if len(entry) > 3 and entry[3]:
            raise UnsupportedProgram(f"saturating field {entry[0]!r} of {item['name']!r}")
    if len({f.name for f in fields}) < len(fields):
        raise UnsupportedProgram("two fields of one name")
    if sum(f.width for f in fields) > MAX_HEADER_BITS:
        raise UnsupportedProgram(f"more than {MAX_HEADER_BITS} bits")
    return HeaderType(item["name"], tuple(fields))


def _where_calculated(actions: Mapping[int, Action], checksums: Iterable[Checksum]) -> dict[str, Source | None]:
    """Where the program asks for each calculation: p4c gives places to statements, not to calculations."""
    hashes = {
        operand.name: primitive.source
        for action in actions.values()
        for primitive in action.primitives
        for operand in primitive.operands
        if operand.kind == "calculation"
    }
    return hashes | {checksum.calculation: checksum.source for checksum in checksums}


@reads("calculation")
def _calculation(item: Json, names: Names, wanted: Mapping[str, Source | None]) -> Calculation:
    source = source_of(item, wanted.get(item["name"]))
    inputs = tuple(_input(i, names, source) for i in item["input"])
    return Calculation(item["name"], word(item["algo"]), tuple(i for i in inputs if i.width or not i.field), source)


def _input(item: Json, names: Names, source: Source | None) -> CalculationInput:
    kind = item["type"]
    if kind == "field":
        field = names.field(item["value"], source)
        return CalculationInput(kind, field=field, width=names.width(field))
    if kind == "hexstr":
        return CalculationInput(kind, value=number(item["value"]), width=integer(item["bitwidth"], 1))
    if kind == "header":
        header = names.header(item["value"], source)
        return CalculationInput(kind, header=header.name, width=header.type.width)
    if kind == "payload":
        return CalculationInput(kind)
    what = "a bool or another expression" if kind == "expression" else repr(kind)
    raise UnsupportedProgram(f"a hash or checksum over {what}", source)


@reads("checksum")
def _checksum(item: Json, names: Names) -> Checksum:
    source = source_of(item)
    if item["type"] != "generic":
        raise UnsupportedProgram(f"checksum of type {item['type']!r}", source)
    condition = item.get("if_cond")
    return Checksum(
        name=word(item["name"]),
        target=names.field(item["target"], source),
        calculation=word(item["calculation"]),
        condition=None if condition is None else names.expression(condition, source),
        verify=bool(item.get("verify", True)),
        update=bool(item.get("update", True)),
        source=source,
    )


@reads("field list")
def _field_list(item: Json, names: Names) -> FieldList:
    fields = []
    for element in item["elements"]:
        if element["type"] != "field":
            raise UnsupportedProgram(f"field list {item['name']!r} with a {element['type']}", source_of(item))
        fields.append(names.field(element["value"]))
    return FieldList(item["id"], tuple(fields))


@reads("digest")
def _learn_list(item: Json, names: Names) -> LearnList:
    source = source_of(item)
    elements = tuple(names.expression(e, source) for e in item["elements"])
    fields = [e for e in elements if isinstance(e, FieldRef)]
    if len(fields) != len(elements):
        raise UnsupportedProgram(f"digest {item['name']!r} of other things than fields", source)
    return LearnList(item["id"], item["name"], elements, tuple(names.width(f) for f in fields), source)
