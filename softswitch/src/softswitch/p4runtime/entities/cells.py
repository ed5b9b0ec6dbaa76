"""Arrays of counters, meters and registers: which of their cells an entity means."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol, TypeAlias, TypeVar

from finsy.proto import p4r
from grpc import StatusCode

from softswitch.p4runtime.errors import P4RuntimeError, invalid


class Array(Protocol):
    """An element of P4Info with a size."""

    @property
    def name(self) -> str:
        """Its full name."""

    @property
    def size(self) -> int:
        """How many cells it has."""


_Array = TypeVar("_Array", bound=Array)
_Named = TypeVar("_Named")
_Value = TypeVar("_Value")
Message: TypeAlias = p4r.CounterEntry | p4r.MeterEntry | p4r.RegisterEntry


def find(what: str, known: Mapping[int, _Named], identifier: int) -> _Named:
    """What has this id. Raises INVALID_ARGUMENT."""
    if identifier not in known:
        raise invalid(f"no {what} has id {identifier}")
    return known[identifier]


def by_id(what: str, known: Mapping[int, _Named], identifier: int) -> list[_Named]:
    """What has this id; all for id 0. Raises INVALID_ARGUMENT."""
    return [find(what, known, identifier)] if identifier else list(known.values())


def cells(what: str, size: int, message: Message) -> range:
    """The cells that an entry's index means: one, or all when it is unset. Raises INVALID_ARGUMENT, OUT_OF_RANGE."""
    if not message.HasField("index"):
        return range(size)
    index = message.index.index
    if index < 0:
        raise invalid(f"{what}: index {index} is negative")
    if index >= size:
        raise P4RuntimeError(StatusCode.OUT_OF_RANGE, f"{what}: index {index} is not below its size {size}")
    return range(index, index + 1)


def select_cells(
    what: str,
    arrays: Iterable[_Array],
    request: Message,
    take: Callable[[str, int, int], Iterable[_Value]],
    message: Callable[[_Array, int, _Value], p4r.Entity],
) -> Iterable[p4r.Entity]:
    """The entities for the cells that a request means. Their values are taken now, messages are made when asked for."""
    ranges = [(array, cells(f"{what} {array.name!r}", array.size, request)) for array in arrays]
    taken = [(array, where, take(array.name, where.start, len(where))) for array, where in ranges]
    return (
        message(array, index, value)
        for array, where, values in taken
        for index, value in zip(where, values, strict=True)
    )
