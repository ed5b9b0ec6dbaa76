"""The kinds of disturbance, as descriptions. Pure: `causes` does what stands here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum

HERE, THERE = "edge1", "edge2"
"""The node that serves and is disturbed, and the one that could serve in its place."""
FRONT, BACK, NEIGHBOUR = "front", "back", "neighbour"
"""The service under load, the one that it calls, and somebody else's."""
MEASURED = (FRONT, BACK)
"""The services that the switch may move."""


@dataclass(frozen=True, slots=True)
class Burn:
    """Processes that compute on the node's core."""

    inside: bool
    """Whether in the node's budget; else in a group of their own that the scheduler prefers to the node's."""
    processes: int = 2
    both: bool = False
    """Whether on the other node as well, so that there is nowhere better to go."""


@dataclass(frozen=True, slots=True)
class Fill:
    """A process in the budget that keeps what the node's memory limit leaves, and files in the rest of it."""


@dataclass(frozen=True, slots=True)
class Transfer:
    """Processes in the budget that read and write the disk past the page cache."""

    processes: int = 4


@dataclass(frozen=True, slots=True)
class Throttle:
    """The function's own group gets less CPU time than it needs."""

    of_need: float = 0.4


@dataclass(frozen=True, slots=True)
class Stop:
    """The function's workers get SIGSTOP."""


@dataclass(frozen=True, slots=True)
class SlowDisk:
    """The function's disk takes fewer reads a second than the load asks for."""

    of_need: float = 0.4


@dataclass(frozen=True, slots=True)
class Call:
    """The neighbour is called so often that alone it would need this share of the node's budget."""

    budget: float = 1.2


@dataclass(frozen=True, slots=True)
class Work:
    """The function has so much more to do that alone it would need this share of the node's budget."""

    budget: float = 1.2


Cause = Burn | Fill | Transfer | Throttle | Stop | SlowDisk | Call | Work


class Need(Enum):
    """What of a machine not every machine has."""

    SECOND_CORE = "a second core: on one, both nodes would be disturbed"
    MEMORY_LIMIT = "control groups that limit memory"
    DISK = "a disk below /var/tmp that can be read past the page cache"
    DISK_LIMIT = "control groups that limit reads of a disk"


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of disturbance."""

    what: str
    """What is done, for people."""
    cause: Cause
    services: tuple[str, ...] = (FRONT,)
    """One of them should go elsewhere."""
    needs: tuple[Need, ...] = ()
    stays: bool = False
    """Whether it should stay where it is: both nodes are disturbed alike, and each move is one too many."""


KINDS: Mapping[str, Kind] = {
    "cpu-inside": Kind("two processes compute inside the node's budget", Burn(inside=True)),
    "cpu-outside": Kind(
        "two processes compute outside of it, on its core", Burn(inside=False), needs=(Need.SECOND_CORE,)
    ),
    "memory": Kind("the node's memory limit is nearly reached", Fill(), needs=(Need.MEMORY_LIMIT,)),
    "io": Kind("four processes read and write the disk", Transfer(), needs=(Need.DISK,)),
    "slow-disk": Kind("the disk takes fewer reads than are asked for", SlowDisk(), needs=(Need.DISK, Need.DISK_LIMIT)),
    "throttled": Kind("the function gets 40 % of the CPU time it needs", Throttle()),
    "stopped": Kind("the function's workers are stopped", Stop()),
    "neighbour": Kind("another service on the node has more to do than fits", Call()),
    "downstream": Kind("the function that it calls has more to do than fits", Work(), MEASURED),
    "both-busy": Kind("two processes compute inside of each node's budget", Burn(inside=True, both=True), stays=True),
}


def impossible(kinds: Mapping[str, Kind], there: frozenset[Need]) -> Iterator[tuple[str, str]]:
    """The kinds that a machine with only these possibilities cannot do, each with the reason."""
    for name, kind in kinds.items():
        missing = [need.value for need in kind.needs if need not in there]
        if missing:
            yield name, f"there is no {'; no '.join(one.removeprefix('a ') for one in missing)}"
