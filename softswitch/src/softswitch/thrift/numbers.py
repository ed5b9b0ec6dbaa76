"""Thrift's integers have signs; those of counters and registers have none."""

from __future__ import annotations


def signed(value: int) -> int:
    """The low 64 bits of a number as an i64."""
    value &= (1 << 64) - 1
    return value - (1 << 64) if value >> 63 else value


def unsigned(value: int, width: int = 64) -> int:
    """An i64 as a number of so many bits, as BMv2 takes it: what is beyond them is dropped."""
    return value & (1 << width) - 1
