"""A change of shares of the flow store: make before break. And how full the shares are. Pure.

A switch cannot count the flows that live: an entry expires without a word. What it can count is what flows that begin
have found: they look at one slot, and if a live flow has that one, at a second. So of all slots that they have looked
at, a part was taken, and that part is what a share is judged by. Where the keys of flows are not chosen to collide, it
is the part of the share that live flows have; where they are, it is still what newcomers meet.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from controller.switches.entries import Act, Entries, Place
from hitless.steering.settings import Configuration
from hitless.words import FlowPlace

SAMPLE = 64
"""New flows that a judgement takes, at least."""
LONGEST_S = 60.0
"""When a judgement is given up if so many have not come since."""
NEARLY_FULL = 0.75
"""The part of slots from which on a share is nearly full."""
ROOM = 0.5
"""The part below which a share that was nearly full has room again."""

Places = Mapping[FlowPlace, int]
"""How many flows that began have found which place."""


def with_old_shares(desired: Entries, present: Entries) -> dict[Place, Act]:
    """The entries that a switch should have, given those that it has.

    A service whose share changes keeps the flows that began in the one that it has now.
    """
    return {
        place: _with_old_share(act, present[place]) if place.table == "services" and place in present else act
        for place, act in desired.items()
    }


def _with_old_share(desired: Act, present: Act) -> Act:
    wanted, has = Configuration.of(dict(desired.params)), Configuration.of(dict(present.params))
    old = has.old_share if has.share == wanted.share else has.share
    params = dict(desired.params) | {"old_first_slot": old.first, "old_slots": old.slots}
    return Act(desired.name, tuple(params.items()))


@dataclass(frozen=True, slots=True)
class ShareUse:
    """What the flows met that began last."""

    flows: int
    """How many they were."""
    taken: float
    """The part of the slots that they looked at which live flows had."""
    without_slot: float
    """The part of them that found none."""
    nearly_full: bool


@dataclass(slots=True)
class ShareGauge:
    """Judges one service's share on one switch."""

    use: ShareUse | None = None
    """None until enough flows have begun."""
    _before: Places = field(default_factory=dict)
    _since: float = 0.0

    def see(self, counted: Places, now: float) -> None:
        """The switch's counts, at a time in seconds."""
        met = {place: counted.get(place, 0) - self._before.get(place, 0) for place in FlowPlace}
        if min(met.values()) < 0:  # the switch has begun anew
            self._before, self._since, self.use = dict(counted), now, None
            return
        flows = sum(met.values())
        if flows >= SAMPLE:
            crowded = self.use is not None and self.use.nearly_full
            without = met[FlowPlace.BUCKET]
            second = met[FlowPlace.SECOND] + without
            taken = (second + without) / (flows + second)
            nearly_full = taken >= (ROOM if crowded else NEARLY_FULL)
            self.use = ShareUse(flows, taken, without / flows, nearly_full)
        elif now - self._since >= LONGEST_S:
            self.use = None
        else:
            return
        self._before, self._since = dict(counted), now
