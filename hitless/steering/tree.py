"""The tournament that keeps a service's best instance: one changed leaf, a match per level, the exact best at the root.

level 0   [0 1] [2 3] ... [62 63]     32 pairs
...
level 5   [winner of 0-31, winner of 32-63]
"""

from dataclasses import dataclass

from hitless.steering.words import LAST_RESORT, LEVELS, MEMBERS


@dataclass(frozen=True, slots=True)
class Entrant:
    """A member and its rank, as they compete."""

    rank: int = 0
    member: int = 0


class Tree:
    """A service's tree. All ranks are zero at first: nobody is eligible."""

    def __init__(self) -> None:
        self._contenders = [[Entrant()] * (MEMBERS >> level) for level in range(LEVELS)]
        self._best = Entrant()
        self._eligible = 0

    @property
    def best(self) -> Entrant:
        """The root. Its member means nothing while its rank is zero."""
        return self._best

    @property
    def eligible(self) -> int:
        """The members that may be drawn, better than a last resort: bit m stands for member m."""
        return self._eligible

    def rank(self, member: int) -> int:
        """A leaf's rank."""
        return self._contenders[0][member].rank

    def change(self, member: int, rank: int) -> Entrant:
        """Set one leaf and decide the matches above it anew; returns the new root.

        Of equals, the half that was not touched wins.
        """
        self._eligible = self._eligible & ~(1 << member) | (rank > LAST_RESORT) << member
        winner, slot = Entrant(rank, member), member
        for contenders in self._contenders:
            contenders[slot] = winner
            rival = contenders[slot ^ 1]
            if rival.rank >= winner.rank:
                winner = rival
            slot >>= 1
        self._best = winner
        return winner
