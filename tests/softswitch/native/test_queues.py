"""Queues before egress and links behind ports, on a clock that stands where a test puts it."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from softswitch.engine.abi import Direction
from softswitch.engine.engine import Engine
from softswitch.engine.shaping import Departure

import softswitch
from softswitch import Link
from tests.softswitch.native.bmv2 import PROGRAMS
from tests.softswitch.native.traffic import GENERATORS, traffic

START_US = 1_000_000
PORT = 2
PADDING = bytes(58)
TOLD = struct.Struct(">6s6sIIIIBBI")
"""What program `queues` puts in front of a packet, and the packet."""
RATE = 1000
GAP_US = 1_000_000 // RATE


class Told(NamedTuple):
    """What a packet learned of the queue that it was in; times in µs."""

    left: int
    enq_timestamp: int
    enq_qdepth: int
    deq_timedelta: int
    deq_qdepth: int
    priority: int
    number: int


def packet(number: int, priority: int = 0, port: int = PORT) -> bytes:
    """64 bytes that leave through `port`."""
    return struct.pack(">BBI", port, priority, number) + PADDING


def told(data: bytes) -> Told:
    """What the packet says."""
    _, left, *queue, _, priority, number = TOLD.unpack_from(data)
    return Told(int.from_bytes(left, "big"), *queue, priority, number)


def numbers(departures: list[Departure]) -> list[int]:
    """Which packets left, in order."""
    return [told(departure.data).number for departure in departures]


def loaded(seed: int = 1, priorities: int = 3) -> softswitch.Switch:
    """Program `queues`, at START_US."""
    switch = softswitch.load(PROGRAMS / "queues.json", seed=seed, priorities=priorities)
    switch.set_clock(START_US)
    return switch


@pytest.fixture
def switch() -> Iterator[softswitch.Switch]:
    with loaded() as made:
        yield made


def drain(switch: softswitch.Switch) -> list[Departure]:
    """All that leaves in the next ten minutes."""
    switch.set_clock(switch.clock_us + 600 * 10**6)
    return switch.departures()


def test_without_a_rate_nothing_waits(switch: softswitch.Switch) -> None:
    ((port, data),) = switch.process(1, packet(7))
    assert (port, told(data)) == (PORT, Told(START_US, START_US, 0, 0, 0, 0, 7))
    assert switch.shaping() == {}


def test_a_rate_builds_a_queue_that_packets_see(switch: softswitch.Switch) -> None:
    switch.set_queue(PORT, depth=3, rate_pps=RATE)
    left = [switch.process(1, packet(number)) for number in range(6)]
    ((_, first),) = left[0]
    assert told(first) == Told(START_US, START_US, 0, 0, 0, 0, 0)
    assert left[1:] == [[]] * 5
    assert switch.shaping()[PORT].queues[0][:3] == (3, 3, 2), "depth, waiting, dropped at the tail"
    switch.set_clock(START_US + GAP_US - 1)
    assert switch.departures() == []
    switch.set_clock(START_US + 10 * GAP_US)
    gone = switch.departures()
    assert [departure.time_us for departure in gone] == [START_US + GAP_US * n for n in (1, 2, 3)]
    assert [told(departure.data) for departure in gone] == [
        Told(START_US + GAP_US * n, START_US, n - 1, GAP_US * n, 3 - n, 0, n) for n in (1, 2, 3)
    ]


def test_the_highest_priority_leaves_first(switch: softswitch.Switch) -> None:
    """A rate of bits is the port's, so that priorities compete for it; BMv2's of packets is each queue's own."""
    switch.set_link(PORT, Link(rate_bps=1_000_000))
    for number, priority in enumerate((0, 0, 1, 2, 1, 2)):
        switch.process(1, packet(number, priority))
    assert numbers(drain(switch)) == [0, 3, 5, 2, 4, 1], "the first was on its way already"
    assert switch.process(1, packet(9, priority=3)) == [], "of three queues there is no fourth"


def test_each_priority_has_a_rate_of_its_own(switch: softswitch.Switch) -> None:
    switch.set_queue(PORT, rate_pps=RATE, priority=0)
    switch.set_queue(PORT, rate_pps=10 * RATE, priority=1)
    for number in range(4):
        for priority in (0, 1):
            switch.process(1, packet(number, priority))
    gone = [(d.time_us - START_US, told(d.data).priority) for d in drain(switch)]
    assert gone == [(100, 1), (200, 1), (300, 1), (1000, 0), (2000, 0), (3000, 0)]


def test_a_slow_link_sends_one_packet_after_the_other(switch: softswitch.Switch) -> None:
    switch.set_link(PORT, Link(delay_us=5000, rate_bps=8_000_000))
    for number in range(3):
        assert switch.process(1, packet(number)) == []
    bytes_on_the_wire = len(packet(0)) + TOLD.size - struct.calcsize(">BBI")
    arrivals = [departure.time_us - START_US for departure in drain(switch)]
    assert arrivals == [5000 + bytes_on_the_wire * n for n in (1, 2, 3)], "a byte takes a microsecond"


def test_a_link_is_changed_while_packets_are_on_it(switch: softswitch.Switch) -> None:
    switch.set_link(PORT, Link(delay_us=5000))
    switch.process(1, packet(0))
    switch.set_clock(START_US + 1000)
    switch.set_link(PORT, Link())
    switch.process(1, packet(1))
    assert [(d.time_us - START_US, told(d.data).number) for d in drain(switch)] == [(5000, 0), (5000, 1)]
    switch.set_link(PORT, Link())
    assert len(switch.process(1, packet(2))) == 1


def test_a_link_into_the_switch(switch: softswitch.Switch) -> None:
    switch.set_link(1, Link(delay_us=700), incoming=True)
    assert switch.process(1, packet(0)) == []
    assert len(switch.process(3, packet(1))) == 1, "another port's packets do not wait"
    ((time_us, port, data),) = drain(switch)
    assert (time_us, port) == (START_US + 700, PORT)
    assert int.from_bytes(data[:6], "big") == START_US + 700, "the switch sees it when it has arrived"
    switch.set_link(1, Link(rate_bps=1000), incoming=True)
    for number in range(2000):
        switch.process(1, packet(number))
    state = switch.shaping()[1].links[Direction.IN]
    assert state.flying + state.dropped == 2000 and state.dropped > 0, "what waits before it is bounded"


def test_loss_and_reordering_are_chance_that_repeats() -> None:
    def fates(seed: int) -> tuple[list[int], list[int], tuple[int, ...]]:
        with loaded(seed) as switch:
            switch.set_link(PORT, Link(delay_us=1000, jitter_us=200, loss=0.1, reorder=0.05))
            at_once = []
            for number in range(3000):
                switch.set_clock(START_US + 10 * number)
                at_once += [told(data).number for _, data in switch.process(1, packet(number))]
            later = numbers(drain(switch))
            state = switch.shaping()[PORT].links[Direction.OUT]
        assert len(at_once) + len(later) + state.lost == 3000 and state.reordered == len(at_once)
        assert later == sorted(later), "jitter alone reorders nothing"
        return at_once, later, (state.lost, state.reordered)

    first = fates(1)
    lost, reordered = first[2]
    # five standard deviations of 3000 draws
    assert abs(lost - 300) < 82 and abs(reordered - 135) < 57
    assert fates(1) == first and fates(2) != first


def test_jitter_is_even_around_the_delay(switch: softswitch.Switch) -> None:
    switch.set_link(PORT, Link(delay_us=1000, jitter_us=300))
    sent = [START_US + 2000 * number for number in range(400)]
    for at, number in zip(sent, range(len(sent)), strict=True):
        switch.set_clock(at)
        switch.process(1, packet(number))
    delays = [d.time_us - at for d, at in zip(drain(switch), sent, strict=True)]
    assert 700 <= min(delays) < 720 and 1280 < max(delays) <= 1300
    assert abs(sum(delays) / len(delays) - 1000) < 50


@pytest.mark.parametrize(
    ("link", "words"),
    [
        ({"delay_us": -1}, "a delay of -1"),
        ({"jitter_us": 5}, "0 to the delay"),
        ({"loss": 1.5}, "expected a probability"),
        ({"reorder": 0.1}, "set a delay too"),
        ({"rate_bps": -1}, "a rate of -1"),
        ({"delay_us": float("nan")}, "a delay of nan"),
    ],
)
def test_links_that_cannot_be(link: dict[str, float], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Link(**link)  # type: ignore[arg-type]


def test_queues_that_cannot_be(switch: softswitch.Switch) -> None:
    for arguments, words in (
        ({"depth": -1}, "a queue of -1 packets"),
        ({"rate_pps": -1}, "a rate of -1 packets"),
        ({"depth": 1, "priority": 3}, "a port has queues 0 to 2"),
    ):
        with pytest.raises(ValueError, match=words):
            switch.set_queue(PORT, **arguments)
    with pytest.raises(ValueError, match="512 is not a port number"):
        switch.set_queue(512, depth=1)


@pytest.mark.parametrize("program", GENERATORS)
def test_a_queue_changes_nothing_but_the_time(engine: Engine, program: str) -> None:
    """What waits is a copy, whose headers point to what they did. Sanitizers see that it needs nothing of the packet
    that came in (test_sanitized)."""
    load = traffic(program, 20, 150)

    def through(rate: int) -> list[list[tuple[int, bytes]]]:
        engine.load((PROGRAMS / f"{program}.json").read_text())
        engine.freeze_clock(0)
        for group, replicas in load.groups.items():
            engine.set_multicast_group(group, replicas)
        for session, replicas in load.sessions.items():
            engine.set_clone_session(session, replicas)
        for port in range(512):
            engine.set_queue_rate(port, rate)
        left = []
        for port, data in load.packets:
            gone = engine.process(port, data)
            engine.freeze_clock(engine.clock_us() + 1)
            gone += [(one.port, one.data) for one in engine.settle()]
            engine.freeze_clock(0)
            left.append(sorted(gone))
        return left

    # a microsecond apart, so that the second copy of a packet waits
    queued, direct = through(1_000_000), through(0)
    for (_, data), wanted, got in zip(load.packets, direct, queued, strict=True):
        assert got == wanted, f"input {data.hex()}"


def test_a_new_program_leaves_nobody_waiting(engine: Engine) -> None:
    engine.load((PROGRAMS / "queues.json").read_text())
    engine.freeze_clock(START_US)
    engine.set_link(PORT, Direction.OUT, Link(rate_bps=8_000_000))
    for number in range(5):
        engine.process(1, packet(number))
    engine.load((PROGRAMS / "copies.json").read_text())
    left = list(engine.settle())
    assert numbers(left) == list(range(5)), "the old program has finished with them"
    gaps = {later.time_us - sooner.time_us for sooner, later in pairwise(left)}
    assert gaps == {len(left[0].data)}, "and the link is as slow as it was"


def test_the_story_of_a_packet_tells_of_its_queue(switch: softswitch.Switch) -> None:
    switch.set_queue(PORT, depth=1, rate_pps=RATE)
    _, trace = switch.trace(1, packet(0))
    assert trace.of("queued") == trace.of("dequeued") == [str(PORT)]
    _, trace = switch.trace(1, packet(1))
    assert trace.of("queued") == [str(PORT)] and trace.of("out") == []
    _, trace = switch.trace(1, packet(2))
    assert "queue 0 of port 2 is full, with 1 packets: dropped" in str(trace)


class Burst(NamedTuple):
    """Packets of a priority, one right after the other, `after_us` behind the burst before."""

    after_us: int
    priority: int
    count: int


BURSTS = st.lists(st.builds(Burst, st.integers(0, 3000), st.integers(0, 2), st.integers(1, 8)), min_size=1, max_size=12)
LIMITS = st.tuples(st.integers(0, 6), st.sampled_from([0, 700, 5000]), st.sampled_from([0, 200_000, 2_000_000]))
LINKS = st.builds(
    Link, st.integers(100, 4000), st.integers(0, 100), st.sampled_from([0, 0.3, 1]), st.sampled_from([0, 0.3])
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(bursts=BURSTS, limits=LIMITS, link=LINKS, changes=st.lists(LIMITS, max_size=3))
def test_nothing_is_lost_uncounted(
    shared: softswitch.Switch,
    bursts: list[Burst],
    limits: tuple[int, int, int],
    link: Link,
    changes: list[tuple[int, int, int]],
) -> None:
    """However a port is set, and changed meanwhile."""
    switch = shared
    drain(switch)
    before = counts(switch)
    sent, gone, depth_limit = 0, list[Departure](), 0
    for place, burst in enumerate(bursts):
        depth, pps, bps = changes[place // 3] if place % 3 == 0 and place // 3 < len(changes) else limits
        switch.set_queue(PORT, depth=depth, rate_pps=pps)
        switch.set_link(PORT, Link(link.delay_us, link.jitter_us, link.loss, link.reorder, bps))
        depth_limit = max(depth_limit, depth)
        switch.set_clock(switch.clock_us + burst.after_us)
        for _ in range(burst.count):
            left = switch.process(1, packet(sent, burst.priority))
            gone += switch.departures()
            gone += [Departure(switch.clock_us, *one) for one in left]
            sent += 1
            waiting = [queue.waiting for queue in switch.shaping()[PORT].queues]
            assert max(waiting) <= depth_limit
    gone += drain(switch)
    after = counts(switch)
    assert sent == len(gone) + sum((after - before)[what] for what in ("tail", "lost", "link"))
    assert after["waiting"] == after["flying"] == 0
    assert max(Counter(numbers(gone)).values(), default=1) == 1
    assert all(told(one.data).enq_qdepth < depth_limit for one in gone)
    for priority in range(3):
        left_queue = [(told(one.data).left, told(one.data).number) for one in gone]
        own = [number for _, number in sorted(left_queue) if number in of_priority(gone, priority)]
        assert own == sorted(own), "within a priority packets leave in order"


def of_priority(gone: list[Departure], priority: int) -> set[int]:
    """Which packets of a priority have left."""
    return {told(one.data).number for one in gone if told(one.data).priority == priority}


def counts(switch: softswitch.Switch) -> Counter[str]:
    """What the switch says has become of packets of the port since the start."""
    shaping = switch.shaping().get(PORT)
    if shaping is None:
        return Counter()
    link = shaping.links[Direction.OUT]
    found = Counter(lost=link.lost, link=link.dropped, flying=link.flying)
    for queue in shaping.queues:
        found.update(tail=queue.dropped, waiting=queue.waiting)
    return found


@pytest.fixture(scope="module")
def shared() -> Iterator[softswitch.Switch]:
    """One switch for all examples."""
    with loaded() as made:
        yield made
