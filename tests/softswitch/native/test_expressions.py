"""Expressions compiled to C give what unbounded integers give, for every operator, width and sign."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from softswitch.bmv2.expressions import Binary, Const, Expression, FieldRef, Ternary, Unary
from softswitch.bmv2.source import UnsupportedProgram
from softswitch.engine.engine import Engine

from tests.softswitch.native.builder import ProgramBuilder, assign, send_to
from tests.softswitch.native.evaluator import evaluate, signed, stored

# name, width, signed; together whole bytes
FIELDS: list[tuple[str, int, bool]] = [
    ("a1", 1, False),
    ("a7", 7, False),
    ("a8", 8, False),
    ("a13", 13, False),
    ("a3", 3, False),
    ("a32", 32, False),
    ("a48", 48, False),
    ("a63", 63, False),
    ("b1", 1, False),
    ("a64", 64, False),
    ("b64", 64, False),
    ("a100", 100, False),
    ("a4", 4, False),
    ("a128", 128, False),
    ("s8", 8, True),
    ("s17", 17, True),
    ("s47", 47, True),
    ("s64", 64, True),
    ("s128", 128, True),
    ("a129", 129, False),
    ("a7b", 7, False),
    ("a520", 520, False),
    ("s200", 200, True),
]
WIDTHS = {name: (width, is_signed) for name, width, is_signed in FIELDS}
TARGETS = [1, 8, 13, 32, 48, 64, 72, 128, 130, 320]

names = st.sampled_from([name for name, _, _ in FIELDS])
leaves = names.map(lambda n: FieldRef("in", n)) | st.integers(0, 2**64 - 1).map(Const) | st.integers(0, 40).map(Const)


def masked(e: Expression, width: int) -> Expression:
    """How p4c writes the result of bit<width> arithmetic."""
    return Binary("&", e, Const((1 << width) - 1))


def compound(inner: st.SearchStrategy[Expression]) -> st.SearchStrategy[Expression]:
    """One operator over smaller expressions."""
    widths = st.sampled_from([1, 5, 8, 16, 31, 32, 48, 63, 64, 65, 100, 127, 128, 129, 192, 500])
    arithmetic = st.builds(Binary, st.sampled_from(["+", "-", "*", "&", "|", "^"]), inner, inner)
    amounts = (
        st.integers(0, 140).map(Const)
        | st.integers(180, 600).map(Const)
        | st.sampled_from(["a7", "a8", "a13"]).map(lambda n: FieldRef("in", n))
    )
    shifts = st.builds(Binary, st.sampled_from(["<<", ">>"]), inner, amounts)
    casts = st.builds(
        lambda op, e, w: Binary(op, e, Const(w)),
        st.sampled_from(["two_comp_mod", "usat_cast", "sat_cast"]),
        inner,
        widths,
    )
    condition = st.builds(Binary, st.sampled_from(["==", "!=", "<", "<=", ">", ">="]), inner, inner)
    logic = condition | st.builds(Binary, st.sampled_from(["and", "or"]), condition, condition)
    return st.one_of(
        st.builds(masked, arithmetic | shifts, widths),
        arithmetic,
        shifts,
        casts,
        st.builds(Unary, st.sampled_from(["-", "~"]), inner),
        st.builds(lambda e, w: masked(Unary("~", e), w), inner, widths),
        st.builds(Ternary, logic, inner, inner),
        st.builds(lambda c: Unary("b2d", c), logic | condition.map(lambda c: Unary("not", c))),
        st.builds(lambda e: Unary("b2d", Unary("d2b", e)), inner),
    )


expressions = st.recursive(leaves, compound, max_leaves=8)
packets = st.lists(
    st.fixed_dictionaries(
        {
            name: st.integers(0, (1 << width) - 1) | st.sampled_from([0, 1, (1 << width) - 1, 1 << (width - 1)])
            for name, width, _ in FIELDS
        }
    ),
    min_size=1,
    max_size=8,
)


def build(assignments: list[tuple[Expression, int, bool]]) -> str:
    """A program whose `out` header holds each expression in a field of its own, padded to bytes."""
    outgoing: list[Any] = []
    primitives = [send_to(), {"op": "add_header", "parameters": [{"type": "header", "value": "out"}]}]
    for index, (expression, width, is_signed) in enumerate(assignments):
        outgoing.append((f"o{index}", width, is_signed))
        if width % 8:
            outgoing.append((f"pad{index}", 8 - width % 8))
        primitives.append(assign("out", f"o{index}", expression))
    builder = ProgramBuilder(list(FIELDS), outgoing)
    builder.action("compute", primitives)
    return builder.text()


def encode(values: dict[str, int]) -> bytes:
    """A packet of header `in`."""
    bits = 0
    for name, width, _ in FIELDS:
        bits = bits << width | (values[name] & ((1 << width) - 1))
    return bits.to_bytes(sum(w for _, w, _ in FIELDS) // 8, "big")


def check(engine: Engine, assignments: list[tuple[Expression, int, bool]], inputs: list[dict[str, int]]) -> None:
    """Loads, runs and compares every field."""
    engine.load(build(assignments))
    for raw in inputs:
        values = {n: signed(v, WIDTHS[n][0]) if WIDTHS[n][1] else v for n, v in raw.items()}
        data = encode(raw)
        ((_, output),) = engine.process(0, data)
        assert output[: len(data)] == data
        at = len(data)
        for expression, width, is_signed in assignments:
            size = (width + 7) // 8
            got = int.from_bytes(output[at : at + size], "big") >> (size * 8 - width)
            wanted = stored(evaluate(expression, values), width, is_signed) & ((1 << width) - 1)
            assert got == wanted, (expression, width, is_signed, values)
            at += size


def computable(expression: Expression, width: int, is_signed: bool) -> bool:
    """Whether the generator accepts it."""
    from softswitch.bmv2.loader import load_program
    from softswitch.codegen.program import generate

    try:
        generate(load_program(build([(expression, width, is_signed)])))
    except UnsupportedProgram as refusal:
        assert "4096 bits" in refusal.construct or "signed" in refusal.construct
        return False
    return True


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(expressions, st.sampled_from(TARGETS), st.booleans()), min_size=20, max_size=40), packets)
def test_random_expressions(assignments: list[tuple[Expression, int, bool]], inputs: list[dict[str, int]]) -> None:
    kept = [a for a in assignments if computable(*a)]
    assume(kept)
    with Engine() as engine:
        check(engine, kept, inputs)


def test_a_small_number_fills_a_wide_field(engine: Engine) -> None:
    values = {name: (1 << width) - 1 for name, width, _ in FIELDS}
    for width in (300, 2000):
        check(engine, [(FieldRef("in", "a7"), width, False)], [values])
        check(engine, [(FieldRef("in", "s8"), width, True)], [values])


def test_refusals_are_few(engine: Engine) -> None:
    """What p4c writes for every operator at every width is never refused."""
    assignments: list[tuple[Expression, int, bool]] = []
    for name, width, is_signed in FIELDS:
        a = FieldRef("in", name)
        for op in ("+", "-", "*", "&", "|", "^"):
            cast = (
                Binary("two_comp_mod", Binary(op, a, a), Const(width)) if is_signed else masked(Binary(op, a, a), width)
            )
            assignments.append((cast, width, is_signed))
        for op in ("+", "-"):
            saturating = Binary("sat_cast" if is_signed else "usat_cast", Binary(op, a, a), Const(width))
            assignments.append((saturating, width, is_signed))
        assignments.append((masked(Binary("<<", a, FieldRef("in", "a8")), width), width, False))
        assignments.append((Binary(">>", a, FieldRef("in", "a8")), width, is_signed))
        assignments.append((masked(Unary("~", a), width), width, False))
        assignments.append((Unary("b2d", Binary("<", a, a)), 1, False))
    extremes = [
        {name: value(width) for name, width, _ in FIELDS}
        for value in (lambda w: (1 << w) - 1, lambda w: 1 << (w - 1), lambda w: 1, lambda w: 0x5A5A5A5A % (1 << w))
    ]
    check(engine, assignments, extremes)


@pytest.mark.parametrize(
    ("expression", "inputs", "wanted"),
    [
        # 48-bit saturating sum, as p4c writes |+| on bit<48>
        (Binary("usat_cast", Binary("+", FieldRef("in", "a48"), FieldRef("in", "a32")), Const(48)),
         {"a48": 2**48 - 1, "a32": 5}, 2**48 - 1),
        # |-| stops at zero
        (Binary("usat_cast", Binary("-", FieldRef("in", "a32"), FieldRef("in", "a48")), Const(48)),
         {"a48": 9, "a32": 5}, 0),
        # an age across the wrap of a 48-bit clock
        (masked(Binary("-", FieldRef("in", "a32"), FieldRef("in", "a48")), 48), {"a48": 2**48 - 10, "a32": 5}, 15),
        # shifting everything out
        (masked(Binary("<<", FieldRef("in", "a48"), FieldRef("in", "a8")), 48), {"a48": 3, "a8": 255}, 0),
        (Binary(">>", FieldRef("in", "a128"), FieldRef("in", "a8")), {"a128": 2**127, "a8": 128}, 0),
        (Binary(">>", FieldRef("in", "s47"), FieldRef("in", "a8")), {"s47": 2**47 - 1, "a8": 200}, 2**48 - 1),
        # 128-bit saturation needs a 129th bit
        (masked(Binary("usat_cast", Binary("+", FieldRef("in", "a128"), FieldRef("in", "a128")), Const(128)), 48),
         {"a128": 2**127}, 2**48 - 1),
    ],
)  # fmt: skip
def test_known_values(engine: Engine, expression: Expression, inputs: dict[str, int], wanted: int) -> None:
    values = {name: 0 for name, _, _ in FIELDS} | inputs
    engine.load(build([(expression, 48, False)]))
    ((_, output),) = engine.process(0, encode(values))
    assert int.from_bytes(output[-6:], "big") == wanted
