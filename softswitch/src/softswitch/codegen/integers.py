"""C types for integers by the interval they lie in: conversions between them, constants, and where fields are kept.

Up to 128 bits these are C's own types; beyond, `struct ss_wide` of runtime/wide.h in two's complement, and fields are
arrays of 64-bit words.
"""

from __future__ import annotations

from dataclasses import dataclass

from softswitch.bmv2.program import Field

WIDE = "struct ss_wide"
MAX_BITS = 4096
"""The widest number: P4's widest field that p4c takes by default is 2048 bits, and a product of two fits."""

WORD = 64
_TYPES = (
    ("uint64_t", 0, 2**64 - 1),
    ("int64_t", -(2**63), 2**63 - 1),
    ("u128", 0, 2**128 - 1),
    ("i128", -(2**127), 2**127 - 1),
    (WIDE, -(2 ** (MAX_BITS - 1)), 2 ** (MAX_BITS - 1) - 1),
)
_SHORT = {"uint64_t": "u64", "int64_t": "i64", "u128": "u128", "i128": "i128"}
_NAMES = {"+": "add", "-": "sub", "*": "mul", "&": "and", "|": "or", "^": "xor", "/": "div", "%": "mod"}


@dataclass(frozen=True, slots=True)
class Value:
    """C text of an integer that lies in low..high and has the type `type_for(low, high)`."""

    text: str
    low: int
    high: int


def type_for(low: int, high: int) -> str | None:
    """The C type that computes with an interval, None when none is wide enough."""
    for name, least, greatest in _TYPES:
        if least <= low and high <= greatest:
            return name
    return None


def unsigned_type(width: int) -> str:
    """The C type that holds a number modulo 2^width."""
    return "uint64_t" if width <= 64 else "u128" if width <= 128 else WIDE


def words(width: int) -> int:
    """64-bit words of a field wider than 128 bits."""
    return (width + WORD - 1) // WORD


def bits_of(low: int, high: int) -> int:
    """Bits of two's complement that hold an interval."""
    return max(low.bit_length(), high.bit_length()) + 1


def convert(text: str, origin: str, target: str) -> str:
    """C text of one type as another; what does not fit is cut off."""
    if origin == target:
        return text
    if target == WIDE:
        return f"ss_wide_{_SHORT[origin]}({text})"
    if origin == WIDE:
        return f"({target})ss_wide_low({text})"
    return f"({target}){text}"


def cast(value: Value, c_type: str) -> str:
    """The value as another C type."""
    own = type_for(value.low, value.high)
    assert own is not None
    return convert(value.text, own, c_type)


def operate(op: str, c_type: str, left: str, right: str) -> str:
    """C text of a binary operator on two values of one type."""
    return f"ss_wide_{_NAMES[op]}({left}, {right})" if c_type == WIDE else f"({left} {op} {right})"


def compare(op: str, c_type: str, left: str, right: str) -> str:
    """C text of a comparison of two values of one type."""
    return f"(ss_wide_compare({left}, {right}) {op} 0)" if c_type == WIDE else f"({left} {op} {right})"


def word_list(value: int, count: int) -> str:
    """C text of the words of a number, low word first."""
    parts = (value >> WORD * i & (2**WORD - 1) for i in range(count))
    return f"(const uint64_t[]){{{', '.join(f'{part:#x}u' for part in parts)}}}"


def constant(value: int, c_type: str = "uint64_t") -> str:
    """A C constant of a type."""
    if c_type == WIDE:
        count = max(words(bits_of(value, value)), 1)
        return f"ss_wide_get_signed({word_list(value, count)}, {count})"
    if -(2**63) < value < 2**63:
        sign = "-" if value < 0 else ""
        return f"({c_type}){value}" if abs(value) < 2**31 else f"({c_type}){sign}{abs(value):#x}LL"
    bits = value & (2**128 - 1)
    if bits < 2**64:
        return f"({c_type}){bits:#x}u"
    return f"({c_type})((u128){bits >> 64:#x}u << 64 | {bits & (2**64 - 1):#x}u)"


def sign(text: str, width: int) -> str:
    """C text of the low `width` bits, of type `unsigned_type(width)`, as a two's complement number."""
    if width > 128:
        return f"ss_wide_sign({text}, {width})"
    return f"ss_sign{64 if width <= 64 else 128}({text}, {width})"


def low_bits(text: str, width: int) -> str:
    """C text of a value of type `unsigned_type(width)` modulo 2^width."""
    if width in (64, 128):
        return text
    if width > 128:
        return f"ss_wide_mask({text}, {width})"
    return f"({text} & {constant((1 << width) - 1, unsigned_type(width))})"


def storage(width: int, signed: bool = False) -> str:
    """The smallest C integer type for a width of at most 128 bits; the type of a word beyond."""
    if width > 128:
        return "uint64_t"
    for bits in (8, 16, 32, 64):
        if width <= bits:
            return f"{'' if signed else 'u'}int{bits}_t"
    return "i128" if signed else "u128"


def storage_bits(width: int) -> int:
    """Bits that a field takes in memory."""
    return next((bits for bits in (8, 16, 32, 64, 128) if width <= bits), words(width) * WORD)


def declaration(field: Field, name: str) -> str:
    """C declaration of a field."""
    size = f"[{words(field.width)}]" if field.width > 128 else ""
    return f"{storage(field.width, field.signed)} {name}{size};"


def read(lvalue: str, field: Field) -> Value:
    """The value that a field of memory holds; one of no bits is in no memory."""
    if not field.width:
        return Value(constant(0), 0, 0)
    low, high = (-(2 ** (field.width - 1)), 2 ** (field.width - 1) - 1) if field.signed else (0, 2**field.width - 1)
    if field.width > 128:
        return Value(f"ss_wide_get{'_signed' if field.signed else ''}({lvalue}, {words(field.width)})", low, high)
    return Value(f"({type_for(low, high)}){lvalue}", low, high)


def write(lvalue: str, field: Field, text: str) -> str:
    """C statement that stores a value which fits the field."""
    if not field.width:
        return ";"
    return f"ss_wide_put({lvalue}, {words(field.width)}, {text});" if field.width > 128 else f"{lvalue} = {text};"
