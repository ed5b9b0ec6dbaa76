"""From raw readings to a report's fields. Pure: readings and their times are passed in."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from greengrass_agent.measure.queue_page import QueueNumbers
from hitless.wire.report import BITS

SMOOTHING_NS = 118_000_000
"""Time constant of the CPU average: a function that works in bursts of some 30 ms looks as steady as its load is.

As slow as still follows a change within a quarter of a second: with 100 ms a single burst took a quiet node over a
margin of 600 permille in one run of four.
"""
FIRST_SERVICE_TIME_NS = 10_000_000
"""Taken for the service time until the first request was served."""
SERVICES_AVERAGED = 64
"""Over how many requests the service time is averaged."""
PERMILLE = 1000
_MAX = {name: (1 << bits) - 1 for name, bits in BITS.items()}
"""The most that each field of a report carries."""


@dataclass(slots=True)
class Share:
    """Use of a CPU budget: an exponentially weighted moving average over time, in permille of the budget.

    The weight of a reading follows from the time that it covers, so late and additional readings do no harm. Two shares
    that are read at the same times are smoothed alike: their difference is the smoothed difference.
    """

    budget_cores: float
    average: float = 0.0
    """Use of the budget; 1.0 is all of it."""
    _used_ns: int | None = None
    _time_ns: int = 0

    def add(self, used_ns: int, now_ns: int) -> None:
        """Take a reading: CPU time used so far, at a time."""
        if self._used_ns is not None and now_ns > self._time_ns:
            passed = now_ns - self._time_ns
            rate = (used_ns - self._used_ns) / (passed * self.budget_cores)
            self.average += (rate - self.average) * -math.expm1(-passed / SMOOTHING_NS)
        self._used_ns, self._time_ns = used_ns, now_ns

    @property
    def permille(self) -> int:
        """The average in permille of the budget, 0 to 1000."""
        return round(PERMILLE * min(max(self.average, 0.0), 1.0))


@dataclass(slots=True)
class ServiceTime:
    """EWMA of the time that requests take in a worker: the mean of the first ones, then weight 1/64 to each.

    Where service times vary, a heavier weight makes a node look faster or slower than it is, and costs `spread` a tenth
    of its response time (docs/policies.md).
    """

    average_ns: float = 0.0
    samples: int = field(default=0)

    def add(self, duration_ns: int) -> None:
        """Take a request that took so long."""
        self.samples += 1
        self.average_ns += (duration_ns - self.average_ns) / min(self.samples, SERVICES_AVERAGED)


def service_interval_us(numbers: QueueNumbers) -> int:
    """Microseconds between two completions of a busy instance: the service time divided by the concurrency."""
    service_time = numbers.service_time_ns or FIRST_SERVICE_TIME_NS
    return min(service_time // (1000 * max(1, numbers.concurrency)), _MAX["service_interval"])


def backlog_us(numbers: QueueNumbers, now_ns: int) -> int:
    """Microseconds until work arriving now would start.

    With a free worker none; otherwise until the request that has run longest should be done, and a service interval for
    each request that waits.
    """
    if numbers.in_flight < numbers.concurrency and numbers.queue_depth == 0:
        return 0
    service_time = numbers.service_time_ns or FIRST_SERVICE_TIME_NS
    running = now_ns - numbers.oldest_start_ns if numbers.oldest_start_ns else service_time
    left_us = max(0, service_time - running) // 1000
    return min(left_us + numbers.queue_depth * service_interval_us(numbers), _MAX["backlog"])


def permille_of(part: int, whole: int) -> int:
    """`part` in permille of `whole`, 0 to 1000."""
    return min(PERMILLE, PERMILLE * max(part, 0) // whole) if whole > 0 else 0


def saturated(field: str, value: int) -> int:
    """A count as this field of a report carries it."""
    return min(max(value, 0), _MAX[field])
