"""The P4Info is the control plane's contract: its ids and names never change once they are given."""

import re
from collections.abc import Iterator
from graphlib import TopologicalSorter

import pytest
from finsy.proto import p4i
from google.protobuf import text_format

from hitless.wire import report
from hitless.words import REPORT_MAGIC, REPORT_VERSION
from p4src import build

TABLES = {
    0x02000001: ("arp", {"address": 32}, ["reply", "no_reply"]),
    0x02000002: (
        "endpoints",
        {"address": 32, "protocol": 8, "port": 16},
        ["to_service", "to_reports", "to_ping", "elsewhere"],
    ),
    0x02000010: ("services", {"service": 8}, ["configure", "unconfigured"]),
    0x02000011: ("scoring", {"service": 8}, ["score"]),
    0x02000012: (
        "policies",
        {"service": 8},
        ["single", "spread", "pinned", "two_choices", "round_robin", "random_choice", "no_policy"],
    ),
    0x02000020: ("bindings", {"port": 9, "source": 32, "service_id": 16, "node_id": 16}, ["bind", "unbound"]),
    0x02000030: ("instances", {"instance": 14}, ["at_node", "at_remote_node", "NoAction"]),
    0x02000040: ("routes", {"address": 32}, ["forward", "no_route", "no_host", "own"]),
    0x02000050: ("tunnels", {"address": 32, "source": 32}, ["decapsulate", "no_tunnel", "NoAction"]),
    0x02000060: ("sources", {"port": 9, "source": 32}, ["speak", "no_speaker"]),
    0x02000080: (
        "answers",
        {"port": 9, "address": 32, "protocol": 8, "service_port": 16},
        ["from_instance", "NoAction"],
    ),
}  # fmt: skip
ACTIONS = {
    0x01000001: ("reply", {"mac": 48, "home": 9}),
    0x01000002: ("no_reply", {}),
    0x01000003: ("to_service", {"service": 8}),
    0x01000004: ("to_reports", {}),
    0x01000005: ("to_ping", {}),
    0x01000006: ("elsewhere", {}),
    0x01000010: (
        "configure",
        {
            "affinity": 2, "members": 7, "idle_after": 48, "stale_after": 48, "dead_after": 48, "on_no_live": 2,
            "fallback": 32, "first_slot": 32, "slots": 32, "old_first_slot": 32, "old_slots": 32,
        },
    ),
    0x01000011: ("unconfigured", {}),
    0x01000012: (
        "score",
        {"w_cpu": 8, "w_memory": 8, "w_queue": 8, "busy_after": 16, "w_interval": 8, "w_contention": 8},
    ),
    0x01000013: ("single", {"margin": 48, "dwell": 48, "evidence": 8, "start_within": 48}),
    0x01000014: ("spread", {"load_penalty": 8}),
    0x01000015: ("pinned", {"member": 6}),
    0x01000016: ("no_policy", {}),
    0x01000017: ("two_choices", {}),
    0x01000018: ("round_robin", {}),
    0x01000019: ("random_choice", {}),
    0x01000020: (
        "bind",
        {
            "service": 8, "member": 6, "generation": 8, "path_cost": 16, "copy_group": 16, "key_id": 8, "key": 128,
            "next_key_id": 8, "next_key": 128, "authenticate": 1, "doubted": 1,
        },
    ),
    0x01000021: ("unbound", {}),
    0x01000030: ("at_node", {"node": 32, "generation": 8, "path_cost": 16}),
    0x01000031: (
        "at_remote_node",
        {"node": 32, "generation": 8, "tunnel_source": 32, "path_mtu": 16, "path_cost": 16},
    ),
    0x01000040: ("forward", {"port": 9, "source": 48, "destination": 48}),
    0x01000041: ("no_route", {}),
    0x01000050: ("decapsulate", {"port": 9}),
    0x01000060: ("speak", {"mac": 48, "address": 32}),
    0x01000061: ("no_speaker", {}),
    0x01000062: ("no_host", {}),
    0x01000063: ("own", {}),
    0x01000064: ("no_tunnel", {}),
    0x01000080: ("from_instance", {"service": 8, "member": 6}),
}  # fmt: skip
REFERENCES = {
    "endpoints": {"address": {"arp.address"}, "to_service.service": {"services.service", "policies.service"}},
    "services": {"configure.fallback": {"routes.address"}},
    "policies": {"service": {"services.service", "scoring.service"}, "pinned.member": {"instances.instance"}},
    "bindings": {
        "bind.service": {"instances.instance"},
        "bind.member": {"instances.instance"},
        "bind.copy_group": {"multicast_group.group"},
    },
    "instances": {"at_node.node": {"routes.address"}, "at_remote_node.node": {"routes.address"}},
    "tunnels": {"address": {"routes.address"}},
    "routes": {"forward.port": {"sources.port"}},
}
"""Of a table: what a key or an action's parameter names, which must be there first."""
PRE = {"multicast_group": {"group"}}
"""What is no table of the program: P4Runtime's packet replication engine."""
RESTRICTIONS = {
    "endpoints": '@entry_restriction("protocol == 1 -> port == 0")',
    "bindings": '@entry_restriction("node_id != 0")',
    "bind": '@action_restriction("generation != 0")',
    "at_node": '@action_restriction("generation != 0")',
    "at_remote_node": '@action_restriction("generation != 0")',
}
COUNTERS = {
    0x12000001: "steered",
    0x12000002: "drops",
    0x12000003: "events",
    0x12000005: "newcomers",
    0x12000007: "answered",
    0x12000008: "reported",
}
PACKET_OUT = {"op": 8, "port": 16, "service": 16, "member": 16}
PACKET_IN = {
    "op": 8, "port": 16, "service": 16, "member": 16, "status": 8, "eligible": 8, "rank": 48, "age": 48, "epoch": 32,
    "sequence": 32, "sent": 32, "own": 32, "received": 32, "held": 32, "host": 16, "best": 16,
    "best_rank": 48, "now": 48, "evidence": 64, "since": 48,
    "cpu": 16, "cpu_own": 16, "memory": 16, "queue_depth": 16, "backlog": 32, "service_interval": 32,
}  # fmt: skip
DIGEST = {
    "service": 8, "reason": 8, "from_member": 8, "to_member": 8, "from_rank": 48, "to_rank": 48, "switch_time": 48,
    "node_id": 16, "epoch": 32, "sequence": 32,
}  # fmt: skip


@pytest.fixture(scope="module")
def p4info() -> p4i.P4Info:
    """The committed P4Info."""
    return text_format.Parse((build.ROOT / build.P4INFO).read_text(), p4i.P4Info())


def test_tables_keys_and_actions(p4info: p4i.P4Info) -> None:
    names = {action.preamble.id: action.preamble.name for action in p4info.actions}
    assert {
        table.preamble.id: (
            table.preamble.name,
            {key.name: key.bitwidth for key in table.match_fields},
            [names[reference.id] for reference in table.action_refs],
        )
        for table in p4info.tables
    } == TABLES
    for table in p4info.tables:
        assert [key.id for key in table.match_fields] == list(range(1, len(table.match_fields) + 1))
        assert table.const_default_action_id, f"{table.preamble.name}: a client could change what a miss does"


def test_actions_and_their_parameters(p4info: p4i.P4Info) -> None:
    told = {
        action.preamble.id: (action.preamble.name, {parameter.name: parameter.bitwidth for parameter in action.params})
        for action in p4info.actions
        if action.preamble.name != "NoAction"
    }
    assert told == ACTIONS, "only what an entry can name is an action of the P4Info"
    for action in p4info.actions:
        assert [parameter.id for parameter in action.params] == list(range(1, len(action.params) + 1))


def test_counters_digest_and_packet_io(p4info: p4i.P4Info) -> None:
    assert {counter.preamble.id: counter.preamble.name for counter in p4info.counters} == COUNTERS
    headers = {
        header.preamble.name: {field.name: field.bitwidth for field in header.metadata}
        for header in p4info.controller_packet_metadata
    }
    assert headers == {"packet_out": PACKET_OUT, "packet_in": PACKET_IN}
    (digest,) = p4info.digests
    assert digest.preamble.name == "steering_event_t"
    members = p4info.type_info.structs["steering_event_t"].members
    assert {member.name: member.type_spec.bitstring.bit.bitwidth for member in members} == DIGEST


def references(p4info: p4i.P4Info) -> dict[str, dict[str, set[str]]]:
    """What each table's entries refer to, by key or by action and parameter."""
    actions = {action.preamble.id: action for action in p4info.actions}
    found: dict[str, dict[str, set[str]]] = {}
    for table in p4info.tables:
        places = [(key.name, key) for key in table.match_fields]
        for reference in table.action_refs:
            action = actions[reference.id]
            places += [(f"{action.preamble.name}.{parameter.name}", parameter) for parameter in action.params]
        for name, place in places:
            for annotation in place.annotations:
                target = re.fullmatch(r"@refers_to\((\w+) , (\w+)\)", annotation)
                assert target is not None, f"{table.preamble.name}: {name}: {annotation}"
                found.setdefault(table.preamble.name, {}).setdefault(name, set()).add(f"{target[1]}.{target[2]}")
    return found


def test_what_entries_refer_to(p4info: p4i.P4Info) -> None:
    assert references(p4info) == REFERENCES
    keys = {table.preamble.name: {key.name for key in table.match_fields} for table in p4info.tables} | PRE
    for table, places in REFERENCES.items():
        for target in set().union(*places.values()):
            name, _, key = target.partition(".")
            assert key in keys[name], f"{table} refers to {target}, which there is not"


def test_entries_can_be_written_in_an_order_in_which_nothing_refers_to_what_is_not_there(p4info: p4i.P4Info) -> None:
    needs = {
        table: {target.partition(".")[0] for targets in places.values() for target in targets}
        for table, places in references(p4info).items()
    }
    order = list(TopologicalSorter(needs).static_order())  # raises CycleError
    assert order[-1] == "endpoints", "a service appears with its last entry"


def test_restrictions(p4info: p4i.P4Info) -> None:
    told = {
        entity.preamble.name: annotation
        for entity in (*p4info.tables, *p4info.actions)
        for annotation in entity.preamble.annotations
        if "_restriction(" in annotation
    }
    assert told == RESTRICTIONS


def preambles(p4info: p4i.P4Info) -> Iterator[p4i.Preamble]:
    """Everything that has an id and a name."""
    for kind in (p4info.tables, p4info.actions, p4info.counters, p4info.digests, p4info.registers):
        yield from (entity.preamble for entity in kind)


def test_ids_names_and_aliases_are_unique(p4info: p4i.P4Info) -> None:
    for attribute in ("id", "name", "alias"):
        values = [getattr(preamble, attribute) for preamble in preambles(p4info)]
        assert len(values) == len(set(values)), attribute


def test_it_says_what_it_is(p4info: p4i.P4Info) -> None:
    assert p4info.pkg_info.name == "steering.p4"
    assert re.fullmatch(r"\d+\.\d+\.\d+", p4info.pkg_info.version)


@pytest.mark.parametrize(("counter", "enum"), [("drops", "drop_t"), ("events", "event_t")])
def test_the_names_of_reasons_are_those_of_the_program(p4info: p4i.P4Info, counter: str, enum: str) -> None:
    source = re.sub(r"//.*", "", (build.ROOT / "p4src" / "types.p4").read_text())
    body = re.search(rf"enum bit<8> {enum} {{(.*?)}}", source, re.DOTALL)
    assert body is not None
    declared = {name: int(value) for name, value in re.findall(r"(\w+)\s*=\s*(\d+)", body[1])}
    assert declared.pop("NONE") == 0
    told = {
        pair.key: pair.value.int64_value
        for entity in p4info.counters
        if entity.preamble.name == counter
        for annotation in entity.preamble.structured_annotations
        for pair in annotation.kv_pair_list.kv_pairs
    }
    assert told == declared


def test_the_report_codec_has_the_layout_of_the_program() -> None:
    source = re.sub(r"//.*", "", (build.ROOT / "p4src" / "headers.p4").read_text())
    body = re.search(r"header report_h {(.*?)}", source, re.DOTALL)
    assert body is not None
    fields = [(name, int(width)) for width, name in re.findall(r"bit<(\d+)>\s+(\w+);", body[1])]
    assert sum(width for _, width in fields) == 8 * report.SIZE
    values = {name: (index * 2654435761 + 1) % 2**width for index, (name, width) in enumerate(fields)}
    values |= {"magic": REPORT_MAGIC, "version": REPORT_VERSION, "reserved_flags": 0, "reserved": 0}
    word = 0
    for name, width in fields:
        word = word << width | values[name]
    decoded = report.decode(word.to_bytes(report.SIZE, "big"))
    for name in values.keys() - {"magic", "version", "reserved_flags", "reserved"}:
        assert int(getattr(decoded, name)) == values[name], name
    assert decoded.encode() == word.to_bytes(report.SIZE, "big")
