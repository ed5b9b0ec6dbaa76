"""The enumerations of the data plane contract, by the numbers that the P4 program gives them."""

from enum import IntEnum


class Reason(IntEnum):
    """Why the switch changed a service's host or took an instance out (the digest's `reason`)."""

    UNHEARD = 0
    """Never in a digest: the probe found another host than the last digest told."""
    FIRST = 1
    BETTER = 2
    DRAINING = 3
    NOT_READY = 4
    STALE = 5
    GONE = 6
    PINNED = 7
    EVICT_STALE = 8
    EVICT_GONE = 9
    NO_LIVE = 10

    @property
    def moves(self) -> bool:
        """Whether the service's host changed; else only an instance was taken out."""
        return self not in (Reason.EVICT_STALE, Reason.EVICT_GONE, Reason.NO_LIVE)


class MemberStatus(IntEnum):
    """What an instance last said of itself, as the switch keeps it."""

    ABSENT = 0
    READY = 1
    DRAINING = 2
    NOT_READY = 3
