"""What a run is asked to do, and the names that its parts share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from topologies.testbed import REPOSITORY_ROOT

APPLICATION = "preprocess"
HTTP = "thumbnail"
SHOWN = (APPLICATION, "detect", HTTP)
PAIR = REPOSITORY_ROOT / "topologies" / "pair.yaml"


@dataclass(frozen=True)
class Options:
    """What to run: ``target`` softswitch or bmv2, ``mode`` in-network or reconfiguration, times in seconds.

    ``frames_per_second`` is each camera's; None has it measured (see ``experiments.migration.calibration``).
    """

    target: str
    mode: str
    steering: bool
    disturb: bool
    duration_s: float
    seed: int
    fabric: Path = PAIR
    cameras: int = 4
    frames_per_second: float | None = None
    http_per_second: float = 8.0
