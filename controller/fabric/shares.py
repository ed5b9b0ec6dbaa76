"""How the services of a fabric share a switch's flow store: the same on every switch, so that no service's part depends on
which ones a switch steers. Pure."""

from controller.fabric.schema import Fabric
from hitless.steering.flows import NO_SHARE, Share
from hitless.words import FLOWS_PER_WAY


def shares(fabric: Fabric) -> dict[str, Share]:
    """Each service's share, by its weight; those of services that keep nothing together are empty.

    The weights are counted against the next power of two, and shares lie in the order of the services' indices. So a
    service that comes as the last one mostly takes what was free, and changes no other's share.
    """
    keeping = sorted((one.index, name) for name, one in fabric.services.items() if one.keeps_flows)
    weights = {name: fabric.services[name].flow_weight for _, name in keeping}
    slots = FLOWS_PER_WAY >> max(sum(weights.values()) - 1, 0).bit_length()
    found = dict.fromkeys(fabric.services, NO_SHARE)
    first = 0
    for name, weight in weights.items():
        found[name] = Share(first, weight * slots)
        first += weight * slots
    return found
