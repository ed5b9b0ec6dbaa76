"""The switch's integers: widths, saturation, serial numbers, time that may step back."""

from hitless.words import USEC_BITS

U32 = 2**32 - 1
U48 = (1 << USEC_BITS) - 1


def newer(value: int, than: int) -> bool:
    """Whether a 32-bit serial number comes after another (RFC 1982; the one half away is not newer)."""
    return 0 < (value - than) & U32 < 2**31


def subtract_saturating(a: int, b: int) -> int:
    """The difference of two unsigned numbers, at least zero."""
    return max(a - b, 0)


def elapsed(now: int, then: int) -> int:
    """Microseconds since `then` on a 48-bit clock; zero when the clock was set back, never huge."""
    span = (now - then) & U48
    return 0 if span >= 1 << USEC_BITS - 1 else span


def passed(now: int, then: int) -> bool:
    """Whether a time is past on a 48-bit clock. One that was set back only puts it off."""
    return (then - now) & U48 >= 1 << USEC_BITS - 1
