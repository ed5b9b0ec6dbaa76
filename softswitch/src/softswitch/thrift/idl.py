"""Reads the part of Thrift's interface language that the `.thrift` files here are written in, and makes classes of it:
enums, structs, exceptions, and of each method of a service its arguments and its result.

So the library needs no code that its compiler made. What a `thrift_spec` holds is the library's (`thrift.protocol`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from types import SimpleNamespace
from typing import Any

from thrift.protocol.TBase import TBase, TExceptionBase
from thrift.Thrift import TType

_TOKEN = re.compile(r"//[^\n]*|(\w+|[{}()<>:,=])")

_BASES = {
    "bool": (TType.BOOL, None),
    "i16": (TType.I16, None),
    "i32": (TType.I32, None),
    "i64": (TType.I64, None),
    "double": (TType.DOUBLE, None),
    "string": (TType.STRING, "UTF8"),
    "binary": (TType.STRING, "BINARY"),
}


@dataclass(frozen=True)
class Method:
    """The class of its arguments, whose names in their order are `fields`, and that of its result: `success`, or one of
    `errors`, which go to fields of these names."""

    arguments: type[Any]
    fields: tuple[str, ...]
    result: type[Any]
    errors: dict[str, type[BaseException]]


@dataclass
class Definitions:
    """What a file defines."""

    types: dict[str, Any] = field(default_factory=dict)
    services: dict[str, dict[str, Method]] = field(default_factory=dict)

    def namespace(self) -> SimpleNamespace:
        """Types as attributes; a service is its methods by name."""
        return SimpleNamespace(**self.types, **self.services)


_Type = tuple[int, Any]
_Field = tuple[int, str, _Type]


def read(text: str) -> Definitions:
    """The definitions in a file."""
    return _Reader(text).read()


class _Reader:
    def __init__(self, text: str) -> None:
        self._tokens: list[str] = [token for token in _TOKEN.findall(text) if token]
        self._at = 0
        self._known = Definitions()

    def read(self) -> Definitions:
        kinds: dict[str, Callable[[str], None]] = {
            "enum": self._enum,
            "struct": lambda name: self._struct(name, TBase),
            "exception": lambda name: self._struct(name, TExceptionBase),
            "service": self._service,
        }
        while self._at < len(self._tokens):
            kinds[self._next()](self._next())
        return self._known

    def _next(self) -> str:
        self._at += 1
        return self._tokens[self._at - 1]

    def _skip(self, token: str) -> bool:
        """Whether it comes next, and is behind us now."""
        if self._at < len(self._tokens) and self._tokens[self._at] == token:
            self._at += 1
            return True
        return False

    def _enum(self, name: str) -> None:
        members: dict[str, int] = {}
        self._skip("{")
        while not self._skip("}"):
            member, _, value = self._next(), self._next(), self._next()
            members[member] = int(value)
            self._skip(",")
        self._known.types[name] = IntEnum(name, members)

    def _struct(self, name: str, base: type[Any]) -> None:
        self._known.types[name] = _make(name, base, self._fields("{", "}"))

    def _service(self, name: str) -> None:
        methods: dict[str, Method] = {}
        self._skip("{")
        while not self._skip("}"):
            returned = None if self._skip("void") else self._type()
            method = self._next()
            given = self._fields("(", ")")
            thrown = self._fields("(", ")") if self._skip("throws") else []
            self._skip(",")
            answer: list[_Field] = [] if returned is None else [(0, "success", returned)]
            methods[method] = Method(
                _make(f"{method}_args", TBase, given),
                tuple(label for _, label, _ in given),
                _make(f"{method}_result", TBase, [*answer, *thrown]),
                {label: kind[1][0] for _, label, kind in thrown},
            )
        self._known.services[name] = methods

    def _fields(self, first: str, last: str) -> list[_Field]:
        fields: list[_Field] = []
        assert self._skip(first), self._tokens[self._at]
        while not self._skip(last):
            number, _ = self._next(), self._next()
            self._skip("optional")
            kind = self._type()
            fields.append((int(number), self._next(), kind))
            self._skip(",")
        return fields

    def _type(self) -> _Type:
        name = self._next()
        if name in _BASES:
            return _BASES[name]
        if name in ("list", "map"):
            self._skip("<")
            parts = [self._type()]
            while self._skip(","):
                parts.append(self._type())
            self._skip(">")
            flat = tuple(item for part in parts for item in part)
            return (TType.LIST if name == "list" else TType.MAP), (*flat, False)
        known = self._known.types[name]
        if issubclass(known, IntEnum):
            return TType.I32, None
        return TType.STRUCT, [known, known.thrift_spec]


def _make(name: str, base: type[Any], fields: list[_Field]) -> type[Any]:
    names = tuple(label for _, label, _ in fields)
    spec: list[Any] = [None] * (max((number for number, _, _ in fields), default=-1) + 1)
    for number, label, (kind, arguments) in fields:
        spec[number] = (number, kind, label, arguments, None)

    def __init__(self: Any, **values: Any) -> None:
        for label in names:
            setattr(self, label, values.pop(label, None))
        if values:
            raise TypeError(f"{name} has no field {next(iter(values))!r}")

    return type(name, (base,), {"__slots__": names, "__init__": __init__, "thrift_spec": tuple(spec)})
