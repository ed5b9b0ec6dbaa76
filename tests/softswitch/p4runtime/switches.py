"""What a test holds of a running switch, and the packets it puts in."""

from __future__ import annotations

from dataclasses import dataclass

from softswitch.engine.engine import Engine


@dataclass(frozen=True)
class RunningSwitch:
    """A switch as device 1. `engine.process` puts packets into it."""

    address: str
    engine: Engine


def message(kind: int, tag: int = 0, value: int = 0, pad: int = 0) -> bytes:
    """A packet of the program `everything`."""
    return bytes([kind]) + tag.to_bytes(2, "big") + value.to_bytes(2, "big") + bytes([pad])
