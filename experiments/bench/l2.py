"""TCP between two plain hosts with every offload on: through an L2 program on each switch, and through a Linux bridge."""

from __future__ import annotations

from pathlib import Path

PROGRAM = Path(__file__).with_name("l2.json")
"""What p4c made of l2.p4; its entries are in it."""
MACS = ("02:00:00:00:00:01", "02:00:00:00:00:02")
"""Of the hosts behind ports 1 and 2, as the program's entries have them."""
