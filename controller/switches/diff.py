"""From what a switch has to what it should have: the writes, in an order that never leaves a hole.

Make before break. What an entry refers to is there before the entry is, and goes only after it. The program says what
refers to what (`@refers_to` on keys and parameters); of its tables, that comes to

    sources <- routes, arp, multicast groups <- instances, tunnels, scoring, services <- bindings, policies <- endpoints

so a service appears with its `endpoints` entry, the last one written, and disappears with it, the first one
deleted; and a change of an `endpoints`, `services` or `policies` entry is one MODIFY of one entry.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from graphlib import TopologicalSorter
from itertools import groupby

from controller.switches.entries import Act, Entries, Place

Order = Sequence[str]
"""Tables as their entries are made; they are deleted in the reverse order."""


def creation_order(references: Mapping[str, Iterable[str]]) -> Order:
    """An order of tables in which each comes after those that its entries refer to.

    `references`: by table, those tables. Raises graphlib.CycleError.
    """
    return tuple(TopologicalSorter(references).static_order())


class Kind(Enum):
    """What a write does; the value is how it is shown."""

    INSERT = "+"
    MODIFY = "~"
    DELETE = "-"


@dataclass(frozen=True, slots=True)
class Update:
    """One write of one entry."""

    kind: Kind
    place: Place
    act: Act
    """For a DELETE: what stands there until then."""

    def __str__(self) -> str:
        return f"{self.kind.value} {self.place} {self.act}"


@dataclass(frozen=True, slots=True)
class Changes:
    """Writes to make, one batch after the other; those within a batch do not depend on one another."""

    batches: tuple[tuple[Update, ...], ...] = ()

    @property
    def updates(self) -> tuple[Update, ...]:
        """All writes, in order."""
        return tuple(update for batch in self.batches for update in batch)

    def __bool__(self) -> bool:
        return bool(self.batches)

    def __str__(self) -> str:
        return "\n".join(str(update) for update in self.updates) or "nothing to change"


def diff(present: Entries, desired: Entries, order: Order) -> Changes:
    """The writes that turn `present` into `desired`; empty when they are equal. `order` has every table of both."""
    made = [
        Update(Kind.MODIFY if place in present else Kind.INSERT, place, act)
        for place, act in desired.items()
        if present.get(place) != act
    ]
    broken = [Update(Kind.DELETE, place, act) for place, act in present.items() if place not in desired]
    return Changes((*_batches(made, order), *_batches(broken, order[::-1])))


def _batches(updates: list[Update], order: Order) -> list[tuple[Update, ...]]:
    ranks = {table: rank for rank, table in enumerate(order)}
    ordered = sorted(updates, key=lambda update: (ranks[update.place.table], update.place))
    return [tuple(batch) for _, batch in groupby(ordered, key=lambda update: update.place.table)]
