"""Intent to entries, and the way from one set of entries to another without a hole on the way."""

import random
from collections.abc import Mapping
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import finsy as fy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.fabric.file import Fabric, Instance, Service, load
from controller.fabric.schema import Fallback, Host, Node, PinnedToNode
from controller.switches.diff import Changes, Kind, Update, creation_order, diff
from controller.switches.entries import Act, Overrides, Place, desired_entries
from controller.switches.p4runtime import Program, references
from hitless.steering.policies import Policy, Random, RoundRobin, Spread, TwoChoices

FABRIC = load(Path(__file__).with_name("fabric.yaml"))
ORDER = creation_order(references(Program.compiled().schema()))


UNAUTHENTICATED = {"key_id": 0, "key": 0, "next_key_id": 0, "next_key": 0, "authenticate": 0, "doubted": 0}


def address(text: str) -> int:
    return int(IPv4Address(text))


def act(entries: Mapping[Place, Act], table: str, **key: int | tuple[int, int]) -> tuple[str, dict[str, int]]:
    found = entries[Place(table, tuple(key.items()))]
    return found.name, dict(found.params)


def test_what_the_example_means() -> None:
    entries = desired_entries(FABRIC, "s1")
    reports = address("10.96.255.254")
    gateway = 0x02000000FFFE
    assert act(entries, "endpoints", address=address("10.96.0.2"), protocol=17, port=9001) == (
        "to_service",
        {"service": 2},
    )
    assert act(entries, "endpoints", address=address("10.96.0.3"), protocol=6, port=80) == (
        "to_service",
        {"service": 3},
    )
    assert act(entries, "endpoints", address=reports, protocol=17, port=9600) == ("to_reports", {})
    for pinged in ("10.0.0.254", "10.96.0.1", "10.96.0.2", "10.96.0.3", "10.96.255.254"):
        assert act(entries, "endpoints", address=address(pinged), protocol=1, port=0) == ("to_ping", {})
    assert act(entries, "services", service=1) == (
        "configure",
        {
            "affinity": 2,
            "members": 2,
            "idle_after": 60_000_000,
            "stale_after": 200_000,
            "dead_after": 2_000_000,
            "on_no_live": 0,
            "fallback": 0,
            "first_slot": 16384,
            "slots": 16384,
            "old_first_slot": 0,
            "old_slots": 0,
        },
    )
    assert act(entries, "services", service=3)[1]["affinity"] == 1
    assert act(entries, "policies", service=1) == (
        "single",
        {"margin": 400, "dwell": 3_000_000, "evidence": 5, "start_within": 0},
    )
    assert act(entries, "scoring", service=1) == (
        "score",
        {"w_cpu": 0, "w_memory": 31, "w_queue": 31, "busy_after": 4, "w_interval": 31, "w_contention": 1},
    )
    assert act(entries, "bindings", port=3, source=address("10.0.0.12"), service_id=2, node_id=2) == (
        "bind",
        {
            "service": 2,
            "member": 1,
            "generation": 1,
            "path_cost": 0,
            "copy_group": 0,
            "key_id": 0,
            "key": 0,
            "next_key_id": 0,
            "next_key": 0,
            "authenticate": 0,
            "doubted": 0,
        },
    )
    for own in ("10.96.0.3", "10.0.0.12"):
        assert act(entries, "answers", port=3, address=address(own), protocol=6, service_port=80) == (
            "from_instance",
            {"service": 3, "member": 1},
        )
    assert act(entries, "instances", instance=2 << 6 | 1) == (
        "at_node",
        {"node": address("10.0.0.12"), "generation": 1, "path_cost": 0},
    )
    assert act(entries, "routes", address=(address("10.0.0.11"), 32)) == (
        "forward",
        {"port": 2, "source": gateway, "destination": 0x020000000011},
    )
    assert act(entries, "arp", address=(address("10.0.0.11"), 32)) == ("reply", {"mac": gateway, "home": 2})
    assert act(entries, "arp", address=(address("10.0.0.254"), 32)) == ("reply", {"mac": gateway, "home": 511})
    assert act(entries, "arp", address=(address("10.96.0.0"), 16)) == ("reply", {"mac": gateway, "home": 511})
    assert act(entries, "sources", port=3, source=(address("10.0.0.12"), 32)) == (
        "speak",
        {"mac": gateway, "address": address("10.0.0.254")},
    )
    assert act(entries, "routes", address=(address("10.96.0.0"), 16)) == ("no_host", {})
    for own in ("10.0.0.254", "10.96.0.1", "10.96.0.2", "10.96.0.3", "10.96.255.254"):
        assert act(entries, "routes", address=(address(own), 32)) == ("own", {})
    assert len(entries) == 68


def with_service(fabric: Fabric, name: str, **changes: object) -> Fabric:
    service = fabric.services[name].model_copy(update=changes)
    return fabric.model_copy(update={"services": {**fabric.services, name: service}})


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (Spread(), ("spread", {"load_penalty": 31})),
        (PinnedToNode(node="edge2"), ("pinned", {"member": 1})),
        (TwoChoices(), ("two_choices", {})),
        (RoundRobin(), ("round_robin", {})),
        (Random(), ("random_choice", {})),
    ],
)
def test_policies(policy: Policy | PinnedToNode, expected: tuple[str, dict[str, int]]) -> None:
    entries = desired_entries(with_service(FABRIC, "detect", policy=policy), "s1")
    assert act(entries, "policies", service=2) == expected


def test_a_fallback_is_an_address() -> None:
    fabric = with_service(FABRIC, "detect", on_no_live=Fallback.model_validate({"fallback": "10.0.0.11"}))
    params = act(desired_entries(fabric, "s1"), "services", service=2)[1]
    assert (params["on_no_live"], params["fallback"]) == (1, address("10.0.0.11"))


def test_draws_reach_the_last_slot() -> None:
    fabric = with_service(FABRIC, "detect", instances={"edge1": Instance(member=9)})
    assert act(desired_entries(fabric, "s1"), "services", service=2)[1]["members"] == 10


def test_an_excluded_node_is_as_if_it_were_not_there() -> None:
    before = desired_entries(FABRIC, "s1")
    after = desired_entries(FABRIC, "s1", Overrides(excluded=frozenset({"edge2"})))
    gone = before.keys() - after.keys()
    assert {place.table for place in gone} == {"bindings", "instances"}
    assert len(gone) == 2 * len(FABRIC.services)
    assert all(dict(place.key).get("node_id", 2) == 2 for place in gone)
    assert {place: before[place] for place in after} == after


def test_a_doubted_instance_differs_by_its_binding() -> None:
    before = desired_entries(FABRIC, "s1")
    after = desired_entries(FABRIC, "s1", Overrides(doubted=frozenset({("detect", "edge2")})))
    (place,) = (place for place in before if before[place] != after[place])
    assert place.table == "bindings"
    assert (dict(place.key)["service_id"], dict(place.key)["node_id"]) == (2, 2)
    assert dict(after[place].params)["doubted"] == 1


def test_a_pin_changes_one_entry() -> None:
    before, after = desired_entries(FABRIC, "s1"), desired_entries(FABRIC, "s1", Overrides({"detect": "edge2"}))
    (update,) = diff(before, after, ORDER).updates
    assert update == Update(Kind.MODIFY, Place("policies", (("service", 2),)), Act("pinned", (("member", 1),)))


def test_every_entry_fits_the_program() -> None:
    """Table, key, action and parameter names, their order and widths are those of the compiled program."""
    schema = Program.compiled().schema()
    for place, found in desired_entries(FABRIC, "s1").items():
        table = schema.tables[place.table]
        assert [field.alias for field in table.match_fields] == [name for name, _ in place.key]
        action = next(action for action in table.actions if action.alias == found.name)
        assert [parameter.name for parameter in action.params] == [name for name, _ in found.params]
        entry = fy.P4TableEntry(
            place.table, match=fy.Match(dict(place.key)), action=fy.Action(found.name, **dict(found.params))
        )
        assert fy.P4TableEntry.decode(entry.encode(schema), schema).match == dict(place.key)


@st.composite
def fabrics(draw: st.DrawFn) -> Fabric:
    """Fabrics as an operator changes them: hosts move, services come and go, instances are added and renumbered."""
    count = draw(st.integers(1, 4))
    ports = draw(st.permutations(range(1, 8)))
    hosts = {
        f"h{number}": Host.model_validate(
            {
                "switch": "s1",
                "port": ports[number],
                "address": f"10.0.0.{draw(st.sampled_from([10, 50])) + number}",
                "mac": f"02:00:00:00:00:{number + 1:02x}",
            }
        )
        for number in range(count)
    }
    nodes = {name: Node(node_id=number + 1) for number, name in enumerate(hosts)}
    services: dict[str, Service] = {}
    for number in draw(st.sets(st.integers(1, 3))):
        where = draw(st.sets(st.sampled_from(sorted(hosts)), min_size=1))
        slots = draw(st.permutations(range(6)))
        services[f"service{number}"] = FABRIC.services["detect"].model_copy(
            update={
                "service_id": number,
                "index": draw(st.sampled_from([number, 10 + number])),
                "address": IPv4Address(f"10.96.0.{number}"),
                "port": draw(st.sampled_from([9000, 9001])),
                "policy": draw(st.sampled_from([Spread(), FABRIC.services["detect"].policy])),
                "instances": {
                    node: Instance(member=slots[place], generation=draw(st.integers(1, 2)))
                    for place, node in enumerate(sorted(where))
                },
            }
        )
    return FABRIC.model_copy(update={"hosts": hosts, "nodes": nodes, "services": services})


def carried_out(present: Mapping[Place, Act], update: Update) -> dict[Place, Act]:
    """One write, as strictly as a switch takes it."""
    after = dict(present)
    if update.kind is Kind.INSERT:
        assert update.place not in after
        after[update.place] = update.act
    elif update.kind is Kind.MODIFY:
        assert update.place in after
        after[update.place] = update.act
    else:
        assert after.pop(update.place) == update.act
    return after


def holes(entries: Mapping[Place, Act]) -> list[str]:
    """What a packet could run into: a service without its entries, an instance without a route."""
    found = []
    routed = {key[0][1] for table, key in ((place.table, place.key) for place in entries) if table == "routes"}
    for place, does in entries.items():
        if does.name == "forward":
            speaker = Place("sources", (("port", dict(does.params)["port"]), ("source", place.key[0][1])))
            if speaker not in entries:
                found.append(f"{place} leads to who may not answer")
        if does.name == "to_service":
            service = dict(does.params)["service"]
            found += [
                f"{place} leads to service {service}, which has no {table}"
                for table in ("services", "policies", "scoring")
                if Place(table, (("service", service),)) not in entries
            ]
            if not any(
                other.table == "instances" and other.key[0][1] >> 6 == service  # type: ignore[operator]
                for other in entries
            ):
                found.append(f"{place} leads to service {service}, which has no instance")
        if does.name == "at_node" and (dict(does.params)["node"], 32) not in routed:
            found.append(f"{place} has no route")
        if does.name == "bind":
            params = dict(does.params)
            instance = params["service"] << 6 | params["member"]
            if Place("instances", (("instance", instance),)) not in entries:
                found.append(f"{place} reports for instance {instance}, which is not there")
    return found


@given(fabrics(), fabrics(), st.randoms(use_true_random=False))
def test_no_order_of_a_batch_leaves_a_hole(before: Fabric, after: Fabric, chance: random.Random) -> None:
    entries: dict[Place, Act] = desired_entries(before, "s1")
    wanted = desired_entries(after, "s1")
    changes = diff(entries, wanted, ORDER)
    for batch in changes.batches:
        shuffled = list(batch)
        chance.shuffle(shuffled)
        for update in shuffled:
            entries = carried_out(entries, update)
            assert not holes(entries)
    assert entries == wanted
    assert not diff(entries, wanted, ORDER)


def test_what_a_controller_without_a_word_about_ports_left_is_completed_and_nothing_of_it_touched() -> None:
    wanted = desired_entries(FABRIC, "s1")
    new = {place for place, does in wanted.items() if place.table == "sources" or does.name in ("own", "no_host")}
    changes = diff({place: does for place, does in wanted.items() if place not in new}, wanted, ORDER)
    assert {update.kind for update in changes.updates} == {Kind.INSERT}
    assert {update.place for update in changes.updates} == new
    assert changes.updates[0].place.table == "sources", "before anything leads to who speaks there"


def test_a_host_that_moves_may_speak_at_both_ports_until_all_leads_to_the_new_one() -> None:
    host = FABRIC.hosts["edge2"].model_copy(update={"port": 7})
    after = FABRIC.model_copy(update={"hosts": {**FABRIC.hosts, "edge2": host}})
    changes = diff(desired_entries(FABRIC, "s1"), desired_entries(after, "s1"), ORDER)
    kinds = [(update.kind, update.place.table) for update in changes.updates]
    assert kinds.index((Kind.INSERT, "sources")) < kinds.index((Kind.MODIFY, "routes"))
    assert kinds[-1] == (Kind.DELETE, "sources")


def test_entries_are_made_in_the_order_in_which_the_program_says_that_they_refer_to_one_another() -> None:
    named = references(Program.compiled().schema())
    assert {"instances", "multicast_group"} <= named["bindings"]
    assert {"services", "policies"} <= named["endpoints"]
    for table, targets in named.items():
        assert all(ORDER.index(target) < ORDER.index(table) for target in targets)
    assert ORDER[-1] == "endpoints", "a service appears with its last entry"


@given(fabrics())
def test_running_twice_changes_nothing(fabric: Fabric) -> None:
    entries = desired_entries(fabric, "s1")
    assert diff(entries, desired_entries(fabric, "s1"), ORDER) == Changes()
    assert diff({}, entries, ORDER).updates
    assert {update.kind for update in diff({}, entries, ORDER).updates} == {Kind.INSERT}
    assert {update.kind for update in diff(entries, {}, ORDER).updates} == {Kind.DELETE}


def test_the_commit_point_of_a_new_service_is_its_endpoint() -> None:
    services = {name: service for name, service in FABRIC.services.items() if name != "detect"}
    without = desired_entries(FABRIC.model_copy(update={"services": services}), "s1")
    whole = desired_entries(FABRIC, "s1")
    added, removed = diff(without, whole, ORDER), diff(whole, without, ORDER)
    assert {update.place.table for update in added.batches[-1]} == {"endpoints"}
    assert {update.place.table for update in removed.batches[0]} == {"endpoints"}
    assert "~" not in str(added)
    assert str(diff(whole, whole, ORDER)) == "nothing to change"


def test_moving_an_endpoint_is_one_modify() -> None:
    whole = desired_entries(FABRIC, "s1")
    moved = desired_entries(with_service(FABRIC, "detect", index=12), "s1")
    changes = diff(whole, moved, ORDER)
    of_endpoints = [update for update in changes.updates if update.place.table == "endpoints"]
    assert [update.kind for update in of_endpoints] == [Kind.MODIFY]
    made = changes.updates.index(of_endpoints[0])
    assert all(update.kind is not Kind.DELETE for update in changes.updates[:made])
    assert replace(of_endpoints[0], act=Act("to_service", (("service", 12),))) == of_endpoints[0]
