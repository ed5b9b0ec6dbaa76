"""Entries by name, in the JSON of p4lang's tutorials."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
from finsy.proto import p4r

import softswitch
from tests.softswitch.p4runtime.client import PROGRAMS, Names
from tests.softswitch.p4runtime.entities import exact_entry, group, lpm_entry, session, ternary_entry
from tests.softswitch.p4runtime.switches import message
from tests.softswitch.test_switch import load

INGRESS = "EverythingIngress"

EXACT: dict[str, Any] = {
    "table": f"{INGRESS}.exact_table",
    "match": {"tag": [7]},
    "action_name": f"{INGRESS}.forward",
    "action_params": {"port": "0x3"},
}
LPM = EXACT | {"table": "lpm_table", "match": {"tag": [0xAB00, 8]}, "action_params": {"port": 3}}
TERNARY = EXACT | {
    "table": f"{INGRESS}.ternary_table",
    "match": {"kind": 2, "tag": [1, 3], "value": [0, 65535], "pad": 9},
    "priority": 5,
}
RANGE = TERNARY | {"match": {"kind": 2, "tag": [0, 0], "value": [1, 9]}, "priority": 6}
DEFAULT = EXACT | {"table": f"{INGRESS}.keyless_table", "match": {}, "default_action": True}
RUNTIME: dict[str, Any] = {
    "target": "bmv2",
    "p4info": "build/everything.p4info.txtpb",
    "bmv2_json": "build/everything.json",
    "table_entries": [EXACT, LPM, TERNARY, RANGE, DEFAULT],
    "multicast_group_entries": [{"multicast_group_id": 7, "replicas": [{"egress_port": 2, "instance": 1}]}],
    "clone_session_entries": [{"clone_session_id": 5, "packet_length_bytes": 64, "replicas": [{"egress_port": 2}]}],
}


def test_names_bring_about_what_ids_do(tmp_path: Path) -> None:
    names = Names.of("everything")
    path = tmp_path / "s1-runtime.json"
    path.write_text(json.dumps(RUNTIME))
    with load("everything", entries=path) as switch:
        tables = ("exact_table", "lpm_table", "ternary_table")
        read = switch.read(*(p4r.Entity(table_entry=p4r.TableEntry(table_id=names[table])) for table in tables))
        assert read == [
            exact_entry(names, 7, 3),
            lpm_entry(names, 0xAB00, 8, 3),
            ternary_entry(names, 5, 3, kind=2, tag=(1, 3), pad=9),
            ternary_entry(names, 6, 3, kind=2, value=(1, 9)),
        ]
        (grouped,) = switch.read(group(0))
        (replica,) = grouped.packet_replication_engine_entry.multicast_group_entry.replicas
        assert (replica.egress_port, replica.instance) == (2, 1)
        (cloned,) = switch.read(session(0))
        assert cloned.packet_replication_engine_entry.clone_session_entry.packet_length_bytes == 64
        assert [port for port, _ in switch.process(1, message(3))] == [3], "the default entry"


def test_addresses_are_values() -> None:
    names = Names.of("matching")
    rule = {
        "table": "I.managed",
        "priority": 1,
        "match": {"hdr.q.a": True},
        "action_name": "I.answer",
        "action_params": {"value": "10.0.1.2"},
    }
    with load("matching", entries={"table_entries": [rule]}) as switch:
        (entry,) = switch.read(f"table_entry {{ table_id: {names['managed']} }}")
        assert entry.table_entry.action.action.params[0].value == bytes([10, 0, 1, 2])
        ((_, data),) = switch.process(1, struct.pack(">BBHI", 5, 1, 0, 0) + bytes(16))
        assert data[24:28] == bytes([10, 0, 1, 2])


def spoilt(**changes: Any) -> str:
    """A file with one entry, changed."""
    return json.dumps({"table_entries": [EXACT | changes]})


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('{"table_entries":\n[}', r"entries: 2:2: no JSON: Expecting value"),
        ('{"table_entry": []}', "nothing is called 'table_entry' here .*table_entries"),
        ('{"table_entries": {}}', "{} where a list belongs"),
        (spoilt(table="exact_tabel"), r"table_entries\[0\]: there is no table 'exact_tabel' here \(.*exact_table"),
        (spoilt(action_name="send"), r"there is no action 'send' here \(.*EverythingIngress.forward"),
        (spoilt(match={"tga": 1}), r"'EverythingIngress.exact_table' has no match field 'tga' \(there are tag\)"),
        (spoilt(match={"tag": "seven"}), "'seven' is no number, MAC address or IP address"),
        (spoilt(action_params={"prot": 1}), r"'EverythingIngress.forward' has no parameter 'prot' \(there are port\)"),
        (spoilt(action_params={"port": -513}), "-513 does not fit in 9 bits"),
        (spoilt(actoin_params={}), "nothing is called 'actoin_params' here"),
        (spoilt(priority="high"), "priority 'high' is no number"),
        (json.dumps({"table_entries": [LPM | {"match": {"tag": 1}}]}), r"1 where \[value, prefix length\] belongs"),
        (json.dumps({"table_entries": [{"table": "exact_table"}]}), "'action_name' is missing"),
        (json.dumps({"multicast_group_entries": [{"multicast_group_id": 1, "replicas": [3]}]}), "3 where an object"),
        (spoilt(action_params={"port": 512}), "INVALID_ARGUMENT: .*does not fit bit<9>"),
    ],
)
def test_mistakes_name_their_entry(text: str, sentence: str) -> None:
    with load("everything") as switch, pytest.raises(softswitch.LoadError, match=sentence):
        switch.write(text)


def test_p4info_is_asked_for() -> None:
    with softswitch.load(PROGRAMS / "everything.json") as switch, pytest.raises(softswitch.LoadError, match="p4info="):
        switch.write(json.dumps(RUNTIME))
