"""What a run is asked to do, and the names that its parts share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from hitless.modes import IN_NETWORK, RECONFIGURATION
from topologies.testbed import APPS, REPOSITORY_ROOT

APPLICATION = "preprocess"
HTTP = "thumbnail"
SHOWN = (APPLICATION, "detect", HTTP)
PAIR = REPOSITORY_ROOT / "topologies" / "pair.yaml"

Way = Literal["in-network", "reconfiguration", "unsteered"]
"""What is done about a disturbance: a mode of steering, or nothing (every service pinned to its first node)."""
UNSTEERED: Final[Way] = "unsteered"
WAYS: tuple[Way, ...] = (IN_NETWORK, UNSTEERED, RECONFIGURATION)
"""In the order of a first round: between the first two, nobody need be started again."""
SAID: dict[Way, str] = {
    IN_NETWORK: "steered by the switch",
    RECONFIGURATION: "by reconfiguration",
    UNSTEERED: "unsteered",
}
"""In a sentence, and in the order of what is shown."""


@dataclass(frozen=True)
class Options:
    """What to run: ``target`` softswitch or bmv2, times in seconds.

    ``frames_per_second`` is each camera's; None has it measured (see ``experiments.migration.calibration``).
    """

    target: str
    ways: tuple[Way, ...]
    disturb: bool
    duration_s: float
    seed: int
    fabric: Path = PAIR
    apps: Sequence[Path] = APPS
    """Folders of components."""
    cameras: int = 4
    frames_per_second: float | None = None
    http_per_second: float = 8.0

    @property
    def bridged(self) -> bool:
        """Whether learning bridges take the switch's place: reconfiguration alone needs none."""
        return self.ways == (RECONFIGURATION,)
