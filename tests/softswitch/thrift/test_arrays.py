"""Counters, meters, registers and value sets over Thrift."""

from __future__ import annotations

import pytest
from softswitch.thrift.definitions import standard

from tests.softswitch.p4runtime.switches import message
from tests.softswitch.thrift.client import NO_OPTIONS, ThriftSwitch, code, exact, ternary
from tests.softswitch.thrift.conftest import Start

COUNTER, REGISTER, SIGNED = (f"EverythingIngress.{name}" for name in ("by_kind", "wide_register", "signed_register"))


def _value(packets: int, octets: int) -> object:
    return standard.CounterValue(packets=packets, octets=octets)


def test_counters(start: Start) -> None:
    switch = start("everything")
    calls = switch.client.standard
    switch.engine.process(1, message(5))
    assert calls.bm_counter_read(0, COUNTER, 5) == _value(1, 6)
    calls.bm_counter_write(0, COUNTER, 4, _value(7, -1))
    assert calls.bm_counter_read(0, COUNTER, 4) == _value(7, -1)
    calls.bm_counter_reset_all(0, COUNTER)
    assert calls.bm_counter_read(0, COUNTER, 4) == _value(0, 0)
    errors = standard.CounterError
    assert code(errors, calls.bm_counter_read, 0, COUNTER, 8) == "INVALID_INDEX"
    assert code(errors, calls.bm_counter_read, 0, "nothing", 0) == "INVALID_COUNTER_NAME"


def test_counters_of_entries(start: Start) -> None:
    switch = start("everything")
    calls, table = switch.client.standard, "EverythingIngress.exact_table"
    handle = calls.bm_mt_add_entry(0, table, [exact(7, 2)], "EverythingIngress.drop", [], NO_OPTIONS)
    switch.engine.process(1, message(0, tag=7))
    assert calls.bm_mt_read_counter(0, table, handle) == _value(1, 6)
    calls.bm_mt_write_counter(0, table, handle, _value(10, 20))
    assert calls.bm_mt_read_counter(0, table, handle) == _value(10, 20)
    calls.bm_mt_reset_counters(0, table)
    assert calls.bm_mt_read_counter(0, table, handle) == _value(0, 0)


def test_registers(start: Start) -> None:
    calls, errors = start("everything").client.standard, standard.RegisterError
    calls.bm_register_write(0, REGISTER, 3, 1 << 40)
    assert calls.bm_register_read(0, REGISTER, 3) == 1 << 40
    calls.bm_register_write_range(0, REGISTER, 14, 16, 9)
    assert calls.bm_register_read_all(0, REGISTER) == [0, 0, 0, 1 << 40, *[0] * 10, 9, 9]
    # what is too wide is cut off, as the program would
    calls.bm_register_write(0, SIGNED, 0, -1)
    assert calls.bm_register_read(0, SIGNED, 0) == 0xFF
    calls.bm_register_reset(0, REGISTER)
    assert set(calls.bm_register_read_all(0, REGISTER)) == {0}
    assert code(errors, calls.bm_register_write, 0, REGISTER, 16, 1) == "INVALID_INDEX"
    assert code(errors, calls.bm_register_write_range, 0, REGISTER, 15, 17, 1) == "INVALID_INDEX"
    assert code(errors, calls.bm_register_read_all, 0, "nothing") == "INVALID_REGISTER_NAME"


def _rates(*rates: tuple[float, int]) -> list[object]:
    return [standard.MeterRate(rate=rate, burst=burst) for rate, burst in rates]


def _colour(switch: ThriftSwitch, which: int) -> int:
    ((_, data),) = switch.engine.process(1, bytes([which, 1]))
    return data[2]


def test_meters(start: Start) -> None:
    switch = start("metered")
    calls, errors, meter = switch.client.standard, standard.MeterError, "I.by_packets"
    assert calls.bm_meter_get_rates(0, meter, 1) == []
    rates = _rates((0.5, 2), (1.0, 4))
    calls.bm_meter_set_rates(0, meter, 1, rates)
    assert calls.bm_meter_get_rates(0, meter, 1) == rates
    calls.bm_meter_array_set_rates(0, meter, _rates((0, 0), (0, 0)))
    assert (calls.bm_meter_get_rates(0, meter, 0), _colour(switch, 1)) == (_rates((0, 0), (0, 0)), 2)
    assert code(errors, calls.bm_meter_set_rates, 0, meter, 4, rates) == "INVALID_INDEX"
    assert code(errors, calls.bm_meter_set_rates, 0, meter, 0, rates[::-1]) == "INVALID_INFO_RATE_VALUE"
    assert code(errors, calls.bm_meter_set_rates, 0, meter, 0, rates[:1]) == "BAD_RATES_LIST"
    assert code(errors, calls.bm_meter_set_rates, 0, "nothing", 0, rates) == "INVALID_METER_NAME"


def test_meters_of_entries(start: Start) -> None:
    switch = start("metered")
    calls, table = switch.client.standard, "I.metered"
    handle = calls.bm_mt_add_entry(0, table, [exact(1)], "I.mark", [b"\1"], NO_OPTIONS)
    assert (calls.bm_mt_get_meter_rates(0, table, handle), _colour(switch, 3)) == ([], 0)
    calls.bm_mt_set_meter_rates(0, table, handle, _rates((0, 0), (0, 0)))
    assert _colour(switch, 3) == 2
    # another action leaves the meter as it is
    calls.bm_mt_modify_entry(0, table, handle, "I.mark", [b"\2"])
    assert calls.bm_mt_get_meter_rates(0, table, handle) == _rates((0, 0), (0, 0))


def test_timeouts_of_entries(start: Start) -> None:
    calls, table = start("metered").client.standard, "I.ageing"
    handle = calls.bm_mt_add_entry(0, table, [ternary(0, 0)], "I.answer", [b"\1"], NO_OPTIONS)
    assert calls.bm_mt_get_entry(0, table, handle).life.timeout_ms == 0
    calls.bm_mt_set_entry_ttl(0, table, handle, 60_000)
    entry = calls.bm_mt_get_entry(0, table, handle)
    assert (entry.life.timeout_ms, entry.action.parameters) == (60_000, [b"\1"])
    assert 0 <= entry.life.since_hit_ms < 60_000


@pytest.mark.parametrize("p4info", [False, True])
def test_value_sets(start: Start, p4info: bool) -> None:
    switch = start("metered", p4info=p4info)
    calls, errors, pairs = switch.client.standard, standard.ValueSetError, "P.pairs"
    calls.bm_parse_vset_add(0, "P.deep", b"\x09")
    # simple_switch_CLI writes a byte more than are needed
    for value in (b"\x00\x12\x34", b"\x56\x78", b"\x56\x78"):
        calls.bm_parse_vset_add(0, pairs, value)
    assert calls.bm_parse_vset_get(0, pairs) == [b"\x12\x34", b"\x56\x78"]
    assert [_way(switch, b"\x56\x78"), _way(switch, b"\x56\x79")] == [3, 1]
    calls.bm_parse_vset_remove(0, pairs, b"\x56\x78")
    assert _way(switch, b"\x56\x78") == 1
    calls.bm_parse_vset_clear(0, pairs)
    assert calls.bm_parse_vset_get(0, pairs) == []
    assert code(errors, calls.bm_parse_vset_add, 0, pairs, b"\x01\x00\x00") == "ERROR"
    assert code(errors, calls.bm_parse_vset_get, 0, "nothing") == "INVALID_PARSE_VSET_NAME"


def _way(switch: ThriftSwitch, pair: bytes) -> int:
    """By which way the parser went."""
    ((_, data),) = switch.engine.process(1, b"\x09\x00" + pair)
    return data[-1]
