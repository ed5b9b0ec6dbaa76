"""From a report to a rank: how good an instance is for the next piece of work. Larger is better."""

from dataclasses import dataclass

from hitless.steering.arithmetic import U32, subtract_saturating
from hitless.wire.report import Report

NOT_ELIGIBLE = 0
"""Takes no new work: absent, or not ready."""
LAST_RESORT = 1
"""Draining: takes new work only when there is nobody else."""
SINGLE_BEST = 2**16 - 1
"""The rank of an idle instance under `single`."""
SINGLE_MAX_LOAD = SINGLE_BEST - LAST_RESORT - 1
"""Load counts up to here, so that the busiest instance still beats a draining one."""
SPREAD_BEST = 2**48 - 1
"""The rank under `spread` of an instance that could have started at time zero."""
SPREAD_MAX_DELAY = 2**46
"""Microseconds that a start can lie ahead, so that its rank stays above LAST_RESORT."""
WEIGHT_MAX = 16
"""The largest shift; a larger one turns the metric off."""
OFF = 31
"""How a metric is turned off."""


@dataclass(frozen=True, slots=True)
class Score:
    """How metrics become load: left shifts for cpu, memory and queue, a right shift for the service interval."""

    cpu: int = 0
    memory: int = OFF
    queue: int = OFF
    busy_after: int = 0
    """Queue depth that does not count yet."""
    interval: int = OFF


def load(report: Report, score: Score, path_cost: int) -> int:
    """How much stands in new work's way at an instance: 32 bits, saturating.

    What the instance itself uses of the node's budget does not count against it.
    """
    total = (
        _weighted(subtract_saturating(report.cpu, report.cpu_own), score.cpu)
        + _weighted(report.memory, score.memory)
        + _weighted(subtract_saturating(report.queue_depth, score.busy_after), score.queue)
        + (report.service_interval >> score.interval if score.interval <= WEIGHT_MAX else 0)
        + path_cost
    )
    return min(total, U32)


def _weighted(value: int, shift: int) -> int:
    return value << shift if shift <= WEIGHT_MAX else 0


def single_rank(total_load: int) -> int:
    """The rank under `single`: 65535 less the load, and never as low as a draining instance."""
    return SINGLE_BEST - min(total_load, SINGLE_MAX_LOAD)
