"""What can be wrong with what an instance claims. Pure."""

from enum import StrEnum


class Finding(StrEnum):
    """What is wrong with an instance's claims."""

    CONTRADICTED = "contradicted"
    """It confirms work, says that it has none left, and has not answered."""
    UNANSWERED = "unanswered"
    """It says that it is ready and has nothing to do, and neither confirms nor answers anything of what is sent."""
