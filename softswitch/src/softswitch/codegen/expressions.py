"""Expressions in C that mean what BMv2 means: integers without bounds.

Every operation knows the interval its value lies in, so that the narrowest C type that cannot overflow is used. Where
only the low bits of a value are wanted (a store, a mask), sums, products and left shifts may wrap: `modulo` says that.
"""

from __future__ import annotations

from softswitch.bmv2.control import Action
from softswitch.bmv2.expressions import (
    Binary,
    BoolConst,
    Const,
    Expression,
    FieldRef,
    Local,
    RegisterCell,
    StackElement,
    StackLast,
    StackProperty,
    Ternary,
    Unary,
    UnionStackLast,
    Valid,
)
from softswitch.bmv2.json_reader import VALID
from softswitch.bmv2.program import Field
from softswitch.bmv2.source import Source, UnsupportedProgram
from softswitch.codegen.integers import (
    MAX_BITS,
    WIDE,
    Value,
    bits_of,
    cast,
    compare,
    constant,
    convert,
    low_bits,
    operate,
    read,
    sign,
    type_for,
    unsigned_type,
)
from softswitch.codegen.layout import Layout

_COMPARISONS = frozenset(["==", "!=", ">", "<", ">=", "<="])
_WRAPPING = frozenset(["+", "-", "*", "&", "|", "^", "<<"])
_BOOLEAN = _COMPARISONS | {"and", "or"}


class ExpressionWriter:
    """Writes expressions of one program. `action` gives local parameters their widths."""

    def __init__(self, layout: Layout, action: Action | None = None, source: Source | None = None) -> None:
        self.layout = layout
        self.action = action
        self.source = source

    def _refuse(self, what: str) -> UnsupportedProgram:
        return UnsupportedProgram(what, self.source)

    def boolean(self, e: Expression) -> str:
        """C text of a condition."""
        if isinstance(e, BoolConst):
            return "true" if e.value else "false"
        if isinstance(e, Valid):
            return f"{self.layout.field(FieldRef(e.header, '$valid$'))} != 0"
        if isinstance(e, Unary) and e.op == "not":
            return f"!({self.boolean(e.operand)})"
        if isinstance(e, Unary) and e.op == "d2b":
            return self._compare("!=", self.exact(e.operand), Value(constant(0), 0, 0))
        if isinstance(e, Ternary):
            return f"({self.boolean(e.condition)} ? {self.boolean(e.left)} : {self.boolean(e.right)})"
        if isinstance(e, Binary) and e.op in ("and", "or"):
            return f"(({self.boolean(e.left)}) {'&&' if e.op == 'and' else '||'} ({self.boolean(e.right)}))"
        if isinstance(e, Binary) and e.op in _COMPARISONS:
            if isinstance(e.left, FieldRef) and self.layout.field_info(e.left).varbit:
                return self._compare_varbits(e)
            if self.is_boolean(e.left):
                return f"((bool)({self.boolean(e.left)}) {e.op} (bool)({self.boolean(e.right)}))"
            return self._compare(e.op, self.exact(e.left), self.exact(e.right))
        raise self._refuse(f"{self._describe(e)} where a condition is needed")

    def truth(self, e: Expression) -> str:
        """C text of a condition that may be a number, which is true unless 0."""
        return self.boolean(e if self.is_boolean(e) else Unary("d2b", e))

    def is_boolean(self, e: Expression) -> bool:
        """Whether an expression is a truth value rather than a number."""
        if isinstance(e, Ternary):
            return self.is_boolean(e.left)
        return (
            isinstance(e, BoolConst | Valid)
            or (isinstance(e, Unary) and e.op in ("not", "d2b"))
            or (isinstance(e, Binary) and e.op in _BOOLEAN)
        )

    def _compare_varbits(self, e: Binary) -> str:
        """BMv2 compares varbit fields as numbers."""
        if not isinstance(e.left, FieldRef) or not isinstance(e.right, FieldRef):
            raise self._refuse(f"comparison {e.op!r} of a varbit field with no field")
        if not self.layout.field_info(e.right).varbit:
            raise self._refuse(f"comparison {e.op!r} of a varbit field with one that is none")
        sides = (self.layout.header(side.header) for side in (e.left, e.right))
        return f"(ss_compare_bytes({', '.join(f'{h}.variable, {h}.varbit' for h in sides)}) {e.op} 0)"

    def _compare(self, op: str, left: Value, right: Value) -> str:
        c_type = self._type(min(left.low, right.low), max(left.high, right.high))
        return compare(op, c_type, cast(left, c_type), cast(right, c_type))

    def exact(self, e: Expression) -> Value:
        """The value itself."""
        if isinstance(e, Const):
            return self._value(constant(e.value, self._type(e.value, e.value)), e.value, e.value)
        if isinstance(e, Unary):
            return self._unary(e)
        if isinstance(e, Binary) and e.op not in _BOOLEAN:
            return self._binary(e)
        if isinstance(e, Ternary) and not self.is_boolean(e):
            left, right = self.exact(e.left), self.exact(e.right)
            low, high = min(left.low, right.low), max(left.high, right.high)
            c_type = self._type(low, high)
            return Value(f"({self.boolean(e.condition)} ? {cast(left, c_type)} : {cast(right, c_type)})", low, high)
        if self.is_boolean(e):
            return Value(f"(uint64_t)({self.boolean(e)})", 0, 1)
        return self._leaf(e)

    def _leaf(self, e: Expression) -> Value:
        layout = self.layout
        if isinstance(e, FieldRef):
            if layout.field_info(e).varbit:
                raise self._refuse(f"varbit field {e.header}.{e.field} as a number")
            return self._read(layout.field(e), layout.field_info(e))
        if isinstance(e, Local):
            if self.action is None or e.index >= len(self.action.parameters):
                raise self._refuse(f"action parameter {e.index} outside its action")
            width = self.action.parameters[e.index].width
            self._type(0, 2**width - 1)
            return Value(f"a{e.index}", 0, 2**width - 1)
        if isinstance(e, StackLast):
            stack = layout.stack(e.stack)
            field = layout.program.stacks[e.stack].type.field(e.field)
            return self._last(stack, f"{stack}.element[{stack}.next - 1].{layout.member(field)}", field)
        if isinstance(e, UnionStackLast):
            stack, field = layout.stack(e.stack), layout.program.union_stacks[e.stack].members[e.member].field(e.field)
            last = f"{stack}.element[{stack}.next - 1].{layout.union_member(e.member)}"
            return self._last(stack, f"{last}.{layout.member(field)}", field)
        if isinstance(e, StackElement):
            whole = layout.program.stacks[e.stack].type
            return self._read(self.element(e), Field(VALID, 1) if e.field == VALID else whole.field(e.field))
        if isinstance(e, StackProperty):
            size = layout.depth(e.stack)
            if e.op == "size_stack":
                return Value(f"(uint64_t){layout.stack(e.stack)}.next", 0, size)
            return Value(f"((int64_t){layout.stack(e.stack)}.next - 1)", -1, size - 1)
        if isinstance(e, RegisterCell):
            raise self._refuse(f"register {e.register!r} read inside an expression")
        raise self._refuse(f"{self._describe(e)} where a number is needed")

    def _last(self, stack: str, text: str, field: Field) -> Value:
        """A field of a stack's last element; of an empty stack it is zero."""
        value = self._read(text, field)
        c_type = self._type(value.low, value.high)
        return Value(f"({stack}.next ? {value.text} : {constant(0, c_type)})", value.low, value.high)

    def element(self, e: StackElement) -> str:
        """The C lvalue of a field of `stack[index]`."""
        if e.field == VALID:
            return f"{self.header_at(e)}.valid"
        return f"{self.header_at(e)}.{self.layout.member(self.layout.program.stacks[e.stack].type.field(e.field))}"

    def header_at(self, e: StackElement) -> str:
        """The C lvalue of `stack[index]`; out of range that is the spare element."""
        stack, size = self.layout.stack(e.stack), self.layout.depth(e.stack)
        index = self.exact(e.index)
        inside = self._compare("<", index, Value(constant(size), size, size))
        if index.low < 0:
            inside = f"({index.text} >= 0 && {inside})"
        return f"{stack}.element[{inside} ? {cast(index, 'uint64_t')} : {size}]"

    def _read(self, text: str, field: Field) -> Value:
        value = read(text, field)
        self._type(value.low, value.high)
        return value

    def _unary(self, e: Unary) -> Value:
        if e.op == "b2d":
            return Value(f"(uint64_t)({self.boolean(e.operand)})", 0, 1)
        if e.op in ("not", "d2b"):
            return Value(f"(uint64_t)({self.boolean(e)})", 0, 1)
        inner = self.exact(e.operand)
        low, high = (-inner.high, -inner.low) if e.op == "-" else (~inner.high, ~inner.low)
        computed = self._type(min(low, inner.low), max(high, inner.high))
        text = self._negate(e.op, cast(inner, computed), computed)
        return self._value(text, low, high, computed)

    @staticmethod
    def _negate(op: str, text: str, c_type: str) -> str:
        """C text of `-` or `~`."""
        if c_type == WIDE:
            return f"ss_wide_{'neg' if op == '-' else 'not'}({text})"
        return f"({op}{text})"

    def _binary(self, e: Binary) -> Value:
        op = e.op
        if op == "&":
            return self._mask(e)
        if op in ("two_comp_mod", "usat_cast", "sat_cast"):
            return self._cast(e)
        if op in ("<<", ">>"):
            return self._shift(e)
        left, right = self.exact(e.left), self.exact(e.right)
        if op in ("/", "%"):
            return self._divide(op, left, right)
        low, high = self._bounds(op, left, right)
        c_type = self._type(min(low, left.low, right.low), max(high, left.high, right.high))
        return self._value(operate(op, c_type, cast(left, c_type), cast(right, c_type)), low, high, c_type)

    @staticmethod
    def _bounds(op: str, left: Value, right: Value) -> tuple[int, int]:
        if op == "+":
            return left.low + right.low, left.high + right.high
        if op == "-":
            return left.low - right.high, left.high - right.low
        if op == "*":
            products = [x * y for x in (left.low, left.high) for y in (right.low, right.high)]
            return min(products), max(products)
        bits = max(v.bit_length() for v in (left.low, left.high, right.low, right.high))
        return (0 if left.low >= 0 and right.low >= 0 else -(2**bits)), 2**bits - 1

    def _mask(self, e: Binary) -> Value:
        """A mask bounds the result by its own width, and wants no more than that of the other side."""
        for wide, mask in ((e.left, e.right), (e.right, e.left)):
            if isinstance(mask, Const) and mask.value >= 0:
                bits = max(mask.value.bit_length(), 1)
                c_type = unsigned_type(bits)
                text = operate("&", c_type, self.modulo(wide, bits), constant(mask.value, c_type))
                return self._value(text, 0, mask.value, c_type)
        left, right = self.exact(e.left), self.exact(e.right)
        if left.low >= 0 or right.low >= 0:
            high = min(v.high for v in (left, right) if v.low >= 0)
            c_type = self._type(min(left.low, right.low), max(left.high, right.high))
            return self._value(operate("&", c_type, cast(left, c_type), cast(right, c_type)), 0, high, c_type)
        low, high = self._bounds("&", left, right)
        c_type = self._type(low, high)
        return Value(operate("&", c_type, cast(left, c_type), cast(right, c_type)), low, high)

    def _width(self, e: Binary) -> int:
        if not isinstance(e.right, Const) or not 0 < e.right.value < MAX_BITS:
            raise self._refuse(f"{e.op} to a width that is no constant below {MAX_BITS}")
        return e.right.value

    def _cast(self, e: Binary) -> Value:
        width = self._width(e)
        least, greatest = (0, 2**width - 1) if e.op == "usat_cast" else (-(2 ** (width - 1)), 2 ** (width - 1) - 1)
        if e.op == "two_comp_mod":
            computed = {"uint64_t": "int64_t", "u128": "i128", WIDE: WIDE}[unsigned_type(width)]
            self._type(least, greatest)
            return self._value(sign(self.modulo(e.left, width), width), least, greatest, computed)
        inner = self.exact(e.left)
        low, high = min(max(inner.low, least), greatest), max(min(inner.high, greatest), least)
        if (low, high) == (inner.low, inner.high):
            return inner
        wide = self._type(inner.low, inner.high)
        limits = f"{constant(max(least, inner.low), wide)}, {constant(min(greatest, inner.high), wide)}"
        name = "ss_wide_clamp" if wide == WIDE else f"ss_clamp_{wide.removesuffix('_t')}"
        return self._value(f"{name}({inner.text}, {limits})", low, high, wide)

    def _shift(self, e: Binary) -> Value:
        left, amount = self.exact(e.left), self.exact(e.right)
        self._check_amount(amount)
        count = cast(amount, "uint64_t")
        if e.op == "<<":
            if amount.high > MAX_BITS:
                raise self._refuse(f"left shift beyond {MAX_BITS} bits, of which the high bits are used")
            corners = [v << n for v in (left.low, left.high) for n in (amount.low, amount.high)]
            low, high = min(corners), max(corners)
            c_type = self._type(low, high)
            if c_type == WIDE:
                return Value(f"ss_wide_shl({cast(left, WIDE)}, {count})", low, high)
            if low < 0:  # C leaves shifts of negative numbers undefined
                unsigned = "uint64_t" if c_type == "int64_t" else "u128"
                return Value(f"({c_type})(({unsigned}){left.text} << {count})", low, high)
            size = "64" if c_type == "uint64_t" else "128"
            if isinstance(e.right, Const):
                return Value(f"(({c_type}){left.text} << {e.right.value})", low, high)
            return Value(f"ss_shl{size}({left.text}, {count})", low, high)
        least, most = min(amount.low, MAX_BITS), min(amount.high, MAX_BITS)
        corners = [v >> n for v in (left.low, left.high) for n in (least, most)]
        c_type = self._type(left.low, left.high)
        name = {
            "uint64_t": "ss_shr64",
            "int64_t": "ss_sar64",
            "u128": "ss_shr128",
            "i128": "ss_sar128",
            WIDE: "ss_wide_shr",
        }[c_type]
        if isinstance(e.right, Const) and c_type != WIDE and e.right.value < (64 if "64" in c_type else 128):
            return self._value(f"({left.text} >> {e.right.value})", min(corners), max(corners), c_type)
        return self._value(f"{name}({left.text}, {count})", min(corners), max(corners), c_type)

    def _check_amount(self, amount: Value) -> None:
        if amount.low < 0:
            raise self._refuse("shift by a signed amount")
        if amount.high >= 2**64:
            raise self._refuse("shift by an amount wider than 64 bits")

    def _divide(self, op: str, left: Value, right: Value) -> Value:
        """BMv2 asserts that neither side is negative and the right side is not 0; here x / 0 and x % 0 are 0."""
        if left.low < 0 or right.low < 0:
            raise self._refuse(f"{op!r} of signed numbers")
        c_type = self._type(0, max(left.high, right.high))
        if c_type == WIDE:
            raise self._refuse(f"{op!r} beyond 128 bits")
        size, name = "64" if c_type == "uint64_t" else "128", "div" if op == "/" else "mod"
        return self._value(
            f"ss_{name}{size}({left.text}, {right.text})",
            0,
            left.high if op == "/" else min(left.high, max(right.high - 1, 0)),
            c_type,
        )

    def modulo(self, e: Expression, width: int) -> str:
        """C text, of type `unsigned_type(width)`, of which the low `width` bits are those of the value."""
        c_type = unsigned_type(width)
        if c_type == WIDE:
            self._type(0, 2**width - 1)
        if isinstance(e, Const):
            return constant(e.value & ((1 << width) - 1), c_type)
        if isinstance(e, Unary) and e.op in ("-", "~"):
            return self._negate(e.op, self.modulo(e.operand, width), c_type)
        if isinstance(e, Binary) and e.op == "&":
            for wide, mask in ((e.left, e.right), (e.right, e.left)):
                if isinstance(mask, Const):
                    ones = constant(mask.value & ((1 << width) - 1), c_type)
                    return operate("&", c_type, self.modulo(wide, width), ones)
        if isinstance(e, Binary) and e.op == "<<":
            amount = self.exact(e.right)
            self._check_amount(amount)
            left = self.modulo(e.left, width)
            if isinstance(e.right, Const) and e.right.value >= width:
                return constant(0, c_type)
            if c_type == WIDE:
                return f"ss_wide_shl({left}, {cast(amount, 'uint64_t')})"
            if isinstance(e.right, Const):
                return f"({left} << {e.right.value})"
            return f"ss_shl{64 if width <= 64 else 128}({left}, {cast(amount, 'uint64_t')})"
        if isinstance(e, Binary) and e.op in _WRAPPING:
            return operate(e.op, c_type, self.modulo(e.left, width), self.modulo(e.right, width))
        if isinstance(e, Binary) and e.op == "two_comp_mod" and self._width(e) >= width:
            return self.modulo(e.left, width)
        if isinstance(e, Ternary) and not self.is_boolean(e):
            return f"({self.boolean(e.condition)} ? {self.modulo(e.left, width)} : {self.modulo(e.right, width)})"
        return cast(self.exact(e), c_type)

    def truncated(self, e: Expression, width: int) -> str:
        """C text, of type `unsigned_type(width)`, of the value modulo 2^width."""
        if not self._may_be_wide(e):
            value = self.exact(e)
            if value.low >= 0 and value.high < 1 << width:
                return cast(value, unsigned_type(width))
        return low_bits(self.modulo(e, width), width)

    def stored(self, e: Expression, field: Field) -> str:
        """C text of what assigning the value to a field leaves in it."""
        if field.signed:
            return sign(self.modulo(e, field.width), field.width)
        return self.truncated(e, field.width)

    def _may_be_wide(self, e: Expression) -> bool:
        try:
            self.exact(e)
        except UnsupportedProgram:
            return True
        return False

    def _type(self, low: int, high: int) -> str:
        name = type_for(low, high)
        if name is None:
            raise self._refuse(f"arithmetic beyond {MAX_BITS} bits")
        if name == WIDE:
            self.layout.reserve(bits_of(low, high))
        return name

    def _value(self, text: str, low: int, high: int, computed: str | None = None) -> Value:
        """A value, cast to the type of its interval when it was computed in another."""
        c_type = self._type(low, high)
        return Value(text if computed is None else convert(text, computed, c_type), low, high)

    @staticmethod
    def _describe(e: Expression) -> str:
        return f"operator {e.op!r}" if isinstance(e, Unary | Binary) else type(e).__name__
