"""What the faults of a run come to, by kind, and whether the run tells anything. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from experiments.detection.judge import quantile
from experiments.failures.measure import Cost
from experiments.failures.plan import CONTROL
from experiments.failures.rows import Facts
from experiments.migration.measure import NOISY_LATE_MS


def summarise(facts: Facts) -> dict[str, Any]:
    """The figures of a run."""
    kinds = {
        kind: group([one for one in facts.costs if one.kind == kind])
        for kind in facts.options["kinds"]
        if any(one.kind == kind for one in facts.costs)
    }
    return {
        "machine": list(facts.machines),
        "options": facts.options,
        "rounds": len(facts.rounds),
        "generator_late_p99_ms": max((one.late_p99_ms for one in facts.rounds), default=None),
        "quiet_troubles": sum(one.quiet_troubles for one in facts.rounds),
        "kinds": kinds,
        "invalid": invalid(facts),
    }


def group(costs: Sequence[Cost]) -> dict[str, Any]:
    """Figures of the faults of one kind."""
    return {
        "faults": len(costs),
        **{
            name: sum(getattr(one, name) for one in costs)
            for name in ("requests", "lost", "failed", "duplicated", "unexplained")
        },
        "wrong": sum(bool(one.wrong) for one in costs),
        "most_missed": max(one.lost + one.failed for one in costs),
        "gap_ms": spread([one.gap_ms for one in costs]),
        "as_before_ms": spread([one.as_before_ms for one in costs]),
    }


def spread(values: Sequence[float | None]) -> dict[str, float | int | None]:
    """Median and longest, and of how many faults the time has no end. Of fewer than 20 there is no median."""
    known = [one for one in values if one is not None]
    return {"p50": quantile(known, 0.5), "max": max(known, default=None), "never": len(values) - len(known)}


def invalid(facts: Facts) -> list[str]:
    """Why the run tells nothing; empty if it does."""
    reasons = []
    asked = facts.options["rounds"]
    if len(facts.rounds) < asked:
        reasons.append(f"{len(facts.rounds)} of {asked} rounds are done")
    late = [one.number for one in facts.rounds if one.late_p99_ms > NOISY_LATE_MS]
    if late:
        reasons.append(f"the load was more than {NOISY_LATE_MS:g} ms late at its p99 in {_rounds(late)}")
    quiet = [one.number for one in facts.rounds if one.quiet_troubles]
    if quiet:
        reasons.append(f"requests went wrong without a fault in {_rounds(quiet)}")
    control = [one.round for one in facts.costs if one.kind == CONTROL and one.lost + one.failed + one.duplicated]
    if control:
        reasons.append(f"requests went wrong where nothing was done in {_rounds(control)}")
    if len({one.get("commit") for one in facts.machines}) > 1:
        reasons.append("its rounds ran at different commits")
    return reasons


def _rounds(numbers: Sequence[int]) -> str:
    shown = ", ".join(map(str, numbers[:5])) + (", ..." if len(numbers) > 5 else "")
    return f"{'round' if len(numbers) == 1 else 'rounds'} {shown}"
