"""What cannot run is refused by name and place, whatever part of the JSON it stands in."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from softswitch.bmv2.expressions import Binary, Const, FieldRef
from softswitch.bmv2.loader import load_program
from softswitch.bmv2.match import Lpm, Ternary
from softswitch.bmv2.source import UnsupportedProgram
from softswitch.codegen.program import generate
from softswitch.engine.engine import Engine

from tests.softswitch.native.bmv2 import PROGRAMS
from tests.softswitch.native.builder import ProgramBuilder, assign, primitive, send_to

SOURCE = {"filename": "thing.p4", "line": 42, "column": 7, "source_fragment": "something"}


def root() -> dict[str, Any]:
    """A small valid program."""
    builder = ProgramBuilder([("a", 32), ("b", 8)], [("c", 8)], [("d", 16)])
    builder.action("go", [send_to()])
    made: dict[str, Any] = json.loads(builder.text())
    return made


def refusal(change: Callable[[dict[str, Any]], object]) -> UnsupportedProgram:
    """How a changed program is refused."""
    program = root()
    change(program)
    with pytest.raises(UnsupportedProgram) as caught:
        generate(load_program(json.dumps(program)))
    return caught.value


def add_primitive(item: dict[str, Any]) -> Callable[[dict[str, Any]], None]:
    """Appends to the one action, with a source position."""
    return lambda program: program["actions"][0]["primitives"].append(item | {"source_info": SOURCE})


def hashing(algorithm: str, *inputs: dict[str, Any]) -> Callable[[dict[str, Any]], None]:
    """Appends a hash. As p4c has it, the statement has a source position and the calculation none."""

    def change(program: dict[str, Any]) -> None:
        program["calculations"].append({"name": "calc", "id": 1, "algo": algorithm, "input": inputs})
        zero = {"type": "hexstr", "value": "0x0"}
        operands = (FIELD_B, zero, {"type": "calculation", "value": "calc"}, zero)
        add_primitive(primitive("modify_field_with_hash_based_offset", *operands))(program)

    return change


FIELD_B = {"type": "field", "value": ["in", "b"]}
A = FieldRef("in", "a")
ALIEN = {"type": "header", "value": "alien"}
IN = {"type": "header", "value": "in"}

NONE: dict[str, Any] = {"parameters": []}

REFUSED: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "unknown primitive": (add_primitive(primitive("fly")), "primitive 'fly'"),
    "unknown operator": (add_primitive(assign("in", "a", Binary("**", A, A))), "operator '**'"),
    "unknown field": (add_primitive(assign("in", "z", Const(1))), "unknown field 'z'"),
    "unknown header": (add_primitive(primitive("add_header", ALIEN)), "header"),
    "unknown meter": (
        add_primitive(
            primitive(
                "execute_meter",
                {"type": "meter_array", "value": "m"},
                {"type": "hexstr", "value": "0x0"},
                {"type": "field", "value": ["in", "b"]},
            )
        ),
        "unknown meter 'm'",
    ),
    "assignment between types": (
        add_primitive(primitive("assign_header", IN, {"type": "header", "value": "out"})),
        "another type",
    ),
    "assignment of what is no varbit field as one": (
        add_primitive(primitive("assign_VL", *({"type": "field", "value": ["in", name]} for name in "ab"))),
        "one that is none",
    ),
    "arithmetic too wide": (
        add_primitive(assign("in", "b", Binary(">>", Binary("<<", A, Const(4080)), Const(4000)))),
        "4096 bits",
    ),
    "jump out of the action": (
        add_primitive(primitive("_jump", {"type": "hexstr", "value": "0x63"})),
        "_jump out of its action",
    ),
    "jump without a place": (add_primitive(primitive("_jump")), "operands of primitive '_jump'"),
    "jump over a header": (
        add_primitive(primitive("_jump_if_zero", IN, {"type": "hexstr", "value": "0x1"})),
        "operands of primitive '_jump_if_zero'",
    ),
    "unknown union": (
        add_primitive(primitive("assign_union", *2 * ({"type": "header_union", "value": "alien"},))),
        "assign_union",
    ),
    "two fields of one name": (
        lambda program: program["header_types"][1].update(fields=[["a", 8], ["a", 8]], source_info=SOURCE),
        "two fields of one name",
    ),
    "a default entry with data that its action does not take": (
        lambda program: program["pipelines"][0]["tables"][0].update(
            default_entry={"action_id": 0, "action_data": ["0x1"]}, source_info=SOURCE
        ),
        "action 'go' with 1 parameters, not 0",
    ),
    "two actions of one name": (
        lambda program: (
            program["actions"].append(program["actions"][0] | {"id": 9}),
            program["pipelines"][0]["tables"][0].update(action_ids=[0, 9], source_info=SOURCE),
        ),
        "two actions of one name",
    ),
    "unknown hash": (hashing("random", FIELD_B), "hash algorithm 'random'"),
    "hash of a bool": (hashing("crc32", {"type": "expression", "value": {"op": "d2b"}}), "over a bool"),
    "hash of a header off a byte boundary": (
        hashing("crc32", {"type": "hexstr", "value": "0x1", "bitwidth": 3}, IN),
        "off a byte boundary",
    ),
    "header as a number": (
        add_primitive(
            primitive(
                "assign",
                {"type": "field", "value": ["in", "b"]},
                {"type": "expression", "value": {"op": "+", "left": IN, "right": IN}},
            )
        ),
        "header as an operand of '+'",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_place(name: str) -> None:
    change, words = REFUSED[name]
    error = refusal(change)
    assert words in error.construct
    assert error.source is not None and (error.source.filename, error.source.line) == ("thing.p4", 42)
    assert "thing.p4:42" in str(error)


def test_externs_are_refused_where_they_are_called() -> None:
    def call(program: dict[str, Any]) -> None:
        program["extern_instances"] = [{"name": "thing", "id": 0, "type": "Counter2", "attribute_values": []}]
        add_primitive(primitive("_Counter2_add", {"type": "extern", "value": "thing"}))(program)

    error = refusal(call)
    assert error.construct == "extern 'thing' of type 'Counter2'"
    assert error.source is not None and error.source.line == 42


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"type": "indirect", "action_profile": "gone"}, "action profile 'gone'"),
        ({"direct_meters": "gone"}, "direct meter 'gone'"),
    ],
)
def test_a_table_of_things_that_are_not_there_is_refused(change: dict[str, Any], words: str) -> None:
    def broken(program: dict[str, Any]) -> None:
        program["pipelines"][0]["tables"][0].update(change | {"source_info": SOURCE})

    error = refusal(broken)
    assert words in error.construct
    assert error.source is not None and error.source.line == 42


def test_a_value_set_of_another_width_is_refused() -> None:
    program = json.loads((PROGRAMS / "metered.json").read_text())
    program["parse_vsets"][0]["compressed_bitwidth"] = 9
    with pytest.raises(UnsupportedProgram, match=r"value set 'P\.deep'"):
        generate(load_program(json.dumps(program)))


def test_a_meter_of_three_rates_is_refused() -> None:
    program = json.loads((PROGRAMS / "metered.json").read_text())
    program["meter_arrays"][0]["rate_count"] = 3
    with pytest.raises(UnsupportedProgram, match="3 rates") as caught:
        load_program(json.dumps(program))
    assert caught.value.source is not None and caught.value.source.filename == "metered.p4"


def test_loop_in_a_pipeline_refused() -> None:
    def change(program: dict[str, Any]) -> None:
        table = program["pipelines"][0]["tables"][0]
        table["next_tables"] = {"go": "run"}

    assert "loops at 'run'" in refusal(change).construct


def test_the_widest_fields_only_travel() -> None:
    builder = ProgramBuilder([("a", 4800)])
    builder.action("go", [send_to()])
    generate(load_program(builder.text()))
    builder = ProgramBuilder([("a", 4800)])
    builder.action("go", [assign("in", "a", Const(1))])
    with pytest.raises(UnsupportedProgram, match="field of 4800 bits in_t"):
        generate(load_program(builder.text()))


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"header_types": 5}', '{"header_types": [], "headers": []}'])
def test_not_bmv2_json(text: str) -> None:
    with pytest.raises((ValueError, UnsupportedProgram)):
        load_program(text)


def test_what_is_malformed_is_named_with_its_place() -> None:
    def spoil(program: dict[str, Any]) -> None:
        program["register_arrays"] = [{"name": "cells", "bitwidth": "wide", "size": 4, "source_info": SOURCE}]

    error = refusal(spoil)
    assert error.construct == "register 'cells', malformed: 'wide' where a number from 1 to 2147483647 belongs"
    assert str(error).startswith("thing.p4:42: ")
    parser = "parser state 'start': parser operation 'fly'"
    assert (
        parser
        in refusal(lambda p: p["parsers"][0]["parse_states"][0]["parser_ops"].append({"op": "fly"} | NONE)).construct
    )


def test_other_json_version_refused() -> None:
    assert "version 3.1" in refusal(lambda p: p.update({"__meta__": {"version": [3, 1]}})).construct


def test_const_entries_are_read() -> None:
    program = load_program((PROGRAMS / "matching.json").read_text())
    prefix = next(t for name, t in program.tables.items() if name.endswith("prefix"))
    assert prefix.const_entries and prefix.size == 4
    assert Lpm(0x0A0A0000, 16) in [e.key[0] for e in prefix.entries]
    ternary = next(t for name, t in program.tables.items() if name.endswith("ternary_"))
    assert [e.priority for e in ternary.entries] == sorted((e.priority for e in ternary.entries), reverse=True)
    assert ternary.entries[0].key[0] == Ternary(0x1200, 0xFF00)


@pytest.mark.parametrize(
    ("metadata", "words"), [(True, "a varbit field in metadata"), ("field", "'field' where true or false belongs")]
)
def test_a_header_is_either_on_the_wire_or_metadata(metadata: object, words: str) -> None:
    program = json.loads((PROGRAMS / "parsing.json").read_text())
    (options,) = (header for header in program["headers"] if header["name"] == "options")
    options["metadata"] = metadata
    with pytest.raises(UnsupportedProgram, match=f"header 'options', malformed: {words}"):
        load_program(json.dumps(program))


@pytest.mark.parametrize("name", ["header_stacks", "header_unions", "header_union_stacks"])
@pytest.mark.parametrize("element", [False, 1])
def test_a_stack_or_union_is_made_of_its_type(name: str, element: object) -> None:
    program = json.loads((PROGRAMS / ("parsing.json" if name == "header_stacks" else "unions.json")).read_text())
    ids = "header_union_ids" if name == "header_union_stacks" else "header_ids"
    program["header_union_types"].append({"name": "rest_t", "id": 99, "headers": []})
    program["header_unions"].append({"name": "rest", "id": 1, "union_type": "rest_t", "header_ids": []})
    program[name][0][ids][-1] = element
    with pytest.raises(UnsupportedProgram, match=r"malformed: .*(type|where a number from)"):
        load_program(json.dumps(program))


def test_a_parser_extracts_headers_alone() -> None:
    program = json.loads((PROGRAMS / "parsing.json").read_text())
    (ethernet,) = (header for header in program["headers"] if header["name"] == "ethernet")
    ethernet["metadata"] = True
    with pytest.raises(UnsupportedProgram, match=r"parser state 'start': .*extraction into metadata: 'ethernet'"):
        load_program(json.dumps(program))


def test_fields_of_former_standard_metadata_are_memory_of_the_packet(engine: Engine) -> None:
    builder = ProgramBuilder([("x", 32)])
    standard = next(t for t in builder.root["header_types"] if t["name"] == "standard_metadata")
    standard["fields"] = [*standard["fields"], ["clone_spec", 32, False], ["resubmit_flag", 1, False]]
    spec = FieldRef("standard_metadata", "clone_spec")
    before = assign("in", "x", Binary("+", FieldRef("in", "x"), spec))
    builder.action("run", [send_to(), before, assign("standard_metadata", "clone_spec", Const(7)), before])
    fields = [{"type": "field", "value": ["standard_metadata", name]} for name in ("clone_spec", "ingress_port")]
    builder.root["field_lists"] = [{"id": 1, "name": "all", "elements": fields}]
    engine.load(builder.text())
    for _ in range(2):
        assert engine.process(1, bytes(4)) == [(1, bytes([0, 0, 0, 7]))]


def test_the_json_of_the_former_compiler_is_named() -> None:
    with pytest.raises(UnsupportedProgram, match=r"p4c-bm.*p4c-bm2-ss --std p4-14"):
        load_program('{"header_types": [], "headers": [], "parsers": [], "__meta__": {"version": [2, 5]}}')
