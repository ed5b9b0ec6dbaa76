"""The fabric of a run: the one that was given, in which services may move again sooner."""

from __future__ import annotations

from pathlib import Path

from ruamel.yaml import YAML

from controller.fabric.file import Fabric
from experiments.migration.plan import DWELL_MS
from hitless.steering.policies import Single


def write(given: Path, fabric: Fabric, to: Path) -> float:
    """Write the file with no dwell longer than ``DWELL_MS``; returns the longest that is left, in seconds."""
    yaml = YAML()
    yaml.preserve_quotes = True
    content = yaml.load(given)
    longest = 0
    for name, service in fabric.services.items():
        if isinstance(service.policy, Single):
            dwell = min(service.policy.dwell // 1000, DWELL_MS)
            longest = max(longest, dwell)
            content["services"][name].setdefault("policy", {}).setdefault("single", {})
            content["services"][name]["policy"]["single"]["dwell_ms"] = dwell
    with to.open("w") as file:
        yaml.dump(content, file)
    return longest / 1000
