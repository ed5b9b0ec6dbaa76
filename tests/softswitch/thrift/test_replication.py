"""Multicast groups and clone sessions over Thrift, as BMv2 has them (its `simple_pre.cpp`, `simple_switch.cpp`)."""

from __future__ import annotations

import json

from finsy.proto import p4r
from softswitch.thrift.definitions import replication, simple_switch

from tests.softswitch.p4runtime.client import Client, Names
from tests.softswitch.p4runtime.switches import message
from tests.softswitch.thrift.client import NO_OPTIONS, ThriftSwitch, code, exact
from tests.softswitch.thrift.conftest import Start

_ERRORS = replication.ReplicationError
_SESSION = 9
"""To which the program clones packets whose pad is 0xff."""


def _ports(switch: ThriftSwitch, packet: bytes) -> list[int]:
    return sorted(port for port, _ in switch.engine.process(1, packet))


def _multicasting(switch: ThriftSwitch, group: int) -> bytes:
    table, action = "EverythingIngress.exact_table", "EverythingIngress.multicast"
    parameters = [group.to_bytes(2, "big")]
    switch.client.standard.bm_mt_add_entry(0, table, [exact(7, 2)], action, parameters, NO_OPTIONS)
    return message(0, tag=7)


def test_groups_of_nodes(start: Start) -> None:
    switch = start("everything")
    calls, packet = switch.client.lag, _multicasting(switch, 5)
    assert calls.bm_mc_mgrp_create(0, 5) == 5
    nodes = [calls.bm_mc_node_create(0, 1, "110", ""), calls.bm_mc_node_create(0, 2, "1000", "")]
    assert nodes == [0, 1]
    for node in nodes:
        calls.bm_mc_node_associate(0, 5, node)
    assert _ports(switch, packet) == [1, 2, 3]
    calls.bm_mc_node_update(0, 1, "11000", "")
    assert _ports(switch, packet) == [1, 2, 3, 4]
    calls.bm_mc_node_dissociate(0, 5, 0)
    assert _ports(switch, packet) == [3, 4]
    dump = json.loads(calls.bm_mc_get_entries(0))
    assert dump["mgrps"] == [{"id": 5, "l1_handles": [1]}]
    assert {"handle": 1, "ports": [3, 4], "lags": []} in dump["l2_handles"]
    calls.bm_mc_node_destroy(0, 1)
    assert _ports(switch, packet) == []
    calls.bm_mc_mgrp_destroy(0, 5)
    assert json.loads(calls.bm_mc_get_entries(0))["mgrps"] == []


def test_mistakes_about_groups(start: Start) -> None:
    client = start("everything").client
    calls = client.pre
    node = calls.bm_mc_node_create(0, 1, "10")
    calls.bm_mc_mgrp_create(0, 1)
    assert code(_ERRORS, calls.bm_mc_node_associate, 0, 2, node) == "INVALID_MGRP_HANDLE"
    assert code(_ERRORS, calls.bm_mc_node_associate, 0, 1, 7) == "INVALID_L1_HANDLE"
    assert code(_ERRORS, calls.bm_mc_node_dissociate, 0, 1, node) == "ERROR"
    calls.bm_mc_node_associate(0, 1, node)
    assert code(_ERRORS, calls.bm_mc_node_associate, 0, 1, node) == "ERROR"
    same = calls.bm_mc_node_create(0, 1, "10")
    assert code(_ERRORS, calls.bm_mc_node_associate, 0, 1, same) == "ERROR"
    assert code(_ERRORS, calls.bm_mc_mgrp_create, 0, 0) == "INVALID_MGID"
    assert code(_ERRORS, client.lag.bm_mc_node_create, 0, 1, "10", "1") == "ERROR"
    assert code(_ERRORS, client.lag.bm_mc_set_lag_membership, 0, 1, "10") == "ERROR"


def test_groups_are_p4runtimes_too(start: Start, names: Names) -> None:
    switch = start("everything", p4info=True)
    calls = switch.client.lag
    calls.bm_mc_mgrp_create(0, 5)
    calls.bm_mc_node_associate(0, 5, calls.bm_mc_node_create(0, 1, "110", ""))
    group = p4r.MulticastGroupEntry(multicast_group_id=5)
    pre = p4r.Entity(packet_replication_engine_entry=p4r.PacketReplicationEngineEntry(multicast_group_entry=group))
    with Client(switch.address) as client:
        client.primary()
        (read,) = client.read(pre)
        replicas = read.packet_replication_engine_entry.multicast_group_entry.replicas
        assert [(r.egress_port, r.instance) for r in replicas] == [(1, 1), (2, 1)]
        replicas[0].egress_port = 4
        client.write(p4r.Update(type=p4r.Update.MODIFY, entity=read))
    dump = json.loads(calls.bm_mc_get_entries(0))
    (known,) = dump["mgrps"]
    ports = {node["handle"]: node["ports"] for node in dump["l2_handles"]}
    assert sorted(port for node in known["l1_handles"] for port in ports[node]) == [2, 4]


def test_clone_sessions(start: Start) -> None:
    switch = start("everything")
    calls, session = switch.client.switch, simple_switch.CloneSession
    packet = message(3, pad=0xFF)
    assert _ports(switch, packet) == [5]
    calls.mirroring_session_add(_SESSION, session(port=2))
    assert (_ports(switch, packet), calls.mirroring_session_get(_SESSION)) == ([2, 5], session(port=2))
    calls.mirroring_session_add(_SESSION, session(group=6))
    assert _ports(switch, packet) == [5]
    # what the session copies to follows the group
    switch.client.lag.bm_mc_mgrp_create(0, 6)
    switch.client.lag.bm_mc_node_associate(0, 6, switch.client.lag.bm_mc_node_create(0, 0, "11000", ""))
    assert (_ports(switch, packet), calls.mirroring_session_get(_SESSION)) == ([3, 4, 5], session(group=6))
    calls.mirroring_session_delete(_SESSION)
    assert _ports(switch, packet) == [5]
    errors = simple_switch.CloneSessionError
    assert code(errors, calls.mirroring_session_delete, _SESSION) == "SESSION_NOT_FOUND"
    assert calls.mirroring_mapping_get_egress_port(_SESSION) == -1
