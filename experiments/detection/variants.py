"""The variants: how the switch is told to judge, as what differs in the experiment's fabric file. Pure.

A new one is a line of `VARIANTS`; its name says what it is about.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML

from experiments.detection.kinds import MEASURED
from hitless.steering.policies import Single

SCORE = "score"
"""What a service's scoring is called in the fabric file."""
CPU_ONLY = {"cpu": 0, "memory": "off", "queue": "off", "interval": "off", "contention": "off"}
"""A margin goes with it: the CPU is in permille."""


@dataclass(frozen=True, slots=True)
class Variant:
    """What a fabric file says of the two services; what it does not say stays as a service has it by default."""

    what: str
    single: Mapping[str, Any] = field(default_factory=dict)
    """Parameters of the policy `single`."""
    score: Mapping[str, Any] = field(default_factory=dict)
    loop_s: float | None = None
    """Seconds between two looks of an orchestrator that moves the services in the switch's place; None without one."""


VARIANTS: Mapping[str, Variant] = {
    "default": Variant("what a fabric file gets that says nothing"),
    "cpu": Variant("CPU that others use in the budget, alone", {"margin": 600}, CPU_ONLY),
    "contention": Variant("contention alone", {"margin": 300}, CPU_ONLY | {"cpu": "off", "contention": 0}),
    "queue": Variant("the queue alone", {"margin": 600}, CPU_ONLY | {"cpu": "off", "queue": 8, "busy_after": 2}),
    "cpu+queue": Variant("CPU and queue", {"margin": 600}, CPU_ONLY | {"queue": 8, "busy_after": 2}),
    "margin-300": Variant("CPU and queue, half the margin", {"margin": 300}, CPU_ONLY | {"queue": 8, "busy_after": 2}),
    "margin-800": Variant("CPU and queue, more margin", {"margin": 800}, CPU_ONLY | {"queue": 8, "busy_after": 2}),
    "evidence-1": Variant("one report is enough", {"evidence": 0}),
    "evidence-20": Variant("more evidence", {"evidence": 20}),
    "dwell-500": Variant("a sixth of the dwell", {"dwell_ms": 500}),
    "loop-1s": Variant("an orchestrator looks at the default's metrics each second", loop_s=1.0),
    "loop-10s": Variant("an orchestrator looks at the default's metrics every ten seconds", loop_s=10.0),
}


def dwell_s(variant: Variant) -> float:
    """The dwell of a variant, in seconds."""
    written = variant.single.get("dwell_ms")
    return float(written) / 1000 if written is not None else Single().dwell / 1e6


def written(base: str, variant: Variant) -> str:
    """The experiment's fabric file with a variant in it."""
    yaml = YAML(typ="rt")
    document = yaml.load(base)
    for name in MEASURED:
        service = document["services"][name]
        service["policy"] = {"single": dict(variant.single)}
        if variant.score:
            service[SCORE] = dict(variant.score)
    output = io.StringIO()
    yaml.dump(document, output)
    return output.getvalue()
