"""What a node claims is held against what its switch sees: no honest node is accused under any load, and liars are."""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controller.observe.findings import Finding
from controller.steering.claims import UNANSWERED_S, Claims, Evidence, Seen
from controller.steering.doubts import FIRST_S, FORGOTTEN_S, LONGEST_S, Doubts

STEP = 0.01
ROOM = 1000


@dataclass(frozen=True)
class Load:
    """What comes, and how the path and the machine are."""

    rate: float
    """Requests a second, at most."""
    service_s: float = 0.004
    workers: int = 2
    queue_limit: int = 256
    timeout_s: float = 5.0
    packets: int = 1
    """Of an answer."""
    own: float = 0.0
    """Share of the requests that come from the node itself, by the switch."""
    local: bool = False
    """All of them come from the node itself, and past the switch."""
    garbage: float = 0.0
    """Of datagrams that no node takes, per request."""
    loss: float = 0.0
    """Of all that the node sends."""
    bursts: bool = False
    """Seconds with work and seconds without, in turn."""
    stalls: bool = False
    """The emitter stands still for half a second now and then."""
    outages: tuple[float, ...] = ()
    """When the node's link goes away for a second."""
    restarts: tuple[float, ...] = ()
    """When its gateway is started anew."""
    reading_s: float = 0.3
    """The longest time from the probe to the counters."""


@dataclass
class Node:
    """A gateway with workers behind a link, as its requests, its reports and a switch's counters show it."""

    load: Load
    seed: int = 0
    answered_share: float = 1.0
    """Of what comes; an honest node answers all."""
    late_s: float = 0.0
    """By how much later than it says it answers."""
    claims: str = "honest"
    """honest; idle: has received all and holds nothing; deaf: has received nothing either; busy: holds all of it."""
    now: float = 0.0
    sent: int = 0
    own: int = 0
    answered: int = 0
    reported: int = 0
    epoch: int = 1
    sequence: int = 0
    received: int = 0
    valid: float = -100.0
    """When a request that can be answered came last."""
    report: tuple[int, int, int, int] = (1, 0, 0, 0)
    _open: int = 0
    _from_itself: int = 0
    _queue: deque[float] = field(default_factory=deque)
    _busy: list[float] = field(default_factory=list)
    _leaving: list[tuple[float, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)

    def step(self) -> None:
        """A hundredth of a second passes."""
        load, draw = self.load, self.random
        self.now += STEP
        if any(at <= self.now < at + STEP for at in load.restarts):
            self.epoch, self.sequence, self.received, self._open = self.epoch + 1, 0, 0, 0
            self._queue.clear()
            self._busy.clear()
        rate = 0.0 if load.bursts and int(self.now) % 4 >= 2 else load.rate * STEP
        arrivals = int(rate) + (draw.random() < rate % 1)
        if not load.local:
            self.sent += arrivals + sum(draw.random() < load.garbage for _ in range(arrivals))
        own = 0 if load.local else sum(draw.random() < load.own for _ in range(arrivals))
        self.own += own
        for number in range(arrivals):
            self.valid = self.now
            self.received += 1
            self._from_itself += number < own
            if draw.random() >= self.answered_share:
                self._open += 1
            elif len(self._queue) >= load.queue_limit:
                self._answer()
            else:
                self._queue.append(self.now)
        self._work()
        if not (load.stalls and int(self.now * 2) % 5 == 0) and draw.random() < 0.5:
            self._tell()
        arrived = [packets for at, packets in self._leaving if at <= self.now]
        self._leaving = [one for one in self._leaving if one[0] > self.now]
        self.answered += sum(arrived)

    def look(self) -> Seen:
        """A probe, and the counters some time after it."""
        epoch, sequence, received, held = self.report
        at = self.now
        for _ in range(int(self.random.uniform(0, self.load.reading_s) / STEP)):
            self.step()
        return Seen(
            at, True, epoch, sequence, received, held, self.sent, self.sent, self.own, self.answered, self.reported
        )

    def _work(self) -> None:
        for done in [at for at in self._busy if at <= self.now]:
            self._busy.remove(done)
            self._answer()
        while self._queue and self._queue[0] + self.load.timeout_s <= self.now:
            self._queue.popleft()
            self._answer()
        # Many short ones fit into a step.
        room = self.load.workers * max(1, int(STEP / self.load.service_s)) - len(self._busy)
        while self._queue and room > 0:
            self._queue.popleft()
            self._busy.append(self.now + self.random.expovariate(1 / self.load.service_s))
            room -= 1

    def _answer(self) -> None:
        if self._from_itself and self.random.random() < self.load.own:
            self._from_itself -= 1
        elif not self.load.local and not self._lost():
            self._leaving.append((self.now + 0.005 + self.late_s, self.load.packets))

    def _tell(self) -> None:
        self.sequence += 1
        held = len(self._queue) + len(self._busy)
        received = self.received
        if self.claims != "honest":
            held = 0 if self.claims in ("idle", "deaf") else self._open + held
            received = 0 if self.claims == "deaf" else received
        if not self._lost():
            self.reported += 1
            self.report = (self.epoch, self.sequence, received, held)

    def _lost(self) -> bool:
        away = any(at <= self.now < at + 1 for at in self.load.outages)
        return away or self.random.random() < self.load.loss


def judged(node: Node, seconds: float, room: int = ROOM) -> list[tuple[float, Evidence]]:
    """What is found about a node, and when."""
    claims = Claims(room)
    found: list[tuple[float, Evidence]] = []
    while node.now < seconds:
        until = node.now + node.random.uniform(0.9, 1.3)
        while node.now < until:
            node.step()
        seen = node.look()
        if (evidence := claims.look(seen)) is not None:
            if evidence.finding is Finding.UNANSWERED:
                assert node.valid < node.now - UNANSWERED_S + 2 or node.claims == "deaf", "it was not even asked"
            found.append((node.now, evidence))
    return found


LOADS = st.builds(
    Load,
    rate=st.sampled_from([0.5, 5, 40, 200, 700]),
    service_s=st.sampled_from([0.001, 0.004, 0.05, 1.0, 20.0]),
    workers=st.sampled_from([1, 2, 16]),
    queue_limit=st.sampled_from([1, 16, 256]),
    timeout_s=st.sampled_from([0.05, 1.0, 5.0, 60.0]),
    packets=st.sampled_from([1, 1, 3]),
    own=st.sampled_from([0, 0, 0.5, 1]),
    local=st.sampled_from([False, False, False, True]),
    garbage=st.sampled_from([0, 0, 0.5, 1]),
    loss=st.sampled_from([0, 0, 0.02, 0.1, 0.3]),
    bursts=st.booleans(),
    stalls=st.booleans(),
    outages=st.sampled_from([(), (), (9.0,), (5.0, 12.0)]),
    restarts=st.sampled_from([(), (), (7.5,)]),
)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(load=LOADS, seed=st.integers(0, 2**32))
def test_no_honest_node_is_accused_whatever_its_load(load: Load, seed: int) -> None:
    assert judged(Node(load, seed), 18.0) == []


@pytest.mark.parametrize("rate", [50, 300])
@pytest.mark.parametrize("before", [0.0, 12.0], ids=["from the start", "after an honest time"])
@pytest.mark.parametrize(
    ("share", "late", "claims", "finding", "within"),
    [
        (0.0, 0.0, "idle", Finding.CONTRADICTED, 8.0),
        (0.3, 0.0, "idle", Finding.CONTRADICTED, 12.0),
        (1.0, 5.0, "idle", Finding.CONTRADICTED, 16.0),
        (0.0, 0.0, "deaf", Finding.UNANSWERED, 8.0),
    ],
    ids=["answers nothing", "answers some", "answers late", "confirms nothing"],
)
def test_a_node_that_draws_work_and_does_not_do_it_is_found_within_seconds(
    rate: float, before: float, share: float, late: float, claims: str, finding: Finding, within: float
) -> None:
    judge = Claims(ROOM)
    node = Node(Load(rate, reading_s=0.05))
    while node.now < before + within:
        until = node.now + 1
        while node.now < until:
            node.step()
        if node.now > before:
            node.answered_share, node.late_s, node.claims = share, late, claims
        if (evidence := judge.look(node.look())) is not None:
            assert evidence.finding is finding
            assert node.now > before
            return
    pytest.fail("it was not found")


def test_a_node_cannot_say_that_it_holds_more_than_it_has_room_for() -> None:
    liar = Node(Load(rate=300), answered_share=0.0, claims="busy")
    assert judged(liar, 15.0, room=520)
    assert not judged(Node(Load(rate=300, service_s=20.0, timeout_s=60.0)), 15.0, room=520)


def test_leaping_sequences_are_no_excuse() -> None:
    class Leaping(Node):
        def _tell(self) -> None:
            self.sequence += 9
            super()._tell()

    assert judged(Leaping(Load(rate=300), answered_share=0.0, claims="idle"), 12.0)


def test_the_evidence_says_what_was_claimed_and_what_was_seen() -> None:
    (_, evidence), *_ = judged(Node(Load(rate=100), answered_share=0.0, claims="idle"), 9.0)
    assert evidence.answered == 0
    assert evidence.received >= 300
    assert evidence.missing >= 250
    assert evidence.seconds >= 3


def test_doubts_last_longer_with_each_relapse_and_are_forgotten() -> None:
    evidence = Evidence(Finding.CONTRADICTED, 3.0, 100, 100, 0, 90)
    doubts, key, now = Doubts(), ("web", "edge1"), 0.0
    lengths = []
    for _ in range(8):
        doubt = doubts.found(now, key, evidence)
        assert doubt is not None
        assert doubts.found(now, key, evidence) is None, "one at a time"
        assert doubts.over(doubt.until - 0.001) == []
        assert doubts.over(doubt.until) == [key]
        lengths.append(doubt.length_s)
        now = doubt.until + 5
    assert lengths[:3] == [FIRST_S, 2 * FIRST_S, 4 * FIRST_S]
    assert lengths[-1] == LONGEST_S
    again = doubts.found(now + FORGOTTEN_S, key, evidence)
    assert again is not None
    assert again.length_s == FIRST_S
