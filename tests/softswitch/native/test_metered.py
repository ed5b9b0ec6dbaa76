"""Meters mark as RFC 2698 and RFC 2697 say, with BMv2's arithmetic; entries know when they were hit; value sets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from softswitch.engine.engine import Engine
from softswitch.engine.meters import Meter
from softswitch.entries import (
    DirectOperation,
    ErrorKind,
    Exact,
    MatchKey,
    MeterConfig,
    Operation,
    TableOperation,
    Ternary,
    ValueSetOperation,
)

from tests.softswitch.native.bmv2 import PROGRAMS

GREEN, YELLOW, RED = range(3)
PACKETS, BYTES = "I.by_packets", "I.by_bytes"
START_US = 1_000_000
SEVEN: tuple[MatchKey, ...] = (Exact(7),)
ODD: tuple[MatchKey, ...] = (Ternary(1, 1),)
NOTHING = ((0, 0), (0, 0), (0, 0))


@pytest.fixture
def metered(engine: Engine) -> Iterator[Engine]:
    """The program `metered` at a time that stands still."""
    engine.load((PROGRAMS / "metered.json").read_text())
    engine.freeze_clock(START_US)
    yield engine


def colour(engine: Engine, which: int, key: int, length: int = 2) -> int:
    """How a packet of `length` bytes is marked."""
    ((_, data),) = engine.process(1, bytes([which, key]) + bytes(length - 2))
    return data[2]


@dataclass
class Bucket:
    """Tokens that come at `rate` a second, by BMv2's formula: what has come in whole since the start."""

    rate: int
    size: int
    tokens: int
    given: int = 0

    def fill(self, us: int) -> int:
        """Up to `us` after the start. Returns what did not fit."""
        total = us * self.rate // 1_000_000
        new, self.given = total - self.given, total
        over = max(self.tokens + new - self.size, 0)
        self.tokens += new - over
        return over


def mark(config: MeterConfig, arrivals: list[tuple[int, int]]) -> list[int]:
    """The colours of packets (µs after the start, tokens) by the letter of the RFCs."""
    committed = Bucket(config.committed_rate, config.committed_burst, config.committed_burst)
    peak = Bucket(config.peak_rate, config.peak_burst, config.peak_burst)
    excess = config.excess_burst
    left = excess or 0
    colours = []
    for us, size in arrivals:
        over = committed.fill(us)
        peak.fill(us)
        if excess is not None:
            left = min(excess, left + over)
            if committed.tokens >= size:
                committed.tokens -= size
                colours.append(GREEN)
            elif left >= size:
                left -= size
                colours.append(YELLOW)
            else:
                colours.append(RED)
        elif peak.tokens < size:
            colours.append(RED)
        elif committed.tokens < size:
            peak.tokens -= size
            colours.append(YELLOW)
        else:
            peak.tokens -= size
            committed.tokens -= size
            colours.append(GREEN)
    return colours


rates = st.sampled_from([0, 1, 3, 999, 1000, 123_457, 10**6, 10**9, 2**63 - 1])
bursts = st.sampled_from([0, 1, 2, 60, 100, 1500, 2**31 - 1, 2**63 - 1])
gaps = st.sampled_from([0, 1, 7, 999, 1000, 333_333, 10**6, 10**9])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.tuples(rates, rates).map(sorted),
    bursts,
    bursts,
    st.booleans(),
    st.booleans(),
    st.lists(st.tuples(gaps, st.sampled_from([2, 60, 100, 300])), min_size=1, max_size=30),
)
def test_colours_are_those_of_the_rfcs(
    metered: Engine,
    ordered: list[int],
    committed: int,
    other: int,
    one_rate: bool,
    octets: bool,
    steps: list[tuple[int, int]],
) -> None:
    low, high = ordered
    config = (
        MeterConfig(low, committed, low, committed, other) if one_rate else MeterConfig(low, committed, high, other)
    )
    metered.freeze_clock(START_US)
    metered.configure_meters(BYTES if octets else PACKETS, 3, [config])
    now, arrivals, got = 0, [], []
    for gap, length in steps:
        now += gap
        metered.freeze_clock(START_US + now)
        arrivals.append((now, length if octets else 1))
        got.append(colour(metered, 2 if octets else 1, 3, length))
    assert got == mark(config, arrivals)


def test_parts_of_a_token_add_up(metered: Engine) -> None:
    config = MeterConfig(3, 1, 3, 1)
    metered.configure_meters(PACKETS, 0, [config])
    got = []
    for step in range(40):
        metered.freeze_clock(START_US + step * 100_000)
        got.append(colour(metered, 1, 0))
    assert got == mark(config, [(step * 100_000, 1) for step in range(40)])
    assert got.count(GREEN) == 12


def test_a_meter_that_nobody_configured_is_green_and_counts(metered: Engine) -> None:
    assert [colour(metered, 1, 2, 50) for _ in range(3)] == [GREEN] * 3
    assert metered.read_meters(PACKETS, 2, 1) == [Meter(None, ((3, 150), (0, 0), (0, 0)))]


def test_cells_are_apart_and_can_be_reset(metered: Engine) -> None:
    config = MeterConfig(1, 1, 1, 2)
    metered.configure_meters(PACKETS, 1, [config, None])
    assert [colour(metered, 1, 1) for _ in range(3)] == [GREEN, YELLOW, RED]
    assert [colour(metered, 1, cell) for cell in (0, 2, 3)] == [GREEN] * 3
    assert metered.read_meters(PACKETS, 0, 2)[1] == Meter(config, ((1, 2), (1, 2), (1, 2)))
    metered.clear_meters(PACKETS, 1, 1)
    assert metered.read_meters(PACKETS, 1, 1) == [Meter(config, NOTHING)]
    assert colour(metered, 1, 1) == RED, "what was counted has nothing to do with the buckets"
    metered.configure_meters(PACKETS, 1, [None])
    assert colour(metered, 1, 1) == GREEN
    with pytest.raises(IndexError):
        metered.configure_meters(PACKETS, 3, [config, config])
    with pytest.raises(KeyError):
        metered.read_meters("I.own", 0, 1)


def test_an_index_out_of_range_marks_nothing(metered: Engine) -> None:
    assert colour(metered, 1, 4) == 9


def test_a_clock_that_steps_back_takes_no_tokens(metered: Engine) -> None:
    metered.configure_meters(PACKETS, 0, [MeterConfig(1000, 1, 1000, 1)])
    assert colour(metered, 1, 0) == GREEN
    metered.freeze_clock(START_US // 2)
    assert colour(metered, 1, 0) == RED
    metered.freeze_clock(START_US // 2 + 1000)
    assert colour(metered, 1, 0) == GREEN


def insert(metered: Engine, table: str, action: str, *keys: tuple[tuple[MatchKey, ...], int]) -> None:
    """Entries with parameter 9."""
    operations = [TableOperation(Operation.INSERT, table, key, priority, action, (9,)) for key, priority in keys]
    assert metered.apply(operations) == [None] * len(keys)


def test_a_direct_meter_marks_before_the_action(metered: Engine) -> None:
    insert(metered, "I.metered", "I.mark", (SEVEN, 0), ((Exact(8),), 0))
    assert metered.apply([DirectOperation("I.metered", SEVEN, counter=(3, 40), meter=MeterConfig(1, 1, 1, 2))]) == [
        None
    ]
    assert [colour(metered, 3, 7) for _ in range(3)] == [GREEN, YELLOW, RED]
    assert [colour(metered, 3, 8) for _ in range(3)] == [GREEN] * 3
    assert colour(metered, 3, 9) == 3, "a miss executes no meter"
    meters = metered.read_direct_meters("I.metered", [(SEVEN, 0), ((Exact(8),), 0), ((Exact(9),), 0)])
    assert meters == [
        Meter(MeterConfig(1, 1, 1, 2), ((1, 2), (1, 2), (1, 2))),
        Meter(None, ((3, 6), (0, 0), (0, 0))),
        None,
    ]
    assert metered.read_direct_counters("I.metered", [(SEVEN, 0)]) == [(6, 46)]


def test_a_direct_meter_goes_with_its_entry(metered: Engine) -> None:
    insert(metered, "I.metered", "I.mark", (SEVEN, 0))
    metered.apply([DirectOperation("I.metered", SEVEN, meter=MeterConfig(0, 0, 0, 0))])
    assert colour(metered, 3, 7) == RED
    metered.apply([DirectOperation("I.metered", SEVEN, clear_marks=True)])
    assert metered.read_direct_meters("I.metered", [(SEVEN, 0)]) == [Meter(MeterConfig(0, 0, 0, 0), NOTHING)]
    metered.apply([DirectOperation("I.metered", SEVEN, reset_meter=True)])
    assert colour(metered, 3, 7) == GREEN
    metered.apply([DirectOperation("I.metered", SEVEN, meter=MeterConfig(0, 0, 0, 0))])
    metered.apply([TableOperation(Operation.DELETE, "I.metered", SEVEN)])
    insert(metered, "I.metered", "I.mark", (SEVEN, 0))
    assert metered.read_direct_meters("I.metered", [(SEVEN, 0)]) == [Meter(None, NOTHING)]


def test_what_a_table_does_not_have_is_refused(metered: Engine) -> None:
    insert(metered, "I.ageing", "I.answer", (ODD, 1))
    (error,) = metered.apply([DirectOperation("I.ageing", ODD, 1, meter=MeterConfig(1, 1, 1, 1))])
    assert error is not None and error.kind is ErrorKind.NOT_FOUND
    for read, table, key in (
        (metered.read_direct_meters, "I.ageing", (ODD, 1)),
        (metered.read_idle_us, "I.metered", (SEVEN, 0)),
    ):
        with pytest.raises(KeyError):
            read(table, [key])
    (error,) = metered.apply([DirectOperation("I.metered", SEVEN, counter=(1, 1))])
    assert error is not None and error.kind is ErrorKind.NOT_FOUND


def test_entries_know_when_they_were_hit_last(metered: Engine) -> None:
    insert(metered, "I.ageing", "I.answer", (ODD, 2), (ODD, 1))
    metered.freeze_clock(START_US + 300)
    assert metered.read_idle_us("I.ageing", [(ODD, 2), (ODD, 1), (ODD, 9)]) == [300, 300, None]
    colour(metered, 4, 3)
    metered.freeze_clock(START_US + 350)
    assert metered.read_idle_us("I.ageing", [(ODD, 2), (ODD, 1)]) == [50, 350]
    metered.apply([TableOperation(Operation.MODIFY, "I.ageing", ODD, 2, "NoAction")])
    assert metered.read_idle_us("I.ageing", [(ODD, 2)]) == [50], "a change is no hit"


def way(engine: Engine, which: int, more: int) -> int:
    """How the parser took a packet: 1 by the first set, 3 by the second, 2 by a constant before it."""
    ((_, data),) = engine.process(1, bytes([which, 0]) + more.to_bytes(2, "big"))
    return data[6] if data[2:4] == more.to_bytes(2, "big") else data[4]


def test_value_sets_steer_the_parser(metered: Engine) -> None:
    assert way(metered, 5, 0x2345) == 0
    deep = ValueSetOperation("P.deep", ((5, 0xFF), (8, 0xFE)))
    assert metered.apply([deep, ValueSetOperation("P.pairs", ((0x2345, 0xFFFF), (0x3001, 0xF00F)))]) == [None, None]
    assert [way(metered, which, 0x4000) for which in range(5, 11)] == [1, 0, 0, 1, 1, 0]
    assert [way(metered, 5, more) for more in (0x2345, 0x2344, 0x3AB1, 0x3AB2, 0x1111)] == [3, 1, 3, 1, 2]
    assert metered.apply([ValueSetOperation("P.deep", ((6, 0xFF),))]) == [None]
    assert [way(metered, which, 0x4000) for which in (5, 6, 8)] == [0, 1, 0]
    assert metered.apply([ValueSetOperation("P.deep", ())]) == [None]
    assert [way(metered, which, 0x4000) for which in (5, 6, 8)] == [0, 0, 0]


def test_a_value_set_is_no_larger_than_the_program_says(metered: Engine) -> None:
    full = tuple((number, 0xFF) for number in range(4))
    (error,) = metered.apply([ValueSetOperation("P.deep", full)])
    assert error is not None and error.kind is ErrorKind.RESOURCE_EXHAUSTED
