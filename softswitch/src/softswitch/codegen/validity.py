"""Which headers are surely there where a program reads their fields: forward over its graphs, as compilers find
available expressions.

A packet's memory still holds the headers of an earlier packet, so a header that may be read while it is absent is
zeroed before a packet is parsed, and a key on it is checked where it is built. Whatever is surely there costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from softswitch.bmv2.control import Action, ActionCall, Conditional, Operand, Pipeline, Primitive, Table, in_order
from softswitch.bmv2.expressions import (
    Binary,
    Expression,
    FieldRef,
    RegisterCell,
    StackElement,
    Ternary,
    Unary,
    Valid,
)
from softswitch.bmv2.json_reader import VALID
from softswitch.bmv2.program import ParserOp, Program
from softswitch.codegen.usage import STORES

Facts = frozenset[str]
"""Headers that are surely valid."""

NOTHING: Facts = frozenset()


@dataclass
class Validity:
    """`keyed` has for each table the headers that are surely valid where it is looked up. `exposed` are the fields that
    may be read while their header is absent; keys of tables are not among them. `indexed` are the stacks with an index
    known at run time only, which may be out of range."""

    keyed: dict[str, Facts] = field(default_factory=dict)
    exposed: set[FieldRef] = field(default_factory=set)
    indexed: set[str] = field(default_factory=set)


def find_validity(program: Program) -> Validity:
    """Looks at every way through the program."""
    return _Finder(program).run()


def implied(condition: Expression, holds: bool) -> Facts:
    """The headers that are valid whenever a condition holds, or whenever it does not."""
    match condition:
        case Valid(header):
            return frozenset([header]) if holds else NOTHING
        case Unary("not", operand):
            return implied(operand, not holds)
        case Unary("d2b" | "b2d", operand):
            return implied(operand, holds)
        case Binary("and", left, right):
            sides = implied(left, holds), implied(right, holds)
            return sides[0] | sides[1] if holds else sides[0] & sides[1]
        case Binary("or", left, right):
            sides = implied(left, holds), implied(right, holds)
            return sides[0] & sides[1] if holds else sides[0] | sides[1]
    return NOTHING


class _Finder:
    def __init__(self, program: Program) -> None:
        self.program = program
        self.found = Validity()
        self._at_action: dict[int, Facts] = {}
        self._union_of = {h: u.headers for u in program.unions.values() for h in u.headers}

    def run(self) -> Validity:
        self._parser()
        for pipeline in self.program.pipelines.values():
            self._pipeline(pipeline)
        for action in self.program.actions.values():
            self._action(action)
        for item in self.program.deparser_primitives:
            self._operands(item, NOTHING)
        for checksum in self.program.checksums:
            self._read(checksum.condition, NOTHING)
        for learn_list in self.program.learn_lists.values():
            for element in learn_list.elements:
                self._read(element, NOTHING)
        return self.found

    def _read(self, expression: Expression | None, facts: Facts) -> None:
        """Take note of what an expression reads, following the sides that are evaluated only now and then."""
        match expression:
            case FieldRef(header, name):
                if name != VALID and header not in facts and not self.program.headers[header].metadata:
                    self.found.exposed.add(expression)
            case Binary("and" | "or" as op, left, right):
                self._read(left, facts)
                self._read(right, facts | implied(left, op == "and"))
            case Binary(_, left, right):
                self._read(left, facts)
                self._read(right, facts)
            case Ternary(condition, left, right):
                self._read(condition, facts)
                self._read(left, facts | implied(condition, True))
                self._read(right, facts | implied(condition, False))
            case Unary(_, operand):
                self._read(operand, facts)
            case StackElement(stack, index, name):
                self.found.indexed.add(stack)
                if name != VALID:
                    self.found.exposed.update(FieldRef(h, name) for h in self.program.stacks[stack].headers)
                self._read(index, facts)
            case RegisterCell(_, index):
                self._read(index, facts)

    def _operands(self, primitive: Primitive, facts: Facts) -> None:
        def each(operands: Iterable[Operand], store: int | None) -> None:
            for place, operand in enumerate(operands):
                if place != store:
                    self._read(operand.expression, facts)
                if operand.kind == "element":
                    self.found.indexed.add(operand.name)
                elif isinstance(operand.expression, StackElement):
                    self.found.indexed.add(operand.expression.stack)
                each(operand.elements, None)

        each(primitive.operands, STORES.get(primitive.op))

    def _parser(self) -> None:
        states = self.program.parser_states
        facts: dict[str, Facts] = {}
        waiting = [] if self.program.parser_start is None else [self.program.parser_start]
        facts |= dict.fromkeys(waiting, NOTHING)
        while waiting:
            name = waiting.pop()
            after = facts[name]
            for op in states[name].ops:
                after = self._after_op(op, after)
            for transition in states[name].transitions:
                if (to := transition.next_state) is None:
                    continue
                joined = facts[to] & after if to in facts else after
                if facts.get(to) != joined:
                    facts[to] = joined
                    waiting.append(to)
        for name, state in states.items():
            known = facts.get(name, NOTHING)
            for op in state.ops:
                self._read(op.expression, known)
                self._read(op.condition, known)
                if op.primitive is not None:
                    self._operands(op.primitive, known)
                known = self._after_op(op, known)
            for key in state.key:
                self._read(key.expression, known)

    def _after_op(self, op: ParserOp, facts: Facts) -> Facts:
        if op.op == "extract" and not op.stack:
            return self._made(op.target, facts)
        return facts if op.primitive is None else self._after(op.primitive, facts)

    def _pipeline(self, pipeline: Pipeline) -> None:
        facts: dict[str, Facts] = {}

        def go(node: str | None, known: Facts) -> None:
            if node is not None:
                facts[node] = facts[node] & known if node in facts else known

        go(pipeline.first, NOTHING)
        for name in in_order(pipeline):
            known, node = facts[name], pipeline.nodes[name]
            if isinstance(node, Conditional):
                self._read(node.condition, known)
                go(node.if_true, known | implied(node.condition, True))
                go(node.if_false, known | implied(node.condition, False))
            elif isinstance(node, ActionCall):
                go(node.next, self._through(node.action, known))
            else:
                self._table(node, known, go)

    def _table(self, table: Table, known: Facts, go: Callable[[str | None, Facts], None]) -> None:
        self.found.keyed[table.name] = known
        for key in table.keys:
            if isinstance(key.expression, StackElement):
                self.found.indexed.add(key.expression.stack)
                self._read(key.expression.index, known)
        outcomes = {identifier: self._through(identifier, known) for identifier in table.actions}
        if table.by_hit:
            for after in (known, *outcomes.values()):
                go(table.next_hit, after)
                go(table.next_miss, after)
            return
        for identifier, after in outcomes.items():
            go(table.next[identifier], after)
        go(table.next_without_action, known)

    def _through(self, identifier: int, facts: Facts) -> Facts:
        """What is known behind an action that is run where `facts` hold."""
        before = self._at_action.get(identifier)
        self._at_action[identifier] = facts if before is None else before & facts
        action = self.program.actions[identifier]
        after = facts
        for item in action.primitives:
            after = self._after(item, after)
        return after & facts if _jumps(action) else after

    def _action(self, action: Action) -> None:
        facts = self._at_action.get(action.id, NOTHING)
        if _jumps(action):  # whatever is taken away somewhere in it is not counted on
            for item in action.primitives:
                facts &= self._after(item, facts)
        for item in action.primitives:
            self._operands(item, facts)
            if not _jumps(action):
                facts = self._after(item, facts)

    def _after(self, primitive: Primitive, facts: Facts) -> Facts:
        """A header that a statement makes valid is there; one that it may change otherwise is not counted on."""
        for operand in primitive.operands:
            if operand.kind == "header":
                if primitive.op == "add_header":
                    facts = self._made(operand.name, facts)
                else:
                    facts -= {operand.name}
            else:
                facts -= self._members(operand)
        return facts

    def _members(self, operand: Operand) -> Facts:
        """The headers of the stack or union that an operand names; what is unknown is refused later."""
        program, name = self.program, operand.name
        match operand.kind:
            case "element" | "header_stack" if name in program.stacks:
                return frozenset(program.stacks[name].headers)
            case "header_union" if name in program.unions:
                return frozenset(program.unions[name].headers)
            case "header_union_stack" | "header_stack" if name in program.union_stacks:
                return frozenset(h for union in program.union_stacks[name].unions for h in union.headers)
        return NOTHING

    def _made(self, header: str, facts: Facts) -> Facts:
        return facts - set(self._union_of.get(header, ())) | {header}


def _jumps(action: Action) -> bool:
    return any(primitive.op.startswith("_jump") for primitive in action.primitives)
