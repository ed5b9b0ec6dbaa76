"""Tables over Thrift, as BMv2 has them (its `match_tables.cpp` and `match_units.cpp`)."""

from __future__ import annotations

from finsy.proto import p4r
from softswitch.thrift.definitions import standard

from tests.softswitch.p4runtime.client import Client, Names
from tests.softswitch.p4runtime.switches import message
from tests.softswitch.thrift.client import NO_OPTIONS, ThriftSwitch, between, code, exact, lpm, ternary
from tests.softswitch.thrift.conftest import Start

EXACT, LPM, TERNARY, CONST, KEYLESS = (
    f"EverythingIngress.{name}_table" for name in ("exact", "lpm", "ternary", "const", "keyless")
)
FORWARD, DROP = "EverythingIngress.forward", "EverythingIngress.drop"
_ERRORS = standard.TableError


def _ports(switch: ThriftSwitch, packet: bytes) -> list[int]:
    return [port for port, _ in switch.engine.process(1, packet)]


def _port(number: int) -> list[bytes]:
    return [number.to_bytes(2, "big")]


def test_a_program_without_p4info_takes_entries_that_packets_meet(start: Start) -> None:
    switch = start("everything")
    calls = switch.client.standard
    assert _ports(switch, message(0, tag=7)) == [0]
    handle = calls.bm_mt_add_entry(0, EXACT, [exact(7, 2)], FORWARD, _port(3), NO_OPTIONS)
    assert (handle, _ports(switch, message(0, tag=7))) == (0, [3])
    calls.bm_mt_modify_entry(0, EXACT, handle, FORWARD, _port(4))
    assert _ports(switch, message(0, tag=7)) == [4]
    entry = calls.bm_mt_get_entry(0, EXACT, handle)
    assert (entry.action.action, entry.action.parameters) == (FORWARD, _port(4))
    assert (entry.key, entry.options.priority) == ([exact(7, 2)], -1)
    calls.bm_mt_delete_entry(0, EXACT, handle)
    assert (_ports(switch, message(0, tag=7)), calls.bm_mt_get_num_entries(0, EXACT)) == ([0], 0)


def test_handles_are_the_lowest_free_and_old_ones_expire(start: Start) -> None:
    calls = start("everything").client.standard
    handles = [calls.bm_mt_add_entry(0, LPM, [lpm(n << 8, 8)], DROP, [], NO_OPTIONS) for n in range(3)]
    assert handles == [0, 1, 2]
    calls.bm_mt_delete_entry(0, LPM, 1)
    assert code(_ERRORS, calls.bm_mt_delete_entry, 0, LPM, 1) == "INVALID_HANDLE"
    assert calls.bm_mt_add_entry(0, LPM, [lpm(0x900, 8)], DROP, [], NO_OPTIONS) == 1 << 24 | 1
    assert code(_ERRORS, calls.bm_mt_get_entry, 0, LPM, 1) == "EXPIRED_HANDLE"
    calls.bm_mt_clear_entries(0, LPM, False)
    assert calls.bm_mt_get_entries(0, LPM) == []


def test_the_smallest_priority_wins_and_don_t_cares_are_told_back(start: Start) -> None:
    switch = start("everything")
    calls = switch.client.standard

    def add(port: int, priority: int) -> None:
        key = [exact(5), ternary(0x1234, 0, 2), between(0, 0xFFFF), ternary(0, 0)]
        options = standard.EntryOptions(priority=priority)
        calls.bm_mt_add_entry(0, TERNARY, key, FORWARD, _port(port), options)

    add(3, 20)
    add(4, 10)
    assert _ports(switch, message(5, tag=9)) == [4]
    entries = calls.bm_mt_get_entries(0, TERNARY)
    assert [entry.options.priority for entry in entries] == [20, 10]
    assert entries[0].key == [exact(5), ternary(0, 0, 2), between(0, 0xFFFF), ternary(0, 0)]
    key, options = entries[1].key, standard.EntryOptions(priority=10)
    assert calls.bm_mt_get_entry_from_key(0, TERNARY, key, options).handle == 1


def test_mistakes_have_bmv2s_codes(start: Start) -> None:
    calls = start("everything").client.standard
    add = calls.bm_mt_add_entry
    calls.bm_mt_add_entry(0, EXACT, [exact(1, 2)], DROP, [], NO_OPTIONS)

    def refused(table: str, key: list[object], action: str = DROP, parameters: list[bytes] | None = None) -> str:
        return code(_ERRORS, add, 0, table, key, action, parameters or [], NO_OPTIONS)

    assert refused("nothing", [exact(1, 2)]) == "INVALID_TABLE_NAME"
    assert refused(EXACT, [exact(1, 2)], "nothing") == "INVALID_ACTION_NAME"
    assert refused(EXACT, [exact(1, 2)]) == "DUPLICATE_ENTRY"
    assert refused(EXACT, [exact(1, 2), exact(1, 2)]) == "BAD_MATCH_KEY"
    assert refused(EXACT, [lpm(0, 0)]) == "BAD_MATCH_KEY"
    assert refused(EXACT, [exact(2, 2)], FORWARD) == "BAD_ACTION_DATA"
    assert refused(KEYLESS, [], FORWARD, _port(1)) == "NO_TABLE_KEY"
    assert refused(CONST, [exact(7), ternary(0, 0)], FORWARD, _port(1)) == "IMMUTABLE_TABLE_ENTRIES"
    assert code(_ERRORS, calls.bm_mt_indirect_add_entry, 0, EXACT, [exact(2, 2)], 0, NO_OPTIONS) == "WRONG_TABLE_TYPE"
    assert code(_ERRORS, calls.bm_mt_set_default_action, 0, LPM, DROP, []) == "DEFAULT_ENTRY_IS_CONST"
    assert code(_ERRORS, calls.bm_mt_set_entry_ttl, 0, EXACT, 0, 100) == "AGEING_DISABLED"
    assert code(_ERRORS, calls.bm_mt_read_counter, 0, LPM, 0) == "COUNTERS_DISABLED"
    assert code(_ERRORS, calls.bm_mt_get_meter_rates, 0, LPM, 0) == "METERS_DISABLED"
    for tag in range(2, 5):
        add(0, EXACT, [exact(tag, 2)], DROP, [], NO_OPTIONS)
    assert refused(EXACT, [exact(5, 2)]) == "TABLE_FULL"


def test_default_entries(start: Start) -> None:
    switch = start("everything")
    calls = switch.client.standard
    calls.bm_mt_set_default_action(0, KEYLESS, FORWARD, _port(6))
    assert _ports(switch, message(3)) == [6]
    assert calls.bm_mt_get_default_entry(0, KEYLESS).parameters == _port(6)
    calls.bm_mt_reset_default_entry(0, KEYLESS)
    assert _ports(switch, message(3)) == [5]


def test_entries_are_p4runtimes_too(start: Start, names: Names) -> None:
    switch = start("everything", p4info=True)
    calls = switch.client.standard
    with Client(switch.address) as client:
        client.primary()
        table = p4r.Entity(table_entry=p4r.TableEntry(table_id=names["exact_table"]))
        calls.bm_mt_add_entry(0, EXACT, [exact(7, 2)], FORWARD, _port(3), NO_OPTIONS)
        (entity,) = client.read(table)
        assert entity.table_entry.match[0].exact.value == b"\x07"
        client.write(p4r.Update(type=p4r.Update.DELETE, entity=entity))
        assert code(_ERRORS, calls.bm_mt_get_entry, 0, EXACT, 0) == "INVALID_HANDLE"
        entity.table_entry.match[0].exact.value = b"\x08"
        client.write(p4r.Update(type=p4r.Update.INSERT, entity=entity))
        (entry,) = calls.bm_mt_get_entries(0, EXACT)
        assert (entry.key, entry.action.parameters) == ([exact(8, 2)], _port(3))
        calls.bm_mt_delete_entry(0, EXACT, entry.handle)
        assert client.read(table) == []
        # how it is used P4Runtime says, and BMv2's JSON does not
        wrong = code(_ERRORS, calls.bm_mt_add_entry, 0, EXACT, [exact(9, 2)], "NoAction", [], NO_OPTIONS)
        assert wrong == "INVALID_ACTION_NAME"
