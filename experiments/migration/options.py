"""What a run is asked to do, and the names that its parts share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hitless.modes import Mode
from topologies.testbed import APPS, REPOSITORY_ROOT

APPLICATION = "preprocess"
HTTP = "thumbnail"
SHOWN = (APPLICATION, "detect", HTTP)
PAIR = REPOSITORY_ROOT / "topologies" / "pair.yaml"


@dataclass(frozen=True)
class Options:
    """What to run: ``target`` softswitch or bmv2, times in seconds.

    ``frames_per_second`` is each camera's; None has it measured (see ``experiments.migration.calibration``).
    """

    target: str
    mode: Mode
    steering: bool
    disturb: bool
    duration_s: float
    seed: int
    fabric: Path = PAIR
    apps: Sequence[Path] = APPS
    """Folders of components."""
    cameras: int = 4
    frames_per_second: float | None = None
    http_per_second: float = 8.0
