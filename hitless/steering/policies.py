"""The steering policies, a class each: what the fabric file says of one, its table entry, and how it decides.

A class is complete when it is in POLICIES: the fabric file takes it by its name, the switches get it as its action with
its fields as parameters, and `policy_of` reads such an entry back. `docs/contributing.md` walks through adding one.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Annotated, Any, ClassVar

from pydantic import ConfigDict, Field

from hitless.steering.arithmetic import U48
from hitless.steering.draw import Draw, better_of_two, first_from
from hitless.steering.rank import Score, load, single_rank
from hitless.steering.tree import Tree
from hitless.steering.units import FILE_FORM, LeftShift, Milliseconds, Unit, Word
from hitless.wire.report import Report
from hitless.words import LATE_SHIFT, OFF, SPREAD_BEST, SPREAD_MAX_DELAY, WEIGHT_MAX


class Policy(ABC):
    """How instances are chosen for new work. A subclass is a frozen dataclass; its fields are in the switch's units."""

    __slots__ = ()
    __pydantic_config__: ClassVar[ConfigDict] = FILE_FORM

    name: ClassVar[str]
    """In the fabric file."""
    action: ClassVar[str]
    """In the program's table `policies`. Its parameters have the fields' names and order."""
    one_host: ClassVar[bool]
    """One instance at a time takes all new work: the host."""
    elects: ClassVar[bool] = False
    """Reports decide who is the host, so one switch has to decide for all."""

    @property
    def params(self) -> tuple[tuple[str, int], ...]:
        """The action's parameters."""
        one: Any = self
        return tuple((field.name, getattr(self, field.name)) for field in fields(one))

    @abstractmethod
    def rank(self, now: int, report: Report, unseen: int, score: Score, path_cost: int) -> int:
        """The rank that a report gives an instance that is ready and does not drain.

        `unseen`: pieces of work sent to it that it had not received when it reported.
        """


class OneHost(Policy):
    """One instance takes all new work until it has a reason to make room."""

    __slots__ = ()
    one_host = True

    @property
    def wanted(self) -> int | None:
        """The member that is to be the host while it lives, whatever its rank; None: the best."""
        return None

    def rank(self, now: int, report: Report, unseen: int, score: Score, path_cost: int) -> int:
        """What is left after the load."""
        return single_rank(load(report, score, path_cost))

    def too_late(self, report: Report, stale_after: int) -> bool:
        """Whether new work would start too late at an instance, so that it is left at once. `stale_after` in µs."""
        return False

    def beats(self, best: int, held: int) -> bool:
        """Whether a rank is so much better than the host's that the host makes room for it."""
        return False

    def weighed(self, evidence: int, best: int, held: int) -> int:
        """What speaks for another host once the host has reported again, by the ranks of the best and of the host."""
        return 0

    @property
    def enough_evidence(self) -> int:
        """How much it takes to move."""
        return 0

    def dwell_when_damped(self, damping: int) -> int:
        """Microseconds that must lie between two moves for load, after so many doublings."""
        return 0


class Shared(Policy):
    """Each piece of new work is sent to an instance of its own choice."""

    __slots__ = ()
    one_host = False
    delays_next_start: ClassVar[bool] = False
    """A piece of work that is sent to an instance puts off the start of the next one there."""
    takes_turns: ClassVar[bool] = False
    """The member after the chosen one has the next turn."""

    def rank(self, now: int, report: Report, unseen: int, score: Score, path_cost: int) -> int:
        """By the time until work would start.

        These book no work between reports, so a start that comes nearer as time goes by would only favour whose report
        is older: `now` does not count.
        """
        return SPREAD_BEST - min(_delay(report, unseen, path_cost), SPREAD_MAX_DELAY)

    @abstractmethod
    def choose(self, tree: Tree, turn: int, draw: Draw) -> int:
        """One of the tree's eligible members, of which there is at least one; `turn` is the slot whose turn it is."""


def _delay(report: Report, unseen: int, path_cost: int) -> int:
    # What is there is done while new work is on its way: the longer of the two counts.
    return max(report.backlog + unseen * report.service_interval, path_cost)


@dataclass(frozen=True, slots=True)
class Single(OneHost):
    """One host at a time. It moves for load when another instance has been better by `margin` for long enough and the
    last move is older than the dwell; at once when the host starts new work too late, drains, is not ready, falls
    silent or is gone."""

    name: ClassVar = "single"
    action: ClassVar = "single"
    elects: ClassVar = True

    margin: Word = 400
    """Rank (0 to 65535, what is left after the load) by which another must be better."""
    dwell: Annotated[Milliseconds, Field(alias="dwell_ms")] = 3_000_000
    """Between two moves for load."""
    evidence: Annotated[int, Field(strict=True, ge=0, le=2**8 - 1), Unit("reports")] = 5
    """So many of the host, each with another better by twice the margin, make it move. One with another better by three
    times the margin or more counts for two, by less than twice for less; one within the margin takes away. 0: the first
    beyond the margin does."""
    start_within: Annotated[Milliseconds, Field(alias="start_within_ms")] = 0
    """A host at which new work would wait longer, by its backlog, is left at once if another one would start it in
    time: what a request's deadline allows. 0: `stale_after_ms` and 16 of its own service times."""

    def too_late(self, report: Report, stale_after: int) -> bool:
        """By its backlog. One that is normal for slow functions is an age for fast ones."""
        service_time = report.service_interval * report.concurrency
        return report.backlog > (self.start_within or max(service_time << LATE_SHIFT, stale_after))

    def beats(self, best: int, held: int) -> bool:
        """By more than the margin."""
        return best > min(held + self.margin, U48)

    def weighed(self, evidence: int, best: int, held: int) -> int:
        """The sum of by how much more than the margin the best was better, never below zero and never above enough.

        A report adds two margins at most, or takes one away. (A cumulative sum: E. S. Page, Continuous inspection
        schemes, 1954.)
        """
        lead = min(best - held, 3 * self.margin)
        return min(max(evidence + lead - self.margin, 0), self.enough_evidence)

    @property
    def enough_evidence(self) -> int:
        """The margin for each of `evidence` reports."""
        return self.margin * self.evidence

    def dwell_when_damped(self, damping: int) -> int:
        """The dwell, doubled so often."""
        return self.dwell << damping


@dataclass(frozen=True, slots=True)
class Spread(Shared):
    """Every request or flow goes where it can start first."""

    name: ClassVar = "spread"
    action: ClassVar = "spread"
    delays_next_start: ClassVar = True

    load_penalty: LeftShift = OFF
    """Shifts the load, which is then added to the start time in microseconds."""

    def rank(self, now: int, report: Report, unseen: int, score: Score, path_cost: int) -> int:
        """By the time at which work would start."""
        delay = _delay(report, unseen, path_cost)
        if self.load_penalty <= WEIGHT_MAX:
            delay += load(report, score, 0) << self.load_penalty
        return SPREAD_BEST - (now + min(delay, SPREAD_MAX_DELAY)) & U48

    def choose(self, tree: Tree, turn: int, draw: Draw) -> int:
        """The root."""
        return tree.best.member


@dataclass(frozen=True, slots=True)
class Pinned(OneHost):
    """The operator's choice, whatever its rank, while it lives; then the best. The fabric file names its node."""

    name: ClassVar = "pinned"
    action: ClassVar = "pinned"

    member: int

    @property
    def wanted(self) -> int | None:
        """The pinned member."""
        return self.member


@dataclass(frozen=True, slots=True)
class TwoChoices(Shared):
    """The better of two instances drawn at random, by the start that each reported last."""

    name: ClassVar = "two_choices"
    action: ClassVar = "two_choices"

    def choose(self, tree: Tree, turn: int, draw: Draw) -> int:
        """One that can win."""
        return draw(better_of_two(tree.eligible, tree.rank))


@dataclass(frozen=True, slots=True)
class RoundRobin(Shared):
    """The next eligible instance in turn."""

    name: ClassVar = "round_robin"
    action: ClassVar = "round_robin"
    takes_turns: ClassVar = True

    def choose(self, tree: Tree, turn: int, draw: Draw) -> int:
        """The first whose turn comes."""
        return first_from(tree.eligible, turn)


@dataclass(frozen=True, slots=True)
class Random(Shared):
    """An eligible instance drawn at random."""

    name: ClassVar = "random"
    action: ClassVar = "random_choice"

    def choose(self, tree: Tree, turn: int, draw: Draw) -> int:
        """Any."""
        return draw(tree.eligible)


POLICIES: tuple[type[Policy], ...] = (Single, Spread, Pinned, TwoChoices, RoundRobin, Random)
"""All there are, in the order in which the fabric file's documentation has them."""

_BY_ACTION = {policy.action: policy for policy in POLICIES}


def policy_of(action: str, params: Mapping[str, int]) -> Policy:
    """The policy that an entry of the table `policies` sets. Raises KeyError for an action that sets none."""
    return _BY_ACTION[action](**params)
