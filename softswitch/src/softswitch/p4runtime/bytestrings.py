"""P4Runtime's binary strings (specification, "Bytestrings"): any length is read, the shortest is written."""

from __future__ import annotations


def decode(value: bytes, width: int) -> int:
    """The bit<width> that `value` holds. Raises ValueError when empty or too wide."""
    if not value:
        raise ValueError("empty byte string")
    number = int.from_bytes(value, "big")
    if number >> width:
        raise ValueError(f"{value.hex()} does not fit bit<{width}>")
    return number


def encode(number: int) -> bytes:
    """The canonical string of a bit<W>."""
    return number.to_bytes((number.bit_length() + 7) // 8 or 1, "big")


def decode_signed(value: bytes, width: int) -> int:
    """The int<width> that `value` holds. Raises ValueError when empty or too wide."""
    if not value:
        raise ValueError("empty byte string")
    number = int.from_bytes(value, "big", signed=True)
    if not -(1 << (width - 1)) <= number < 1 << (width - 1):
        raise ValueError(f"{value.hex()} does not fit int<{width}>")
    return number


def encode_signed(number: int) -> bytes:
    """The canonical string of an int<W>."""
    magnitude = number if number >= 0 else ~number
    return number.to_bytes(magnitude.bit_length() // 8 + 1, "big", signed=True)
