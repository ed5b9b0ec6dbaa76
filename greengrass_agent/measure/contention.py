"""Contention: the share of the time that processes wanted to run in which others kept them from it. Pure.

A process wants to run while it runs, while it waits for a processor (another has it, or the budget of its group is used
up), and while it is stalled for memory or a disk. What it waits for otherwise, such as a request, is not counted.

Of a budget of half a core, a process that runs for a millisecond uses up the next one too, and two at once wait for one
another. That is their own doing and normal lot, however idle the node is: the figure has only what they waited beyond.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from greengrass_agent.measure.metrics import PERMILLE

WINDOW_NS = 250_000_000
"""Time constant of the averages: two and a half of the kernel's usual budget periods (100 ms), which would make shorter
ones ragged. On a node of the example at rest, at half its budget, the 99th percentile was 64 to 85 permille for
services at work, and 199 to 241 for one that gets two requests a second; with work that competes the 1st was above 200
and the median 445. With the 118 ms of the CPU average the two overlap.
"""
LITTLE_CORES = 0.1
"""Who wants less of a core than this has run too little to tell, all instances of a node together."""
LITTLE_ALONE = 0.5
"""And one instance: how the node is otherwise counts in its place. Beside a function that takes 40 % of the budget, one
that takes 10 % waits a few times a second for some ms, which is a quarter of what it wants. Of four minutes' recorded
reports, those would have moved it 14 times with 0.1, and at no time with this; what disturbs is noticed as soon.
"""
NOTHING = 1e-6
"""Cores that nobody uses: where averages end, so that a node at rest has nothing to compute."""
ROOM = 0.25
"""Of its node's budget, what new work needs: where others leave less, they keep it from running. Services of the
example that use half of a budget leave less for moments only."""
FAIR_SHARE = 0.5
"""Of the budget, what work gets at least beside others that take all they can."""


@dataclass(slots=True)
class Contention:
    """Of an instance's processes: exponentially weighted moving averages over time of what ran and what waited.

    The weight of a reading follows from the time that it covers, so late and additional readings do no harm. Those that
    are read at the same times are smoothed alike and may be added up.
    """

    budget_cores: float
    """What the instance may use."""
    ran: float = 0.0
    """Cores."""
    waited: float = 0.0
    """How many threads at a time, on average, wanted to run and could not."""
    own: float = 0.0
    """As many as would have, had the budget been theirs alone."""
    _last: tuple[int, int] | None = None
    _time_ns: int = 0

    def add(self, ran_ns: int, waited_ns: int, now_ns: int, at_once: float = 1.0) -> None:
        """Take a reading at a time: how long the processes' threads have run so far, and wanted to and could not.

        `at_once`: how many of them wanted to at a time since the last reading.
        """
        if self._last is not None and now_ns > self._time_ns:
            passed = now_ns - self._time_ns
            weight = -math.expm1(-passed / WINDOW_NS)
            ran = (ran_ns - self._last[0]) / passed
            self.ran += (ran - self.ran) * weight
            self.own += (ran * max(0.0, at_once / self.budget_cores - 1) - self.own) * weight
            self.waited += ((waited_ns - self._last[1]) / passed - self.waited) * weight
        self._last, self._time_ns = (ran_ns, waited_ns), now_ns

    def rest(self, now_ns: int) -> None:
        """Take it that nothing ran or waited since the last reading."""
        if self.ran + self.waited < NOTHING:
            self.ran = self.waited = self.own = 0.0
            self._time_ns = now_ns
        elif self._last is not None:
            self.add(*self._last, now_ns)

    @property
    def kept(self) -> float:
        """How many threads at a time, on average, others kept from running."""
        return max(0.0, self.waited - self.own)

    def permille(self, node: float, used_by_others: float) -> int:
        """The share, 0 to 1000.

        Who has hardly run is told by the node: by `node`, the share of all instances there together (0 to 1), or by
        what others use of its budget (1.0 is all of it), as work that came would compete with them.
        """
        otherwise = max(node, FAIR_SHARE * (used_by_others - 1 + ROOM) / ROOM)
        if not self.waited and otherwise <= 0.0:
            return 0
        kept = self.kept + LITTLE_ALONE * otherwise
        return round(PERMILLE * min(1.0, _share(self.ran + self.waited, kept, LITTLE_ALONE)))


def share_of_all(instances: Iterable[Contention]) -> float:
    """The share of all of a node's instances together, 0 to 1; zero where all of them have hardly run."""
    wanted = kept = 0.0
    for one in instances:
        wanted += one.ran + one.waited
        kept += one.kept
    return _share(wanted, kept, LITTLE_CORES)


def _share(wanted: float, kept: float, little: float) -> float:
    return kept / (wanted + little)
