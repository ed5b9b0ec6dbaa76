"""Who speaks at a port: with the controller's own entries for an example fabric, nobody sends as somebody else.

The switch is the second of `topologies/two_switches.yaml`: a visitor, a node, the link to the other switch, where its
tunnels come from, and an uplink, behind which anybody may be.
"""

from pathlib import Path

import pytest
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.packet import Packet, Raw

from controller.fabric.file import Fabric, load
from controller.switches.entries import desired_entries
from hitless.wire.report import Report
from p4src.build import ROOT
from tests.packet.bench import Bench
from tests.packet.p4runtime import written

VISITOR, NODE, LINK, UPLINK = 1, 2, 3, 4
SWITCH, LINK_END, OTHER_SWITCH = "02:00:00:00:ff:fd", "02:00:00:00:0a:02", "02:00:00:00:ff:fe"
MACS = {VISITOR: SWITCH, NODE: SWITCH, LINK: LINK_END, UPLINK: SWITCH}
"""The switch's own by port."""
SENDER = "02:00:00:00:00:99"
GATEWAY, OTHER_GATEWAY = "10.0.0.253", "10.0.0.254"
OWN = {VISITOR: "10.0.0.2", NODE: "10.0.0.12", LINK: "10.0.0.1", UPLINK: "10.0.0.40"}
"""Who is behind each port; behind the link, a client of the other switch."""
SERVICE, FAR_SERVICE, NO_SERVICE, REPORTS = "10.96.0.2", "10.96.0.3", "10.96.0.9", "10.96.255.254"
"""Steered here; by the other switch; on no node; the switches'."""
STRANGER = "192.0.2.9"
NOT_OF_THIS_WORLD = ("127.0.0.1", "0.0.0.0", "0.1.2.3", "224.0.0.1", "240.0.0.1", "255.255.255.255")


def fabric(folder: Path) -> Fabric:
    """The example, with ports that a bench has, an uplink, and reports without keys."""
    text = (ROOT / "topologies/two_switches.yaml").read_text()
    uplink = f'uplink: {{switch: s2, port: {UPLINK}, address: {OWN[UPLINK]}, sources: any, mac: "02:00:00:00:00:40"}}'
    for old, new in {
        "port: 10,": f"port: {LINK},",
        "authentication: required": "authentication: off",
        "  visitor:": f"  {uplink}\n  visitor:",
    }.items():
        assert old in text
        text = text.replace(old, new)
    file = folder / "fabric.yaml"
    file.write_text(text)
    return load(file)


@pytest.fixture(scope="module")
def strict(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """The target as the fabric's second switch."""
    bench.push()
    entries = desired_entries(fabric(tmp_path_factory.mktemp("fabric")), "s2")
    bench.client.insert(*written({place: act for place, act in entries.items() if place.table != "multicast_group"}))
    return bench


def datagram(port: int, source: str, destination: str, mac: str | None = None) -> Packet:
    """A datagram that comes to a port."""
    ip = IP(src=source, dst=destination, id=1) / UDP(sport=7, dport=9) / Raw(b"payload!")
    return Ether(src=SENDER, dst=mac or MACS[port]) / ip


def question(port: int, sender: str, mac: str = "ff:ff:ff:ff:ff:ff") -> Packet:
    """An ARP request for the switch's address."""
    return Ether(src=SENDER, dst=mac) / ARP(op=1, hwsrc=SENDER, psrc=sender, pdst=GATEWAY)


def tunnel(port: int, source: str, destination: str = OWN[NODE]) -> Packet:
    """A packet to a service in a tunnel to a node."""
    inner = IP(src=OWN[LINK], dst=SERVICE) / UDP(sport=7, dport=9001) / Raw(b"payload!")
    return Ether(src=SENDER, dst=MACS[port]) / IP(src=source, dst=destination, proto=4, flags="DF") / inner


ATTACKS: dict[str, tuple[str, int, Packet]] = {
    "as a host behind this switch": ("SOURCE", VISITOR, datagram(VISITOR, OWN[NODE], OWN[LINK])),
    "as a host behind another switch": ("SOURCE", VISITOR, datagram(VISITOR, OWN[LINK], OWN[NODE])),
    "as nobody that there is": ("SOURCE", VISITOR, datagram(VISITOR, STRANGER, OWN[NODE])),
    "as a service": ("SOURCE", VISITOR, datagram(VISITOR, SERVICE, OWN[LINK])),
    "as a service, from a node without it": ("SOURCE", NODE, datagram(NODE, NO_SERVICE, OWN[LINK])),
    "as another node": ("SOURCE", NODE, datagram(NODE, "10.0.0.11", OWN[LINK])),
    "as the reports' address": ("SOURCE", NODE, datagram(NODE, REPORTS, OWN[LINK])),
    "as the switch": ("SOURCE", VISITOR, datagram(VISITOR, GATEWAY, OWN[NODE])),
    "as another switch": ("SOURCE", NODE, datagram(NODE, OTHER_GATEWAY, OWN[LINK])),
    "a host of ours over the link": ("SOURCE", LINK, datagram(LINK, OWN[VISITOR], OWN[NODE])),
    "a host of ours over the uplink": ("SOURCE", UPLINK, datagram(UPLINK, OWN[VISITOR], OWN[NODE])),
    "a host of another switch over the uplink": ("SOURCE", UPLINK, datagram(UPLINK, OWN[LINK], OWN[NODE])),
    "the switch over the uplink": ("SOURCE", UPLINK, datagram(UPLINK, GATEWAY, OWN[NODE])),
    "a service over the uplink": ("SOURCE", UPLINK, datagram(UPLINK, SERVICE, OWN[LINK])),
    "a request as another client": ("SOURCE", VISITOR, datagram(VISITOR, OWN[LINK], FAR_SERVICE)),
    "a ping as another client": ("SOURCE", VISITOR, Ether(dst=SWITCH) / IP(src=OWN[LINK], dst=GATEWAY) / ICMP()),
    "ARP as another host": ("SOURCE", VISITOR, question(VISITOR, OWN[NODE])),
    "ARP as the switch": ("SOURCE", VISITOR, question(VISITOR, GATEWAY)),
    "ARP as a service": ("SOURCE", UPLINK, question(UPLINK, SERVICE)),
    "ARP as nobody": ("SOURCE", VISITOR, question(VISITOR, "0.0.0.0")),
    "a frame for another machine": ("FOREIGN", VISITOR, datagram(VISITOR, OWN[VISITOR], OWN[NODE], SENDER)),
    "a frame for the switch's end of the link": ("FOREIGN", NODE, datagram(NODE, OWN[NODE], OWN[LINK], LINK_END)),
    "a request for another switch": ("FOREIGN", VISITOR, datagram(VISITOR, OWN[VISITOR], FAR_SERVICE, OTHER_SWITCH)),
    "a question for another machine": ("FOREIGN", VISITOR, question(VISITOR, OWN[VISITOR], OTHER_SWITCH)),
    "a tunnel from a client": ("TUNNEL", VISITOR, tunnel(VISITOR, OWN[VISITOR])),
    "a tunnel from a client as a switch": ("SOURCE", VISITOR, tunnel(VISITOR, OTHER_GATEWAY)),
    "a tunnel from a node": ("TUNNEL", NODE, tunnel(NODE, OWN[NODE])),
    "a tunnel over the link from no switch": ("TUNNEL", LINK, tunnel(LINK, OWN[LINK])),
    "a tunnel over the uplink": ("TUNNEL", UPLINK, tunnel(UPLINK, STRANGER)),
}  # fmt: skip
ATTACKS |= {f"as {one}": ("SOURCE", VISITOR, datagram(VISITOR, one, OWN[NODE])) for one in NOT_OF_THIS_WORLD}
ATTACKS |= {f"{one} over the uplink": ("SOURCE", UPLINK, datagram(UPLINK, one, OWN[NODE])) for one in NOT_OF_THIS_WORLD}


@pytest.mark.parametrize("name", ATTACKS)
def test_nobody_gets_in(strict: Bench, name: str) -> None:
    reason, port, packet = ATTACKS[name]
    with strict.drops_one(reason):
        strict.send(port, packet)


HONEST = {
    "a client to a node": (VISITOR, datagram(VISITOR, OWN[VISITOR], OWN[NODE]), NODE),
    "a client to one behind the other switch": (VISITOR, datagram(VISITOR, OWN[VISITOR], OWN[LINK]), LINK),
    "a request to a service steered elsewhere": (VISITOR, datagram(VISITOR, OWN[VISITOR], FAR_SERVICE), LINK),
    "a node's answer in its own name": (NODE, datagram(NODE, OWN[NODE], OWN[VISITOR]), VISITOR),
    "a node's answer in the name of its service": (NODE, datagram(NODE, SERVICE, OWN[LINK]), LINK),
    "an answer from a node behind the other switch": (LINK, datagram(LINK, SERVICE, OWN[VISITOR]), VISITOR),
    "a client behind the other switch": (LINK, datagram(LINK, OWN[LINK], OWN[NODE]), NODE),
    "the other switch": (LINK, datagram(LINK, OTHER_GATEWAY, OWN[NODE]), NODE),
    "the uplink itself": (UPLINK, datagram(UPLINK, OWN[UPLINK], OWN[VISITOR]), VISITOR),
    "who is behind it": (UPLINK, datagram(UPLINK, STRANGER, OWN[VISITOR]), VISITOR),
    "a question to everybody": (VISITOR, question(VISITOR, OWN[VISITOR]), VISITOR),
    "a question to the switch": (VISITOR, question(VISITOR, OWN[VISITOR], SWITCH), VISITOR),
    "a tunnel from the switch at its other end": (LINK, tunnel(LINK, OTHER_GATEWAY), NODE),
    "a tunnel of its hosts' own": (VISITOR, tunnel(VISITOR, OWN[VISITOR], OWN[UPLINK]), UPLINK),
}


@pytest.mark.parametrize("name", HONEST)
def test_who_is_who_he_says_is_heard(strict: Bench, name: str) -> None:
    port, packet, out = HONEST[name]
    answer = strict.exchange(port, packet)
    assert answer is not None
    assert answer[0] == out
    if "tunnel from" in name:
        assert answer[1][IP].dst == SERVICE


def test_a_reports_copy_has_come_from_the_switch_that_took_it_and_counts(strict: Bench) -> None:
    report = Report(service_id=2, node_id=1, epoch=1, sequence=1, ready=True).encode()
    copy = Ether(src=SENDER, dst=OTHER_SWITCH) / IP(src="10.0.0.11", dst=REPORTS) / UDP(sport=7, dport=9600) / report
    with strict.counts("events", "REPORT"):
        strict.send(LINK, copy)
    with strict.drops_one("SOURCE"):
        strict.send(VISITOR, copy)
    copy[IP].dst = OWN[NODE]
    with strict.drops_one("FOREIGN"):
        strict.send(LINK, copy)


@pytest.mark.parametrize("priority", [0, 7])
def test_a_tag_that_says_only_how_urgent_it_is_comes_off(strict: Bench, priority: int) -> None:
    for packet, out in ((datagram(VISITOR, OWN[VISITOR], OWN[NODE]), NODE), (question(VISITOR, OWN[VISITOR]), VISITOR)):
        tagged = Ether(src=packet.src, dst=packet.dst) / Dot1Q(vlan=0, prio=priority) / packet.payload
        plain, answer = strict.exchange(VISITOR, packet), strict.exchange(VISITOR, tagged)
        assert plain is not None and answer is not None
        assert (answer[0], bytes(answer[1])) == (out, bytes(plain[1]))
    with strict.drops_one("SOURCE"):
        strict.send(VISITOR, Ether(dst=SWITCH) / Dot1Q(vlan=0) / IP(src=OWN[NODE], dst=OWN[LINK]) / UDP())


@pytest.mark.parametrize("tags", [(1,), (4095,), (0, 0), (0, 5)])
def test_a_frame_of_a_virtual_network_is_nobodys(strict: Bench, tags: tuple[int, ...]) -> None:
    packet: Packet = Ether(src=SENDER, dst=SWITCH)
    for tag in tags:
        packet = packet / Dot1Q(vlan=tag)
    with strict.drops_one("ETHERTYPE"):
        strict.send(VISITOR, packet / IP(src=OWN[VISITOR], dst=OWN[NODE]) / UDP())


def test_a_tagged_frame_is_as_long_as_it_says(strict: Bench) -> None:
    packet = datagram(VISITOR, OWN[VISITOR], OWN[NODE])
    tagged = bytes(Ether(src=packet.src, dst=packet.dst) / Dot1Q(vlan=0) / packet.payload)
    with strict.drops_one("LENGTH"):
        strict.send(VISITOR, tagged[:-1])
