"""What v1model fixes for every program."""

from __future__ import annotations

PORT_WIDTH = 9
"""Bits of a port."""
MAX_PORT = 2**PORT_WIDTH - 1
INSTANCE_WIDTH = 16
"""Bits of `egress_rid`, the number of a copy."""
MAX_MULTICAST_GROUP = 2**16 - 1
"""Groups are numbered from 1."""
MAX_CLONE_SESSION = 2**15 - 1
"""Sessions are numbered from 0."""
