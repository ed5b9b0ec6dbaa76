"""Statements that end early: assertions, and loops in actions."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from softswitch.bmv2.expressions import Binary, Const, FieldRef
from softswitch.engine.engine import Engine

from tests.softswitch.native.builder import ProgramBuilder, assign, primitive, send_to, to_json

X, COUNT = FieldRef("in", "x"), FieldRef("m", "count")


def expression(e: Any) -> dict[str, Any]:
    return {"type": "expression", "value": to_json(e)}


def log(text: str) -> dict[str, Any]:
    return primitive("log_msg", {"type": "string", "value": text}, {"type": "parameters_vector", "value": []})


CHECK = [primitive("assert", expression(Binary("!=", X, Const(7)))), log("after the assertion")]


def put(builder: ProgramBuilder, block: str) -> None:
    """The assertion, and a statement behind it, in one block of a program that logs what it does later."""
    parser, deparser = builder.root["parsers"][0]["parse_states"][0], builder.root["deparsers"][0]
    later = [log("in a later block")]
    if block == "parser":
        parser["parser_ops"] += [{"op": "primitive", "parameters": [item]} for item in CHECK]
    builder.action("run", [send_to(1), *(CHECK if block == "ingress" else []), *(later if block != "deparser" else [])])
    deparser["primitives"] = CHECK if block == "deparser" else later


@pytest.mark.parametrize("block", ["parser", "ingress", "deparser"])
def test_a_failed_assertion_drops_the_packet_at_once(
    block: str, engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    builder = ProgramBuilder([("x", 8)])
    put(builder, block)
    engine.load(builder.text())
    with caplog.at_level(logging.INFO, logger="softswitch.dataplane"):
        assert engine.process(1, b"\7") == []
        engine.read_events()
        assert [record.message for record in caplog.records] == ["assert failed"]
        assert engine.process(1, b"\6") == [(1, b"\6")]
        engine.read_events()
    assert "after the assertion" in caplog.text


def counting(turns: Binary | Const | FieldRef) -> ProgramBuilder:
    """`for (count = 0; count < turns; count = count + 1) { x = x + 2; }`, and x goes out."""
    builder = ProgramBuilder([("x", 32)], metadata=[("count", 32)])
    jump = {"type": "hexstr", "value": "0x6"}
    builder.action(
        "run",
        [
            send_to(1),
            assign("m", "count", Const(0)),
            primitive("_jump_if_zero", expression(Binary("<", COUNT, turns)), jump),
            assign("in", "x", Binary("&", Binary("+", X, Const(2)), Const(2**32 - 1))),
            assign("m", "count", Binary("+", COUNT, Const(1))),
            primitive("_jump", {"type": "hexstr", "value": "0x2"}),
        ],
    )
    return builder


def test_a_loop_with_a_bound_that_is_known_at_run_time(engine: Engine) -> None:
    engine.load(counting(Binary("&", FieldRef("standard_metadata", "ingress_port"), Const(255))).text())
    for port in (0, 1, 200):
        assert engine.process(port, bytes(4)) == [(1, (2 * port).to_bytes(4, "big"))]


def test_a_loop_without_end_drops_the_packet(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    engine.load(counting(Const(2**32 - 1)).text())
    with caplog.at_level(logging.ERROR, logger="softswitch.dataplane"):
        assert engine.process(1, bytes(4)) == []
        engine.read_events()
    assert "a loop of action run ran more than 65536 times" in caplog.text
    engine.load(counting(Const(65536)).text())
    assert engine.process(1, bytes(4)) == [(1, (2 * 65536).to_bytes(4, "big"))]


def test_headers_and_fields_of_no_bits(engine: Engine) -> None:
    builder = ProgramBuilder([("x", 8), ("nothing", 0)], [("none", 0)], metadata=[("m", 0)])
    nothing = FieldRef("in", "nothing")
    copies = [assign("in", "nothing", Const(1)), assign("m", "m", nothing), assign("in", "x", Binary("+", X, nothing))]
    there = primitive("add_header", {"type": "header", "value": "out"})
    forward = builder.action("run", [send_to(2), there, *copies], [("p", 0)])
    builder.table("t", [("in", "x", "exact"), ("in", "nothing", "exact")], [forward], forward, default_data=[0])
    hashed = [{"type": "field", "value": ["out", "none"]}]
    builder.root["calculations"] = [{"name": "c", "algo": "crc32", "input": hashed}]
    engine.load(builder.text())
    assert engine.process(1, b"\7body") == [(2, b"\7body")]
