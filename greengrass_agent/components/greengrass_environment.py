"""What Greengrass puts into the environment of each of a component's scripts. Pure.

AWS IoT Greengrass, "Component environment variable reference".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from hitless.runtime.surroundings import REGION

GREENGRASS: Final = "2.6.0"
"""The Greengrass whose conventions the agent follows."""
SOCKET: Final = "AWS_GG_NUCLEUS_DOMAIN_SOCKET_FILEPATH_FOR_COMPONENT"
"""Where AWS's client connects to the agent."""
TOKEN: Final = "SVCUID"
"""By what the agent knows whose process it is."""


def with_greengrass(own: Mapping[str, str], thing: str) -> dict[str, str]:
    """A recipe's variables, and those that are the same for all of a node's components where it does not set them.

    `thing` is the node's name. The node is in no region of AWS, so a recipe may name one.
    """
    region = own.get("AWS_REGION") or own.get("AWS_DEFAULT_REGION") or REGION
    ours = {
        "AWS_IOT_THING_NAME": thing,
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        "GGC_VERSION": GREENGRASS,
    }
    return {**ours, **own}
