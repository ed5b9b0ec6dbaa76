"""Headers on the wire, written and read by a layout that is said elsewhere: big-endian, nothing between the fields."""

import struct
from collections.abc import Mapping

from hitless.words import Layout

_CODES = {8: "B", 16: "H", 32: "I", 64: "Q"}


def struct_of(layout: Layout) -> struct.Struct:
    """What reads and writes a header whose fields have 1, 2, 4 or 8 bytes: faster than `Header`, for every datagram.

    Fields of less than a byte stand together as one value, which fills bytes; `reserved` is zero and has no value.
    """
    codes, gathered = "!", 0
    for name, bits in layout:
        if name == "reserved":
            codes += f"{bits // 8}x"
            continue
        gathered += bits
        if gathered % 8 == 0:
            codes += _CODES[gathered]
            gathered = 0
    return struct.Struct(codes)


def offset(layout: Layout, field: str) -> int:
    """The byte of a header at which a field begins. Raises KeyError."""
    before = 0
    for name, bits in layout:
        if name == field:
            return before // 8
        before += bits
    raise KeyError(field)


class FieldError(ValueError):
    """A value does not fit its field; the message names the field and what was expected."""


class Header:
    """A header of a whole number of bytes."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        """(field, bits) in order."""
        bits = sum(width for _, width in layout)
        if bits % 8:
            raise ValueError(f"a header has {bits} bits, expected whole bytes")
        self.size = bits // 8
        """In bytes."""
        self._places: list[tuple[str, int, int]] = []
        for name, width in layout:
            bits -= width
            self._places.append((name, bits, (1 << width) - 1))

    def pack(self, values: Mapping[str, int]) -> bytes:
        """The header with these values of its fields. Raises FieldError; KeyError for a field without a value."""
        number = 0
        for name, bits in self.layout:
            value = values[name]
            try:
                misfit = value >> bits  # of a negative number, too
            except TypeError:
                misfit = True
            if misfit:
                raise FieldError(f"field {name} is {value!r}, expected an integer of 0 to {(1 << bits) - 1}")
            number = number << bits | value
        return number.to_bytes(self.size)

    def unpack(self, data: bytes | bytearray | memoryview) -> dict[str, int]:
        """The values of a header's fields; `data` is as long as the header."""
        number = int.from_bytes(data)
        return {name: number >> place & mask for name, place, mask in self._places}
