"""What the agent tells a function's process of its start."""

from __future__ import annotations

import os
from typing import NamedTuple


class Launch(NamedTuple):
    """A start of the component's script."""

    gateway: str
    """The path of the gateway's Unix socket."""
    number: int
    """0 where nobody numbers them."""


def launched() -> Launch:
    """By this process's variables. Raises ValueError."""
    gateway = os.environ.get("HITLESS_GATEWAY")
    if not gateway:
        raise ValueError("HITLESS_GATEWAY is not set: expected the path of the gateway's Unix socket")
    number = os.environ.get("HITLESS_LAUNCH", "0")
    if not (number.isascii() and number.isdecimal()):
        raise ValueError(f"HITLESS_LAUNCH is {number!r}, expected a number")
    return Launch(gateway, int(number))
