"""Match keys: what an entry says of each field of a table's key.

A key names every field of the table, in the table's order, don't-cares included. An optional field has a ternary match,
as p4c makes it of one.
"""

from __future__ import annotations

from typing import NamedTuple


class Exact(NamedTuple):
    """The field equals `value`."""

    value: int

    def bounds(self, ones: int) -> tuple[int, int]:
        """Value and mask, in a field whose bits are `ones`."""
        return self.value, ones


class Lpm(NamedTuple):
    """The field's first `prefix_length` bits equal those of `value`; length 0 matches everything."""

    value: int
    prefix_length: int

    def bounds(self, ones: int) -> tuple[int, int]:
        """Value and mask, in a field whose bits are `ones`."""
        return self.value, ones ^ ones >> self.prefix_length


class Ternary(NamedTuple):
    """The field equals `value` where `mask` has ones; mask 0 matches everything."""

    value: int
    mask: int

    def bounds(self, ones: int) -> tuple[int, int]:
        """Value and mask."""
        return self.value, self.mask


class Range(NamedTuple):
    """The field lies between `low` and `high`, both included."""

    low: int
    high: int

    def bounds(self, ones: int) -> tuple[int, int]:
        """Lowest and highest value."""
        return self.low, self.high


MatchKey = Exact | Lpm | Ternary | Range
Key = tuple[MatchKey, ...]


def check(match: MatchKey, width: int) -> None:
    """Refuse a match that means nothing, or not what it seems to. Its numbers fit `width` bits. Raises ValueError."""
    match match:
        case Lpm(value, length):
            if not 0 <= length <= width:
                raise ValueError(f"prefix length {length} is not in 0..{width}")
            if value & ((1 << (width - length)) - 1):
                raise ValueError(f"value has ones beyond its prefix of {length} bits")
        case Ternary(value, mask) if value & ~mask:
            raise ValueError(f"value {value:#x} has ones outside its mask {mask:#x}")
        case Range(low, high) if low > high:
            raise ValueError(f"range {low}..{high} is empty")
