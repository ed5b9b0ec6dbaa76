"""Who may send from which address at a port, by the fabric file."""

from ipaddress import IPv4Network

import pytest

from controller.fabric.paths import arrivals, way
from controller.fabric.schema import Fabric, Fallback, Host
from controller.fabric.sources import speakers
from controller.switches.entries import Act, Place, desired_entries
from tests.controller.test_paths import FABRIC, in_a_row

RING = in_a_row(("s1", "s3", 1500), ("s3", "s2", 1500), ("s2", "s4", 1500), ("s4", "s1", 1500))
"""Four switches; between s1 and s2, s3 comes first in the file, and on the way back as well."""


def texts(fabric: Fabric, switch: str) -> dict[int, set[str]]:
    return {port: set(map(str, behind.addresses)) for port, behind in speakers(fabric, switch).items()}


def test_a_host_speaks_for_itself_and_a_node_for_its_services() -> None:
    found = texts(FABRIC, "s1")
    assert found[1] == {"10.0.0.1"}
    assert found[2] == {"10.0.0.11", "10.96.0.2", "10.96.0.3"}
    assert found[4] == {"10.0.0.100"}


def test_behind_a_link_are_the_other_switchs_hosts_itself_and_the_services_that_it_answers_for() -> None:
    assert texts(FABRIC, "s1")[10] == {"10.0.0.2", "10.0.0.12", "10.0.0.253", "10.96.0.2", "10.96.0.3"}
    only_here = {"edge1": FABRIC.services["thumbnail"].instances["edge1"]}
    service = FABRIC.services["thumbnail"].model_copy(update={"instances": only_here})
    fabric = FABRIC.model_copy(update={"services": {"thumbnail": service}})
    assert "10.96.0.3" not in texts(fabric, "s1")[10], "s1 steers it and has its only node"
    assert "10.96.0.3" in texts(fabric, "s2")[10]


def test_a_fallback_answers_for_its_service() -> None:
    service = FABRIC.services["detect"].model_copy(
        update={"on_no_live": Fallback.model_validate({"fallback": "10.0.0.100"})}
    )
    fabric = FABRIC.model_copy(update={"services": {"detect": service}})
    assert texts(fabric, "s1")[4] == {"10.0.0.100", "10.96.0.2"}


def test_only_by_the_port_that_the_way_leads_to() -> None:
    assert [hop.into.switch for hop in way(RING, "s1", "s2")] == ["s3", "s2"]
    assert arrivals(RING, "s2") == {"s1": {103}, "s3": {103}, "s4": {104}}
    assert "10.0.0.1" in texts(RING, "s2")[103]
    assert "10.0.0.1" not in texts(RING, "s2")[104]
    assert "10.0.0.1" in texts(RING, "s3")[101]
    assert "10.0.0.1" not in texts(RING, "s3")[102]


def with_uplink(switch: str) -> Fabric:
    fields = {"switch": switch, "port": 7, "address": "10.0.0.40", "mac": "02:00:00:00:00:40", "sources": "any"}
    return FABRIC.model_copy(update={"hosts": {**FABRIC.hosts, "uplink": Host.model_validate(fields)}})


@pytest.mark.parametrize(("switch", "port"), [("s1", 7), ("s2", 10)])
def test_an_uplink_takes_whom_the_fabric_does_not_know_here_and_over_the_link(switch: str, port: int) -> None:
    fabric = with_uplink("s1")
    behind = speakers(fabric, switch)[port]
    assert behind.any
    refused = set(behind.refused(fabric))
    elsewhere = {"10.0.0.2", "10.0.0.12", "10.0.0.253"}
    assert {
        IPv4Network(one) for one in (*elsewhere, "127.0.0.0/8", "0.0.0.0/8", "224.0.0.0/3", "10.96.0.0/16")
    } <= refused
    assert IPv4Network("10.0.0.40/32") not in refused
    entries = desired_entries(fabric, switch)
    assert entries[Place("sources", (("port", port), ("source", (0, 0))))].name == "speak"
    assert entries[Place("sources", (("port", port), ("source", (0x7F000000, 8))))] == Act("no_speaker")
    assert not speakers(fabric, "s1")[1].any
