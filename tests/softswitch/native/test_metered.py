"""Meters mark as RFC 2698 and RFC 2697 say, with BMv2's arithmetic; entries know when they were hit; value sets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from finsy.proto import p4r
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from softswitch.bmv2.match import Exact, Ternary
from softswitch.engine.engine import Engine
from softswitch.engine.meters import Meter, MeterConfig

import softswitch
from tests.softswitch.native.bmv2 import PROGRAMS
from tests.softswitch.native.traffic import written
from tests.softswitch.native.writes import Entry, Match, Writes
from tests.softswitch.p4runtime.client import Names
from tests.softswitch.p4runtime.entities import delete, insert, modify
from tests.softswitch.p4runtime.test_value_sets import members

GREEN, YELLOW, RED = range(3)
PACKETS, BYTES = "I.by_packets", "I.by_bytes"
START_US = 1_000_000
SEVEN: tuple[Match, ...] = (Exact(7),)
EIGHT: tuple[Match, ...] = (Exact(8),)
ODD: tuple[Match, ...] = (Ternary(1, 1),)
NOTHING = ((0, 0), (0, 0), (0, 0))
NAMES = Names.of("metered")


@pytest.fixture
def metered(engine: Engine) -> Iterator[Engine]:
    """The program `metered` at a time that stands still."""
    engine.load((PROGRAMS / "metered.json").read_text())
    engine.freeze_clock(START_US)
    yield engine


@pytest.fixture
def switch(tmp_path: Path) -> Iterator[softswitch.Switch]:
    """The same as users have it, with value sets of ternary fields."""
    names, _ = written("metered")
    (tmp_path / "metered.json").write_bytes(names.device_config)
    (tmp_path / "metered.txtpb").write_text(str(names.p4info))
    with softswitch.load(tmp_path / "metered.json", tmp_path / "metered.txtpb") as made:
        made.set_clock(START_US)
        yield made


def colour(engine: Engine | softswitch.Switch, which: int, key: int, length: int = 2) -> int:
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


def test_more_tokens_than_64_bits_of_millionths_all_overflow(metered: Engine) -> None:
    # The committed bucket holds nothing: all that comes in 7 µs goes to the excess bucket, which it fills.
    metered.configure_meters(BYTES, 3, [MeterConfig(2**63 - 1, 0, 2**63 - 1, 0, 60)])
    assert colour(metered, 2, 3, 60) == YELLOW
    assert colour(metered, 2, 3, 60) == RED
    metered.freeze_clock(START_US + 7)
    assert colour(metered, 2, 3, 60) == YELLOW


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


def entity(table: str, key: tuple[Match, ...], priority: int = 0, action: str = "I.mark") -> p4r.Entity:
    """An entry with parameter 9."""
    return Writes(NAMES.p4info).entity(Entry(table, key, priority, action, (9,)))


def own(key: tuple[Match, ...], config: p4r.MeterConfig | None = None) -> p4r.Entity:
    """The direct meter of an entry."""
    made = p4r.DirectMeterEntry(table_entry=entity("I.metered", key).table_entry)
    made.table_entry.ClearField("action")
    if config is not None:
        made.config.CopyFrom(config)
    return p4r.Entity(direct_meter_entry=made)


def marks(switch: softswitch.Switch, key: tuple[Match, ...]) -> tuple[p4r.MeterConfig | None, list[tuple[int, int]]]:
    """The configuration of an entry's meter, and what it has marked by colour."""
    wanted = own(key)
    wanted.direct_meter_entry.counter_data.SetInParent()
    (found,) = switch.read(wanted)
    meter = found.direct_meter_entry
    counters = (meter.counter_data.green, meter.counter_data.yellow, meter.counter_data.red)
    counted = [(counter.packet_count, counter.byte_count) for counter in counters]
    return meter.config if meter.HasField("config") else None, counted


FEW = p4r.MeterConfig(cir=1, cburst=1, pir=1, pburst=2)
NONE = p4r.MeterConfig()


def test_a_direct_meter_marks_before_the_action(switch: softswitch.Switch) -> None:
    seven = entity("I.metered", SEVEN)
    seven.table_entry.meter_config.CopyFrom(FEW)
    seven.table_entry.counter_data.packet_count, seven.table_entry.counter_data.byte_count = 3, 40
    switch.write([seven, entity("I.metered", EIGHT)])
    assert [colour(switch, 3, 7) for _ in range(3)] == [GREEN, YELLOW, RED]
    assert [colour(switch, 3, 8) for _ in range(3)] == [GREEN] * 3
    assert colour(switch, 3, 9) == 3, "a miss executes no meter"
    assert marks(switch, SEVEN) == (FEW, [(1, 2), (1, 2), (1, 2)])
    assert marks(switch, EIGHT) == (None, [(3, 6), (0, 0), (0, 0)])
    with pytest.raises(softswitch.LoadError, match="no such entry"):
        marks(switch, (Exact(9),))
    (counter,) = switch.read(p4r.Entity(direct_counter_entry=p4r.DirectCounterEntry(table_entry=seven.table_entry)))
    assert (counter.direct_counter_entry.data.packet_count, counter.direct_counter_entry.data.byte_count) == (6, 46)


def test_a_direct_meter_goes_with_its_entry(switch: softswitch.Switch) -> None:
    switch.write([entity("I.metered", SEVEN), own(SEVEN, NONE)])
    assert colour(switch, 3, 7) == RED
    cleared = own(SEVEN, NONE)
    cleared.direct_meter_entry.counter_data.SetInParent()
    switch.write([cleared])
    assert marks(switch, SEVEN) == (NONE, list(NOTHING))
    switch.write([own(SEVEN)])
    assert colour(switch, 3, 7) == GREEN
    switch.write([own(SEVEN, NONE)])
    switch.write([delete(entity("I.metered", SEVEN)), insert(entity("I.metered", SEVEN))])
    assert marks(switch, SEVEN) == (None, list(NOTHING))


def test_what_a_table_does_not_have_is_refused(switch: softswitch.Switch, metered: Engine) -> None:
    ageing = entity("I.ageing", ODD, 1, "I.answer")
    ageing.table_entry.meter_config.CopyFrom(FEW)
    with pytest.raises(softswitch.WriteError, match="has no direct meter"):
        switch.write([ageing])
    absent = p4r.Entity(direct_counter_entry=p4r.DirectCounterEntry(data=p4r.CounterData(packet_count=1)))
    absent.direct_counter_entry.table_entry.CopyFrom(entity("I.metered", SEVEN).table_entry)
    with pytest.raises(softswitch.WriteError, match="NOT_FOUND"):
        switch.write([absent])
    for read, table in ((metered.read_direct_meters, "I.ageing"), (metered.read_idle_us, "I.metered")):
        with pytest.raises(KeyError):
            read(table, [])


def test_entries_know_when_they_were_hit_last(switch: softswitch.Switch) -> None:
    entries = [entity("I.ageing", ODD, priority, "I.answer") for priority in (2, 1)]
    switch.write(entries)

    def idle_us() -> list[int]:
        wanted = p4r.TableEntry(table_id=NAMES["ageing"])
        wanted.time_since_last_hit.SetInParent()
        read = switch.read(p4r.Entity(table_entry=wanted))
        return [e.table_entry.time_since_last_hit.elapsed_ns // 1000 for e in read]

    switch.set_clock(START_US + 300)
    assert idle_us() == [300, 300]
    colour(switch, 4, 3)
    switch.set_clock(START_US + 350)
    assert idle_us() == [50, 350]
    nothing = entity("I.ageing", ODD, 2, "I.answer")
    nothing.table_entry.action.CopyFrom(p4r.TableAction(action=p4r.Action(action_id=NAMES["NoAction"])))
    switch.write([modify(nothing)])
    assert idle_us() == [50, 350], "a change is no hit"


def way(engine: softswitch.Switch, which: int, more: int) -> int:
    """How the parser took a packet: 1 by the first set, 3 by the second, 2 by a constant before it."""
    ((_, data),) = engine.process(1, bytes([which, 0]) + more.to_bytes(2, "big"))
    return data[6] if data[2:4] == more.to_bytes(2, "big") else data[4]


def test_value_sets_steer_the_parser(switch: softswitch.Switch) -> None:
    assert way(switch, 5, 0x2345) == 0
    pairs = members(NAMES, "pairs", ((2, 15), (0x345, 0xFFF)), ((3, 15), (1, 0x00F)))
    switch.write([members(NAMES, "deep", ((5, 0xFF),), ((8, 0xFE),)), pairs])
    assert [way(switch, which, 0x4000) for which in range(5, 11)] == [1, 0, 0, 1, 1, 0]
    assert [way(switch, 5, more) for more in (0x2345, 0x2344, 0x3AB1, 0x3AB2, 0x1111)] == [3, 1, 3, 1, 2]
    switch.write([members(NAMES, "deep", ((6, 0xFF),))])
    assert [way(switch, which, 0x4000) for which in (5, 6, 8)] == [0, 1, 0]
    switch.write([members(NAMES, "deep")])
    assert [way(switch, which, 0x4000) for which in (5, 6, 8)] == [0, 0, 0]


def test_a_value_set_is_no_larger_than_the_program_says(switch: softswitch.Switch) -> None:
    with pytest.raises(softswitch.WriteError, match="RESOURCE_EXHAUSTED"):
        switch.write([members(NAMES, "deep", *(((number, 0xFF),) for number in range(4)))])
