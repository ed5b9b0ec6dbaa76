"""Several switches: routes between them, who hears a report, and what each switch has in its tables for it."""

from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest

from controller.fabric.file import Fabric, FabricError, load
from controller.fabric.paths import ReportPath, path, report_paths, routes, tree
from controller.fabric.schema import Link, SwitchSpec
from controller.switches.entries import GROUPS, Act, Place, desired_entries

TWO = Path(__file__).parents[2] / "topologies" / "two_switches.yaml"
FABRIC = load(TWO)
S1, S2 = 0x02000000FFFE, 0x02000000FFFD


def address(text: str) -> int:
    return int(IPv4Address(text))


def act(entries: dict[Place, Act], table: str, **key: int | tuple[int, int]) -> tuple[str, dict[str, int]]:
    found = entries[Place(table, tuple(key.items()))]
    return found.name, dict(found.params)


def in_a_row(*links: tuple[str, str, int]) -> Fabric:
    """The fabric's services on more switches; a link's port is 100 and the number of the switch at its other end."""
    names = ["s1", "s2", *sorted({end for one, other, _ in links for end in (one, other)} - {"s1", "s2"})]
    switches = {name: SwitchSpec(p4runtime=f"10.1.1.{number}:1") for number, name in enumerate(names, 1)}

    def end(switch: str, towards: str) -> dict[str, Any]:
        return {"switch": switch, "port": 100 + int(towards[1:]), "mac": f"02:00:00:01:0{switch[1:]}:0{towards[1:]}"}

    made = [
        Link.model_validate({"from": end(one, other), "to": end(other, one), "mtu": mtu}) for one, other, mtu in links
    ]
    return FABRIC.model_copy(update={"switches": switches, "links": made})


def test_ways_are_shortest_and_have_their_least_mtu() -> None:
    fabric = in_a_row(
        ("s1", "s3", 1400), ("s3", "s2", 1300), ("s2", "s4", 1500), ("s1", "s4", 1500), ("s1", "s5", 9000)
    )
    found = {name: (route.first.into.switch, route.mtu) for name, route in routes(fabric, "s1").items()}
    assert found == {"s3": ("s3", 1400), "s4": ("s4", 1500), "s5": ("s5", 9000), "s2": ("s3", 1300)}
    assert [hop.into.switch for hop in path(tree(fabric, "s5"), "s2")] == ["s1", "s3", "s2"]
    assert path(tree(fabric, "s1"), "s1") == []


def test_reports_are_copied_along_a_tree_to_every_switch_that_steers() -> None:
    fabric = in_a_row(("s2", "s3", 1500), ("s3", "s1", 1500), ("s3", "s4", 1500), ("s4", "s1", 1500))
    assert report_paths(fabric, "detect", "edge2") == {
        "s2": ReportPath(2, (103,)),
        "s3": ReportPath(102, (101, 104)),
        "s1": ReportPath(103, ()),
        "s4": ReportPath(103, ()),
    }
    assert report_paths(fabric, "thumbnail", "edge2") == {
        "s2": ReportPath(2, (103,)),
        "s3": ReportPath(102, (101,)),
        "s1": ReportPath(103, ()),
    }
    assert report_paths(fabric, "thumbnail", "edge1") == {"s1": ReportPath(2, ())}


def test_the_steering_switch_reaches_a_remote_node_by_tunnel() -> None:
    entries = desired_entries(FABRIC, "s1")
    assert act(entries, "instances", instance=3 << 6 | 1) == (
        "at_remote_node",
        {
            "node": address("10.0.0.12"),
            "generation": 1,
            "tunnel_source": address("10.0.0.254"),
            "path_mtu": 1500,
            "path_cost": 0,
        },
    )
    assert act(entries, "instances", instance=3 << 6)[0] == "at_node"
    assert act(entries, "routes", address=(address("10.0.0.12"), 32)) == (
        "forward",
        {"port": 10, "source": 0x020000000A01, "destination": 0x020000000A02},
    )
    assert act(entries, "arp", address=(address("10.0.0.12"), 32)) == ("reply", {"mac": S1, "home": 10})
    bound = act(entries, "bindings", port=10, source=address("10.0.0.12"), service_id=3, node_id=2)[1]
    assert (bound["member"], bound["copy_group"], bound["authenticate"]) == (1, 0, 1)


def test_the_last_switch_opens_the_tunnel_and_passes_reports_and_requests_on() -> None:
    entries = desired_entries(FABRIC, "s2")
    node, begins = address("10.0.0.12"), address("10.0.0.254")
    assert act(entries, "tunnels", address=node, source=(begins, 32)) == ("decapsulate", {"port": 10})
    assert act(entries, "tunnels", address=node, source=(0, 0)) == ("no_tunnel", {})
    assert act(entries, "routes", address=(address("10.96.0.3"), 32))[1]["port"] == 10
    assert Place("endpoints", (("address", address("10.96.0.3")), ("protocol", 6), ("port", 80))) not in entries
    assert act(entries, "policies", service=3) == ("random_choice", {}), "it elects no host of its own"
    assert act(entries, "policies", service=2) == ("spread", {"load_penalty": 31})
    group = (3 << 6 | 1) + 1
    bound = act(entries, "bindings", port=2, source=address("10.0.0.12"), service_id=3, node_id=2)[1]
    assert bound["copy_group"] == group
    assert act(entries, GROUPS, group=group) == ("copy", {"port": 10})
    assert act(entries, "arp", address=(address("10.0.0.253"), 32)) == ("reply", {"mac": S2, "home": 511})
    assert not any(place.table == "instances" and place.key[0][1] in (3 << 6, 3 << 6 | 1) for place in entries)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("switch: s2, port: 10", "switch: s9, port: 10", "links.0.to.switch: expected the name of a switch (s1, s2)"),
        ("switch: s2, port: 10", "switch: s1, port: 11", "links.0.to.switch: expected another switch than s1"),
        ("switch: s2, port: 10", "switch: s2, port: 2", "links.0.to.port: port 2 of s2 is taken by hosts.edge2.port"),
        ("02:00:00:00:0a:02", "02:00:00:00:00:12", "links.0.to.mac: 02:00:00:00:00:12 is taken by hosts.edge2.mac"),
        (', gateway: {address: 10.0.0.253, mac: "02:00:00:00:ff:fd"}', "", "switches.s2.address: 10.0.0.254 is taken"),
        ("steered_by: s1", "steered_by: s9", "services.thumbnail.steered_by: expected the name of a switch"),
        ("links:\n  - from", "links: []\nother:\n  - from", "switches.s2: expected a way to s1"),
        ("authentication: required", "authentication: maybe", "expected 'off', 'accepted' or 'required'"),
    ],
)
def test_what_cannot_be(tmp_path: Path, old: str, new: str, expected: str) -> None:
    text = TWO.read_text()
    assert old in text
    file = tmp_path / "fabric.yaml"
    text = text.replace(old, new, 1)
    if "other:" in new:
        text = "\n".join(
            line for line in text.split("\n") if not line.startswith(("other:", "  - from", "    to:", "    mtu:"))
        )
    file.write_text(text)
    with pytest.raises(FabricError) as caught:
        load(file)
    assert expected in str(caught.value)
