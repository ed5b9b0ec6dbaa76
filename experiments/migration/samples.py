"""What a run notes of itself while it goes on: its cycles, the ranks, the machine. Times are monotonic, in ns."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class Cycle:
    """The disturbance came and went once."""

    number: int
    round: int
    way: str
    node: str
    """Where the competing computation ran: the application's host when it started."""
    placed_ns: int
    """Every service is on its first node again."""
    trigger_ns: int | None
    """The start of the competing computation; None in a run without one."""
    calm_ns: int | None
    """Its end."""
    end_ns: int


@dataclass(frozen=True, slots=True)
class RankSample:
    """An instance's rank as whoever steers saw it."""

    time_ns: int
    service: str
    node: str
    rank: int


@dataclass(frozen=True, slots=True)
class MachineSample:
    """What the machine and the switch had done until then, in ms since they started, unless said otherwise."""

    time_ns: int
    total_ms: int
    """Time of all cores that the run may use."""
    idle_ms: int
    steal_ms: int
    """What the hypervisor gave to others."""
    pressure_us: int | None
    """Time in which anything on the machine waited for a core; None where the kernel does not tell."""
    switch_wait_us: int | None
    """How long the thread of the switch that waited most was runnable and did not run; None without one."""


def write(path: Path, kind: type[Row], rows: Iterable[Row]) -> None:
    """Write rows of one kind, a column for each field; None is empty."""
    names = [one.name for one in fields(kind)]  # type: ignore[arg-type]
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        writer.writerows(["" if (value := getattr(row, name)) is None else value for name in names] for row in rows)


def read(path: Path, kind: type[Row]) -> list[Row]:
    """Read rows that ``write`` wrote. Raises ValueError that names the file, on other columns or values."""
    hints = get_type_hints(kind)
    with path.open(newline="") as file:
        reader = csv.reader(file)
        header = next(reader, [])
        if header != list(hints):
            raise ValueError(f"{path}: the columns are {', '.join(header)}, expected {', '.join(hints)}")
        try:
            return [kind(*map(_value, hints.values(), row)) for row in reader]
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path}: line {reader.line_num}: {error}") from None


def _value(hint: Any, text: str) -> object:
    if hint is str:
        return text
    if text == "" and hint is not int:
        return None
    return int(text)
