"""Programs, state, ports and clocks over Thrift, and what goes along with P4Runtime."""

from __future__ import annotations

import hashlib
import socket
import struct
import threading

import grpc
import pytest
from finsy.proto import p4r
from softswitch.files import parse_entries
from softswitch.thrift.definitions import standard
from thrift.Thrift import TApplicationException

from tests.softswitch.p4runtime.client import PROGRAMS, Client, Names
from tests.softswitch.p4runtime.switches import message
from tests.softswitch.thrift.client import NO_OPTIONS, ThriftClient, code, exact
from tests.softswitch.thrift.conftest import Start

EXACT, DROP, FORWARD = (f"EverythingIngress.{name}" for name in ("exact_table", "drop", "forward"))
_TEXT = (PROGRAMS / "everything.json").read_text()


def test_tells_which_program_runs(start: Start) -> None:
    calls = start("everything").client.standard
    assert calls.bm_get_config() == _TEXT
    assert calls.bm_get_config_md5() == hashlib.md5(_TEXT.encode()).digest()
    assert calls.bm_mgmt_get_info().device_id == 1
    kinds = standard.Resource
    assert calls.bm_get_id_from_name(0, kinds.REGISTER, "EverythingIngress.signed_register") == 1
    assert code(standard.LookupError, calls.bm_get_id_from_name, 0, kinds.METER, "nothing") == "INVALID_RESOURCE_NAME"


def test_without_a_program_everything_is_unknown(start: Start) -> None:
    client = start(None).client
    assert client.standard.bm_get_config() == "{}"
    assert code(standard.TableError, client.standard.bm_mt_get_entries, 0, EXACT) == "INVALID_TABLE_NAME"
    client.standard.bm_reset_state()
    with pytest.raises(TApplicationException, match="no program"):
        client.standard.bm_serialize_state()


def test_a_program_is_loaded_filled_and_swapped_in(start: Start) -> None:
    switch = start("indirect")
    calls, errors = switch.client.standard, standard.SwapError
    assert code(errors, calls.bm_swap_configs) == "NO_ONGOING_SWAP"
    assert code(errors, calls.bm_load_new_config, "{}") == "CONFIG_SWAP_DISABLED"
    calls.bm_load_new_config(_TEXT)
    assert code(errors, calls.bm_load_new_config, _TEXT) == "ONGOING_SWAP"
    calls.bm_mt_add_entry(0, EXACT, [exact(7, 2)], FORWARD, [b"\0\3"], NO_OPTIONS)
    # the old program goes on meanwhile
    assert len(switch.engine.process(1, bytes(8))[0][1]) == 11
    calls.bm_swap_configs()
    assert [port for port, _ in switch.engine.process(1, message(0, tag=7))] == [3]
    calls.bm_reset_state()
    assert calls.bm_mt_get_entries(0, EXACT) == []
    assert [port for port, _ in switch.engine.process(1, message(0, tag=7))] == [0]


def test_p4runtime_does_not_see_a_program_without_p4info_and_can_replace_it(start: Start, names: Names) -> None:
    switch = start("everything")
    with Client(switch.address) as client:
        client.primary()
        assert client.config() is None
        with pytest.raises(grpc.RpcError, match="No forwarding pipeline config"):
            client.read(p4r.Entity(table_entry=p4r.TableEntry()))
        switch.client.lag.bm_mc_mgrp_create(0, 5)
        client.push(names.config())
        assert client.config() == names.config()
        # the group went with its program
        group = p4r.PacketReplicationEngineEntry()
        group.multicast_group_entry.SetInParent()
        assert client.read(p4r.Entity(packet_replication_engine_entry=group)) == []


def test_the_state_is_text_that_can_be_written_again(start: Start, names: Names) -> None:
    switch = start("everything", p4info=True)
    calls = switch.client.standard
    calls.bm_mt_add_entry(0, EXACT, [exact(7, 2)], DROP, [], NO_OPTIONS)
    calls.bm_register_write(0, "EverythingIngress.wide_register", 3, 77)
    updates = parse_entries(calls.bm_serialize_state(), names.config().p4info).updates
    entries = [u.entity.table_entry for u in updates if u.entity.WhichOneof("entity") == "table_entry"]
    assert [e.match[0].exact.value for e in entries if e.table_id == names["exact_table"]] == [b"\x07"]
    registers = [u.entity.register_entry for u in updates if u.entity.WhichOneof("entity") == "register_entry"]
    assert [r.index.index for r in registers if r.data.bitstring == bytes([77])] == [3]


def test_what_has_no_meaning_here_says_so(start: Start) -> None:
    calls = start("everything").client.standard
    parameters = standard.Crc16(polynomial=1, initial=0, final_xor=0, reflect_data=False, reflect_remainder=False)
    refused = code(standard.CalculationError, calls.bm_set_crc16_custom_parameters, 0, "calc", parameters)
    assert refused == "INVALID_CALCULATION_NAME"
    assert code(standard.LearnError, calls.bm_learning_ack_buffer, 0, 1, 1) == "ERROR"
    assert code(standard.PortError, calls.bm_dev_mgr_add_port, "no-such-iface", 1, "") == "ERROR"
    assert code(standard.PortError, calls.bm_dev_mgr_remove_port, 1) == "ERROR"
    assert calls.bm_dev_mgr_show_ports() == []


def test_clocks(start: Start) -> None:
    switch = start("everything")
    before = switch.client.switch.get_time_elapsed_us()
    assert 0 < before <= switch.client.switch.get_time_elapsed_us() <= switch.engine.clock_us()
    assert switch.client.switch.get_time_since_epoch_us() > before


def test_speaks_the_bytes_of_bmv2s_clients(start: Start) -> None:
    """A call as Apache Thrift writes it: `standard:bm_register_write` of (0, name, 2, 5), message 1."""
    switch = start("everything")
    name, array = b"standard:bm_register_write", b"EverythingIngress.wide_register"
    call = struct.pack(f"!Ii{len(name)}si", 0x80010001, len(name), name, 1)
    call += struct.pack("!bhi", 8, 1, 0) + struct.pack(f"!bhi{len(array)}s", 11, 2, len(array), array)
    call += struct.pack("!bhi", 8, 3, 2) + struct.pack("!bhq", 10, 4, 5) + b"\0"
    wrong = call.replace(struct.pack("!bhi", 8, 3, 2), struct.pack("!bhi", 8, 3, 16))
    method = b"bm_register_write"
    answer = struct.pack(f"!Ii{len(method)}si", 0x80010002, len(method), method, 1)
    with socket.create_connection(("127.0.0.1", switch.thrift_port), timeout=20) as connection:
        connection.sendall(call + wrong)
        # nothing, and a struct in field 1 whose field 1 is 2: INVALID_INDEX
        expected = answer + b"\0" + answer + struct.pack("!bhbhi", 12, 1, 8, 1, 2) + b"\0\0"
        received = b""
        while len(received) < len(expected) and (more := connection.recv(4096)):
            received += more
    assert received == expected
    assert switch.engine.read_registers("EverythingIngress.wide_register", 2, 1) == [5]


def test_nonsense_ends_one_connection_only(start: Start) -> None:
    switch = start("everything")
    with socket.create_connection(("127.0.0.1", switch.thrift_port), timeout=20) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert connection.recv(4096) == b""
    assert switch.client.standard.bm_get_config() == _TEXT


def test_clients_of_both_services_write_at_once(start: Start, names: Names) -> None:
    switch = start("everything", p4info=True)
    table = "EverythingIngress.lpm_table"

    def write(first: int) -> None:
        with ThriftClient(switch.thrift_port) as client:
            for tag in range(first, first + 20):
                match = standard.LpmMatch(key=tag.to_bytes(2, "big"), prefix_length=16)
                key = [standard.Match(type=standard.MatchType.LPM, lpm=match)]
                client.standard.bm_mt_add_entry(0, table, key, DROP, [], NO_OPTIONS)

    threads = [threading.Thread(target=write, args=(first,)) for first in (0, 100)]
    with Client(switch.address) as client:
        client.primary()
        for thread in threads:
            thread.start()
        for tag in range(200, 220):
            entry = p4r.TableEntry(table_id=names["lpm_table"])
            entry.match.add(field_id=1).lpm.value = tag.to_bytes(2, "big")
            entry.match[0].lpm.prefix_len = 16
            entry.action.action.action_id = names["drop"]
            client.write(p4r.Update(type=p4r.Update.INSERT, entity=p4r.Entity(table_entry=entry)))
        for thread in threads:
            thread.join()
        assert len(client.read(p4r.Entity(table_entry=p4r.TableEntry(table_id=names["lpm_table"])))) == 60
    entries = switch.client.standard.bm_mt_get_entries(0, table)
    assert sorted(entry.handle for entry in entries) == list(range(60))
