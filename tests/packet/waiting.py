"""How tests wait for what a switch does."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE = 30.0
"""Seconds until something that must happen is taken not to happen, however busy the machine."""


def until(condition: Callable[[], bool], what: str, wait: float = PATIENCE) -> None:
    """Wait for something to become true."""
    deadline = time.monotonic() + wait
    while not condition():
        assert time.monotonic() < deadline, f"waited {wait} s for {what}"
        time.sleep(0.002)
