"""How the services of a fabric share a switch's flow store. Pure.

It is the same on every switch, so that no service's part depends on which others a switch steers.
"""

from controller.fabric.schema import Fabric
from hitless.steering.flows import NO_SHARE, Share
from hitless.words import FLOWS_PER_WAY

FEWEST_PARTS = 4
"""Of the store: a service that comes to a small fabric takes what was free, and changes no other's share."""


def shares(fabric: Fabric) -> dict[str, Share]:
    """Each service's share, by its weight; those of services that keep nothing together are empty.

    The store has as many equal parts as all weights together, rounded up to a power of two, and a share is as many of
    them as its weight says, which is a power of two as well. A service's index says which, or the next that are free:
    so services come and go without moving the others, as long as the number of parts stays.
    """
    services = fabric.services.items()
    keeping = sorted((-one.flow_weight, one.index, name) for name, one in services if one.keeps_flows)
    weights = -sum(weight for weight, _, _ in keeping)
    parts = max(FEWEST_PARTS, 1 << max(weights - 1, 0).bit_length())
    found = dict.fromkeys(fabric.services, NO_SHARE)
    taken: set[int] = set()
    # The heaviest come first. So what is taken already was taken in blocks as long as this one at least, and where the
    # first part of a block is free, all of it is.
    for weight, index, name in keeping:
        size = -weight
        starts = (size * ((index + step) % (parts // size)) for step in range(parts // size))
        start = next(one for one in starts if one not in taken)
        taken.update(range(start, start + size))
        found[name] = Share(start * FLOWS_PER_WAY // parts, size * FLOWS_PER_WAY // parts)
    return found
