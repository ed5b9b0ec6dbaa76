"""From what a switch has to what it should have: the writes, in an order that never leaves a hole.

Make before break. What an entry refers to is there before the entry is, and goes only after it:

    routes, arp, multicast groups, tunnels <- instances <- bindings, scoring, policies, services <- endpoints

so a service appears with its `endpoints` entry, the last one written, and disappears with it, the first one
deleted; and a change of an `endpoints`, `services` or `policies` entry is one MODIFY of one entry.
"""

from dataclasses import dataclass
from enum import Enum
from itertools import groupby

from controller.switches.entries import GROUPS, Act, Entries, Place

ORDER = (
    "routes",
    "arp",
    GROUPS,
    "tunnels",
    "instances",
    "bindings",
    "scoring",
    "services",
    "policies",
    "endpoints",
)
"""Tables in the order in which entries are made; deleted in the reverse. An unknown table comes first."""


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


def diff(present: Entries, desired: Entries) -> Changes:
    """The writes that turn `present` into `desired`; empty when they are equal."""
    made = [
        Update(Kind.MODIFY if place in present else Kind.INSERT, place, act)
        for place, act in desired.items()
        if present.get(place) != act
    ]
    broken = [Update(Kind.DELETE, place, act) for place, act in present.items() if place not in desired]
    return Changes((*_batches(made, forward=True), *_batches(broken, forward=False)))


def _rank(update: Update) -> int:
    return ORDER.index(update.place.table) if update.place.table in ORDER else -1


def _batches(updates: list[Update], *, forward: bool) -> list[tuple[Update, ...]]:
    ordered = sorted(updates, key=lambda update: (_rank(update) if forward else -_rank(update), update.place))
    return [tuple(batch) for _, batch in groupby(ordered, key=_rank)]
