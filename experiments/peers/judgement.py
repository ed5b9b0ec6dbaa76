"""Which nodes are congested, by the same reports and the same measure as the switch's policy `single`. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from hitless.steering.policies import Single
from hitless.steering.rank import Score, load, single_rank
from hitless.wire.report import Report
from hitless.words import SINGLE_BEST

STALE_AFTER_US = 200_000
"""By which a backlog counts as too long at once: what a service has that says nothing in the fabric file."""


class Judgement:
    """What the reports of some nodes say of each.

    The switch weighs its host against the best of the others. Here a node is weighed against one that is idle, since
    there may be no other: `single`'s evidence of reports that last makes it congested. It is calm when no evidence is
    left and `single`'s dwell is over: a node that gets no work feels nothing of what would keep it from working.
    """

    def __init__(self, nodes: Iterable[str]) -> None:
        self._policy, self._score = Single(), Score()
        self._evidence = dict.fromkeys(nodes, 0)
        self._congested: dict[str, int] = {}
        """Since when there was enough evidence last."""
        self._drained: set[str] = set()

    @property
    def congested(self) -> frozenset[str]:
        """Those that are."""
        return frozenset(self._congested)

    def report(self, now_us: int, node: str, report: Report) -> bool:
        """Take a report of a node, one of these, at a time; whether that changes what is said of it."""
        policy, was = self._policy, node in self._congested
        found = policy.weighed(self._evidence[node], SINGLE_BEST, single_rank(load(report, self._score, 0)))
        self._evidence[node] = found
        if found == policy.enough_evidence or policy.too_late(report, STALE_AFTER_US):
            self._congested[node] = now_us
            if len(self._drained | {node}) < len(self._evidence):
                self._drained.add(node)
        elif found == 0 and was and now_us - self._congested[node] >= policy.dwell:
            del self._congested[node]
            self._drained.discard(node)
        return was != (node in self._congested)

    def answer(self, node: str) -> bytes:
        """What HAProxy's agent check is told of a node: that it is to have no new work, or to have it in full.

        A node keeps its share when it gets congested while all others are drained, and they go on draining: as at the
        switch, nothing goes back to who has just been left.
        """
        return b"drain\n" if node in self._drained else b"ready up 100%\n"
