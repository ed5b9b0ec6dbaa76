"""From what a bench's rounds measured to its summary. Pure: only figures of one round are ever compared."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

Round = Mapping[str, Mapping[str, float]]
"""A round's figures by quantity (below) and by what was measured."""

PPS, CPU, P50, P99 = "pps", "cpu", "p50", "p99"
"""Packets a second, CPU time of the switch's packet thread for each, one-way latency."""
ENTRIES, WRITES, ENTRIES_CPU, WRITES_CPU = "entries", "writes", "entries_cpu_us", "writes_cpu_us"
"""Entries a second in batches and singly, CPU time of the switch for each."""

INSTANCES = {"1 instance": 1, "8 instances": 8, "64 instances": 64}
"""Loads on one service, and how many instances it has."""
REFERENCE = "8 instances"
"""The load that the targets are compared on; it is also the one for one service."""
ALL_SERVICES = "256 services"
"""The load on all services, of 8 instances each but for those of the other loads."""
SOFTSWITCH, BMV2, NULL, NULL_AGAIN = "softswitch", "bmv2", "null", "null again"
XDP, NULL_XDP = "8 instances, af_xdp", "null, af_xdp"
"""The reference load and the null forwarder with the other packet input and output."""
INSIDE = "inside_cpu"
MOST_DRIFT = 0.1
"""A run whose null forwarder differs more from itself is invalid."""

Worst = Callable[[Iterable[float]], float]


def farthest(values: Iterable[float]) -> float:
    """The value farthest from 1, up or down."""
    return max(values, key=lambda value: max(value, 1 / value))


@dataclass(frozen=True)
class Ratio:
    """`name` in the summary: in each round, `quantity` of `one` to that of `other`; the `worst` of them."""

    name: str
    quantity: str
    one: str
    other: str
    worst: Worst


RATIOS = (
    Ratio("pps_vs_bmv2", PPS, REFERENCE, BMV2, min),
    Ratio("pps_vs_null", PPS, REFERENCE, NULL, min),
    Ratio("cpu_vs_null", CPU, REFERENCE, NULL, max),
    Ratio("pps_af_xdp_vs_bmv2", PPS, XDP, BMV2, min),
    Ratio("pps_af_xdp_vs_null", PPS, XDP, NULL_XDP, min),
    Ratio("pps_af_xdp_vs_af_packet", PPS, XDP, REFERENCE, min),
    Ratio("latency_p50_vs_null", P50, SOFTSWITCH, NULL, max),
    Ratio("latency_p99_vs_null", P99, SOFTSWITCH, NULL, max),
    Ratio("entries_vs_bmv2", ENTRIES, SOFTSWITCH, BMV2, min),
    Ratio("writes_vs_bmv2", WRITES, SOFTSWITCH, BMV2, min),
    Ratio("entries_cpu_vs_bmv2", ENTRIES_CPU, SOFTSWITCH, BMV2, max),
    Ratio("writes_cpu_vs_bmv2", WRITES_CPU, SOFTSWITCH, BMV2, max),
    Ratio("null_vs_null", PPS, NULL_AGAIN, NULL, farthest),
    Ratio("latency_p50_null_vs_null", P50, NULL_AGAIN, NULL, farthest),
    Ratio("latency_p99_null_vs_null", P99, NULL_AGAIN, NULL, farthest),
)
SPREADS = (("instances", tuple(INSTANCES)), ("services", (REFERENCE, ALL_SERVICES)))


def summary(rounds: Sequence[Round], inside: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    """Medians over the rounds, each ratio's worst round beside it (`_worst`).

    `inside`: CPU time a packet by load, without a kernel around the switch. A ratio to something that was not measured
    is left out.
    """
    found: dict[str, float] = {}
    for ratio in RATIOS:
        values = [
            one[ratio.quantity][ratio.one] / one[ratio.quantity][ratio.other]
            for one in rounds
            if {ratio.one, ratio.other} <= set(one.get(ratio.quantity, {}))
        ]
        if values:
            found |= {ratio.name: median(values), f"{ratio.name}_worst": ratio.worst(values)}
    costs = {PPS: [one[PPS] for one in rounds], CPU: [one[CPU] for one in rounds], INSIDE: inside}
    for quantity, figures in costs.items():
        for name, loads in SPREADS:
            medians, worst = _spread(figures, loads)
            found |= {f"{quantity}_spread_{name}": medians, f"{quantity}_spread_{name}_worst": worst}
    return {
        "valid": abs(found["null_vs_null"] - 1) <= MOST_DRIFT,
        "softswitch": {name: round(value, 3) for name, value in found.items()},
        "medians": {
            quantity: {name: _shown(median(one[quantity][name] for one in rounds)) for name in rounds[0][quantity]}
            for quantity in rounds[0]
        },
        "inside_cpu_ns": {name: _shown(median(one[name] for one in inside)) for name in inside[0]},
        "busy": {
            name: round(median(one[PPS][name] * one[CPU][name] / 1e9 for one in rounds), 2) for name in rounds[0][CPU]
        },
        "rounds": [
            {quantity: {name: _shown(value) for name, value in figures.items()} for quantity, figures in one.items()}
            for one in rounds
        ],
    }


def table(summary: Mapping[str, Any]) -> str:
    """The ratios of a summary in Markdown."""
    found = summary["softswitch"]
    lines = [f"| {'':32} | median | worst |", f"|{'-' * 34}|-------:|------:|"]
    for name in found:
        if f"{name}_worst" in found:
            lines.append(f"| {f'`{name}`':32} | {found[name]:6.2f} | {found[f'{name}_worst']:5.2f} |")
    return "\n".join(lines)


def _spread(rounds: Sequence[Mapping[str, float]], loads: Sequence[str]) -> tuple[float, float]:
    """The largest to the smallest of the loads: of their medians beside the reference, and in the worst round."""
    medians = [median(one[load] / one[REFERENCE] for one in rounds) for load in loads]
    worst = max(max(one[load] for load in loads) / min(one[load] for load in loads) for one in rounds)
    return max(medians) / min(medians), worst


def _shown(value: float) -> float:
    return round(value) if value >= 1000 else round(value, 2)
