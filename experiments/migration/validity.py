"""Whether a machine can show what a run is about, and why not. Pure.

A run whose parts wait for the machine shows the machine. What is asked of it: two cores; that the hypervisor leaves
them; that the load left in time; that the competing computation and the functions together had the node's whole budget;
that the switch did not wait for a core; and that undisturbed requests took as long in the rounds of one way as in
those of another.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from experiments.migration.measure import NOISY_LATE_MS
from experiments.migration.samples import MachineSample

CORES = 2
NEEDED = 1.2
"""Cores that a run keeps busy."""
STEAL = 0.05
"""Of the cores' time."""
LATE_MS = NOISY_LATE_MS
"""Of the generator, at its 99th percentile."""
DELIVERED = 0.85
"""Of the budget of a node while something competes for it."""
SWITCH_WAIT = 0.25
"""Of the time."""
UNLIKE = 1.5
"""Between the medians of two ways' undisturbed requests."""


@dataclass(frozen=True)
class Use:
    """How the machine was used between two samples; shares of the cores' time, or of the time."""

    idle: float
    steal: float
    pressure: float | None
    switch_wait: float | None


def use(samples: Sequence[MachineSample]) -> Use | None:
    """From the first sample to the last; None without time between them."""
    if len(samples) < 2 or samples[-1].total_ms <= samples[0].total_ms:
        return None
    first, last = samples[0], samples[-1]
    total = last.total_ms - first.total_ms
    elapsed_us = (last.time_ns - first.time_ns) / 1000
    waits = [
        max(0, after.switch_wait_us - before.switch_wait_us)
        for before, after in pairwise(samples)
        if before.switch_wait_us is not None and after.switch_wait_us is not None
    ]
    pressure = None
    if first.pressure_us is not None and last.pressure_us is not None:
        pressure = (last.pressure_us - first.pressure_us) / elapsed_us
    return Use(
        (last.idle_ms - first.idle_ms) / total,
        (last.steal_ms - first.steal_ms) / total,
        pressure,
        sum(waits) / elapsed_us if waits else None,
    )


def machine_causes(cores: int, seen: Use | None) -> Iterator[str]:
    """Why a machine, as it is or was, cannot show anything."""
    if cores < CORES:
        yield f"the switch, the nodes and the load share {cores} core and wait for one another: they need {CORES}"
    if seen is not None and seen.steal > STEAL:
        yield f"the hypervisor took {seen.steal:.0%} of the cores' time (limit {STEAL:.0%})"
    if seen is not None and seen.switch_wait is not None and seen.switch_wait > SWITCH_WAIT:
        yield (f"the switch waited for a core {seen.switch_wait:.0%} of the time (limit {SWITCH_WAIT:.0%})")


def run_causes(late_ms: float, delivered: float | None, steady_ms: Mapping[str, float | None]) -> Iterator[str]:
    """Why what was measured is the machine's doing: lateness, the share of its budget that a disturbed node got, and
    the median of undisturbed requests of each way (None: not known)."""
    if late_ms > LATE_MS:
        yield f"the load left up to {late_ms:.1f} ms late (99th percentile, limit {LATE_MS:g} ms)"
    if delivered is not None and delivered < DELIVERED:
        yield f"a disturbed node got {delivered:.0%} of its CPU budget (limit {DELIVERED:.0%})"
    known = {way: value for way, value in steady_ms.items() if value}
    if known:
        low, high = min(known, key=known.__getitem__), max(known, key=known.__getitem__)
        if known[high] > UNLIKE * known[low]:
            yield (
                f"undisturbed requests took {known[low]:.1f} ms in the rounds {low} and {known[high]:.1f} ms in those "
                f"{high} (median): the machine changed meanwhile"
            )
