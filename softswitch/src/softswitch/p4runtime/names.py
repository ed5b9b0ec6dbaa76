"""Names that stand for numbers of a type which `@p4runtime_translation` translates to strings (specification,
"User-defined types"). The specification leaves to the device what they mean.

A decimal number stands for itself, so that port "7" is port 7. Whatever else a controller writes is given a number of
the upper half that has no name (then of the lower half: low numbers often mean something to a program, and so does the
last), and keeps it as long as the program is loaded. A number without a name is read as a decimal.
"""

from __future__ import annotations

from softswitch.p4runtime import bytestrings

MOST_NAMES = 1 << 20
"""Of a type; a controller that makes up more is refused."""


class Names:
    """The names of one type. Two are never equal: their numbers may differ."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._names: dict[int, str] = {}
        self._next = 0

    def decode(self, value: bytes, width: int) -> int:
        """The bit<width> that a name stands for, from now on. Raises ValueError."""
        try:
            name = value.decode()
        except UnicodeDecodeError as error:
            raise ValueError(f"{value.hex()} is no name: {error.reason}") from error
        if not name:
            raise ValueError("empty name")
        if name in self._numbers:
            return self._numbers[name]
        number = self._meant(name, width)
        if number is None:
            number = self._free(name, width)
        if len(self._names) == MOST_NAMES:
            raise ValueError(f"no room for {name!r} beside {MOST_NAMES} other names")
        self._numbers[name], self._names[number] = number, name
        return number

    def encode(self, number: int) -> bytes:
        """The name of a number."""
        return self._names.get(number, str(number)).encode()

    def _meant(self, name: str, width: int) -> int | None:
        if not (name.isascii() and name.isdecimal() and str(int(name)) == name):
            return None
        number = int(name)
        if number >> width:
            raise ValueError(f"{name} does not fit bit<{width}>")
        if number in self._names:
            raise ValueError(f"{name} is the number of {self._names[number]!r}")
        return number

    def _free(self, name: str, width: int) -> int:
        if len(self._names) == 1 << width:
            raise ValueError(f"no number of bit<{width}> is left for {name!r}")
        number = self._next or (1 << width) >> 1
        while number in self._names:
            number = (number + 1) % (1 << width)
        self._next = number
        return number


def decode(names: Names | None, value: bytes, width: int) -> int:
    """The number that a client has written for a bit<width>. Raises ValueError."""
    return bytestrings.decode(value, width) if names is None else names.decode(value, width)


def encode(names: Names | None, number: int) -> bytes:
    """What a client reads of a number."""
    return bytestrings.encode(number) if names is None else names.encode(number)
