"""Who steers: the switches, or the controller by publishing endpoints."""

from typing import Final, Literal

Mode = Literal["in-network", "reconfiguration"]
IN_NETWORK: Final[Mode] = "in-network"
"""The switches choose; clients call services' own addresses."""
RECONFIGURATION: Final[Mode] = "reconfiguration"
"""The controller chooses and publishes endpoints; clients call nodes' addresses."""
