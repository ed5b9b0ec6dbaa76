"""Ports as the device has them."""

from __future__ import annotations

from collections.abc import Callable

Ports = Callable[[], dict[int, tuple[str, bool]]]
"""The device's ports: number -> (interface, up)."""

PORT_WIDTH = 9
"""Bits of a port in v1model."""
