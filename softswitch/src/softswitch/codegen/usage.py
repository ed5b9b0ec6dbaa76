"""Which fields a program reads and writes. One that nobody mentions needs no storage: it travels with its header."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from softswitch.bmv2.control import Conditional, Operand, Primitive, Table
from softswitch.bmv2.expressions import (
    Binary,
    Expression,
    FieldRef,
    RegisterCell,
    StackElement,
    StackLast,
    Ternary,
    Unary,
    UnionStackLast,
)
from softswitch.bmv2.program import Program
from softswitch.bmv2.source import Source

# The operand that each primitive stores to.
STORES = {
    "assign": 0,
    "set": 0,
    "assign_VL": 0,
    "modify_field": 0,
    "register_read": 0,
    "modify_field_with_hash_based_offset": 0,
    "modify_field_rng_uniform": 0,
    "execute_meter": 2,
}


def parts(expression: Expression) -> Iterator[Expression]:
    """The expression and everything inside it."""
    yield expression
    if isinstance(expression, Unary):
        yield from parts(expression.operand)
    elif isinstance(expression, Binary):
        yield from parts(expression.left)
        yield from parts(expression.right)
    elif isinstance(expression, Ternary):
        yield from parts(expression.condition)
        yield from parts(expression.left)
        yield from parts(expression.right)
    elif isinstance(expression, StackElement | RegisterCell):
        yield from parts(expression.index)


def is_varbit(program: Program, ref: FieldRef) -> bool:
    """Whether a field's length varies."""
    return any(f.varbit and f.name == ref.field for f in program.headers[ref.header].type.fields)


@dataclass
class Usage:
    """(header type, field) pairs that the program reads or writes, those it writes, and where the first mention of each
    stands as far as p4c tells."""

    used: set[tuple[str, str]] = field(default_factory=set)
    written: set[tuple[str, str]] = field(default_factory=set)
    where: dict[tuple[str, str], Source] = field(default_factory=dict)


def find_usage(program: Program) -> Usage:
    """Looks at every expression and store. Header types are what counts, since headers are assigned to one another."""
    usage = Usage()

    def mention(expression: Expression | None, source: Source | None = None, store: bool = False) -> None:
        for part in parts(expression) if expression is not None else ():
            if isinstance(part, FieldRef):
                pair = (program.headers[part.header].type.name, part.field)
            elif isinstance(part, StackLast | StackElement):
                pair = (program.stacks[part.stack].type.name, part.field)
            elif isinstance(part, UnionStackLast):
                pair = (program.union_stacks[part.stack].members[part.member].name, part.field)
            else:
                continue
            usage.used.add(pair)
            if source is not None:
                usage.where.setdefault(pair, source)
            if store and part is expression:
                usage.written.add(pair)

    def operands(items: tuple[Operand, ...], source: Source | None, store: int | None = None) -> None:
        for position, item in enumerate(items):
            mention(item.expression, source, store=position == store)
            operands(item.elements, source)

    def primitive(item: Primitive) -> None:
        operands(item.operands, item.source, STORES.get(item.op))

    for state in program.parser_states.values():
        for op in state.ops:
            mention(op.field, store=True)
            mention(op.expression, op.source)
            mention(op.condition, op.source)
            if op.primitive is not None:
                primitive(op.primitive)
        for key in state.key:
            mention(key.expression)
    for action in program.actions.values():
        for item in action.primitives:
            primitive(item)
    for pipeline in program.pipelines.values():
        for node in pipeline.nodes.values():
            if isinstance(node, Conditional):
                mention(node.condition, node.source)
            elif isinstance(node, Table):
                for table_key in node.keys:
                    mention(table_key.expression, node.source)
    for item in program.deparser_primitives:
        primitive(item)
    for meter in program.meters.values():
        mention(meter.target, meter.source, store=True)
    for checksum in program.checksums:
        mention(checksum.target, checksum.source, store=checksum.update)
        mention(checksum.condition, checksum.source)
    for calculation in program.calculations.values():
        for given in calculation.inputs:
            # a varbit field has no storage: its bytes are read where they were received
            if given.field is not None and not is_varbit(program, given.field):
                mention(given.field, calculation.source)
            if given.header:
                header_type = program.headers[given.header].type
                usage.used.update((header_type.name, f.name) for f in header_type.fields if not f.varbit)
    for field_list in program.field_lists.values():
        for ref in field_list.fields:
            mention(ref, store=True)
    for learn_list in program.learn_lists.values():
        for element in learn_list.elements:
            mention(element, learn_list.source)
    for header_type in program.header_types.values():
        # a header with a new varbit field is not what was received: all of it is written anew
        if any(f.varbit and (header_type.name, f.name) in usage.written for f in header_type.fields):
            fields = {(header_type.name, f.name) for f in header_type.fields}
            usage.used |= fields
            usage.written |= fields
    return usage
