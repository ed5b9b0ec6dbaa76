"""From a report to a rank: how good an instance is for the next piece of work. Larger is better."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Annotated, ClassVar, Self

from pydantic import ConfigDict

from hitless.steering.arithmetic import U32, subtract_saturating
from hitless.steering.units import FILE_FORM, LeftShift, RightShift, Unit, Word
from hitless.wire.report import Report
from hitless.words import OFF, SINGLE_BEST, SINGLE_MAX_LOAD, WEIGHT_MAX

PARAMETERS = ("w_cpu", "w_memory", "w_queue", "busy_after", "w_interval", "w_contention")
"""Of the program's action `score`, in the order of the fields of Score."""


@dataclass(frozen=True, slots=True)
class Score:
    """How metrics add up to the load of an instance: what stands in new work's way. A shift that is `off` leaves its
    metric out.

    Without a word of the fabric file, that is the start that work would have, counted in the service's own time, and
    contention: both are zero where nothing is in the way, whatever the service is like.
    """

    __pydantic_config__: ClassVar[ConfigDict] = FILE_FORM
    action: ClassVar = "score"
    """In the program's table `scoring`."""

    cpu: LeftShift = OFF
    """CPU use of the node that is not this instance's own, in permille of the node's budget."""
    memory: LeftShift = OFF
    """Memory use of the node, in permille of its budget."""
    queue: LeftShift = 7
    """Requests that wait at the instance, above as many as it executes at a time and `busy_after` more."""
    busy_after: Annotated[Word, Unit("requests")] = 0
    """How many more do not count yet."""
    interval: RightShift = OFF
    """The service interval: microseconds from one request's end to the next under load."""
    contention: LeftShift = 1
    """Permille of the time that the instance's processes wanted to run in which others kept them from it."""

    @property
    def params(self) -> tuple[tuple[str, int], ...]:
        """The action's parameters."""
        return tuple(zip(PARAMETERS, (getattr(self, one.name) for one in fields(self)), strict=True))

    @classmethod
    def of(cls, params: Mapping[str, int]) -> Self:
        """What an entry with these parameters says."""
        return cls(*(params[name] for name in PARAMETERS))


ONLY_PATH_COST = Score(OFF, OFF, OFF, 0, OFF, OFF)
"""How a service is scored that has no entry in `scoring`."""


def load(report: Report, score: Score, path_cost: int) -> int:
    """How much stands in new work's way at an instance: 32 bits, saturating.

    What the instance itself uses of the node's budget does not count against it.
    """
    return min(sum(parts(report, score).values()) + path_cost, U32)


def parts(report: Report, score: Score) -> dict[str, int]:
    """What the load is made of beside the path cost: what each metric adds, by its name in the score."""
    return {
        "cpu": _weighted(subtract_saturating(report.cpu, report.cpu_own), score.cpu),
        "memory": _weighted(report.memory, score.memory),
        "queue": _weighted(subtract_saturating(report.queue_depth, report.concurrency + score.busy_after), score.queue),
        "interval": report.service_interval >> score.interval if score.interval <= WEIGHT_MAX else 0,
        "contention": _weighted(report.contention, score.contention),
    }


def _weighted(value: int, shift: int) -> int:
    return value << shift if shift <= WEIGHT_MAX else 0


def single_rank(total_load: int) -> int:
    """The rank under `single`: 65535 less the load, and never as low as of who drains or starts new work too late."""
    return SINGLE_BEST - min(total_load, SINGLE_MAX_LOAD)
