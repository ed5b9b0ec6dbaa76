"""Expressions of generated programs: drawn at random, of any type of bits and over given variables."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hypothesis import strategies as st

WIDTHS = [1, 2, 3, 5, 7, 8, 9, 13, 16, 17, 24, 31, 32, 33, 48, 63, 64, 65, 100, 127, 128, 129, 200, 256]
COMPARISONS = ["==", "!=", "<", "<=", ">", ">="]


@dataclass(frozen=True)
class Type:
    """bit<width> or int<width>."""

    width: int
    signed: bool = False

    def __str__(self) -> str:
        return f"{'int' if self.signed else 'bit'}<{self.width}>"


@dataclass(frozen=True)
class Variable:
    """An lvalue of a type."""

    text: str
    type: Type


@dataclass
class Expressions:
    """Draws names, numbers and expressions."""

    draw: Callable[[st.SearchStrategy[int]], int]
    count: int = 0

    def chance(self, one_in: int) -> bool:
        """Seldom true, and False when shrunk."""
        return self.draw(st.integers(0, one_in - 1)) == one_in - 1

    def choose(self, *options: object) -> object:
        """One of them, the first when shrunk."""
        return options[self.draw(st.integers(0, len(options) - 1))]

    def number(self, width: int) -> int:
        """A number of so many bits, often at an end."""
        top = (1 << width) - 1
        return int([self.draw(st.integers(0, top)), 0, 1 & top, top, 1 << (width - 1)][self.draw(st.integers(0, 4))])

    def type(self) -> Type:
        """Any type."""
        width = WIDTHS[self.draw(st.integers(0, len(WIDTHS) - 1))]
        return Type(width, width > 1 and self.chance(5))

    def fields(self, prefix: str, count: int, whole_bytes: bool = True) -> list[Variable]:
        """Fields of a struct, padded to whole bytes."""
        made = [Variable(f"{prefix}f{i}", self.type()) for i in range(count)]
        rest = -sum(v.type.width for v in made) % 8
        return made + ([Variable(f"{prefix}pad", Type(rest))] if rest and whole_bytes else [])

    def name(self, kind: str) -> str:
        """A new name."""
        self.count += 1
        return f"{kind}{self.count}"

    def constant(self, kind: Type) -> str:
        """A constant with its width."""
        value = self.number(kind.width)
        if kind.signed and value >> (kind.width - 1):
            return f"({kind})({kind.width}w{value})"
        return f"{kind.width}{'s' if kind.signed else 'w'}{value}"

    def expression(self, kind: Type, env: list[Variable], depth: int = 3) -> str:
        """An expression of a type over the variables."""
        same = [v for v in env if v.type == kind]
        form = self.draw(st.integers(0, 9 if depth else 2))
        width = kind.width
        if form == 0 or not env:
            return self.constant(kind)
        if form == 1 and same:
            return str(self.choose(*(v.text for v in same)))
        if form <= 2:
            return self.cast(kind, env[self.draw(st.integers(0, len(env) - 1))])
        inner = lambda k=kind: self.expression(k, env, depth - 1)  # noqa: E731
        if form == 3:
            amount = inner(Type(8)) if self.chance(2) else str(self.draw(st.integers(0, 2 * width)) % 256)
            return f"({inner()} {self.choose('<<', '>>')} {amount})"
        if form == 4:
            return f"({self.condition(env, depth - 1)} ? {inner()} : {inner()})"
        if form == 5 and not kind.signed and width > 1:
            low = self.draw(st.integers(1, width - 1))
            return f"({inner(Type(width - low))} ++ {inner(Type(low))})"
        wider = [v for v in env if v.type.width > width and not v.type.signed]
        if form == 6 and not kind.signed and wider:
            origin = wider[self.draw(st.integers(0, len(wider) - 1))]
            low = self.draw(st.integers(0, origin.type.width - width))
            return f"{origin.text}[{low + width - 1}:{low}]"
        if form == 7:
            return f"({self.choose('~', '-')}{inner()})"
        if form == 8 and width > 1:
            return f"({inner()} {self.choose('|+|', '|-|')} {inner()})"
        return f"({inner()} {self.choose('+', '-', '&', '|', '^', '*')} {inner()})"

    @staticmethod
    def cast(kind: Type, origin: Variable) -> str:
        """A variable as another type: the width first, then the sign."""
        text = f"({Type(kind.width, origin.type.signed)}){origin.text}"
        if kind.width == 1 and origin.type.signed:
            return f"((bit<{origin.type.width}>){origin.text})[0:0]"
        return text if origin.type.signed == kind.signed else f"({kind}){text}"

    def condition(self, env: list[Variable], depth: int = 2) -> str:
        """A condition over the variables."""
        form = self.draw(st.integers(0, 5 if depth else 1))
        if form == 0:
            return f"hdr.{self.choose('h1', 'h2', 'st[0]', 'st[2]', 'v')}.isValid()"
        if form == 4:
            return f"!({self.condition(env, depth - 1)})"
        if form == 5:
            joined = self.choose("&&", "||")
            return f"({self.condition(env, depth - 1)} {joined} {self.condition(env, depth - 1)})"
        kind = self.type()
        left = self.expression(kind, env, max(depth - 1, 0))
        return f"({left} {self.choose(*COMPARISONS)} {self.expression(kind, env, max(depth - 1, 0))})"
