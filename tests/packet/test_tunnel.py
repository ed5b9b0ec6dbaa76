"""An instance behind another switch is reached through a tunnel: IP in IP, taken out at the last hop."""

from typing import Any

import pytest
from scapy.layers.inet import ICMP, IP, TCP
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw

from tests.packet.bench import Bench
from tests.packet.layout import ANY, CLIENT, CLIENT_PORT, GATEWAY, SWITCH_MAC, node_address, node_mac, node_port
from tests.packet.p4runtime import entry
from tests.packet.service import Service

SOURCE = "10.0.0.253"
BETWEEN_SWITCHES = 4
NOT, ECT1, ECT0, CE = range(4)
"""Marks of explicit congestion notification (RFC 3168)."""
EXPEDITED = 46 << 2
"""A class of service beside them."""


def remote(service: Service, member: int, path_mtu: int = 1500, generation: int = 1) -> Any:
    """The entry of a member behind another switch."""
    return entry(
        "instances",
        "at_remote_node",
        match={"instance": service.index << 6 | member},
        node=node_address(member),
        generation=generation,
        tunnel_source=SOURCE,
        path_mtu=path_mtu,
        path_cost=service.path_costs.get(member, 0),
    )


def far(bench: Bench, path_mtu: int = 1500, **options: Any) -> Service:
    """A service whose only instance is behind another switch."""
    service = bench.service(**options)
    bench.client.modify(remote(service, 0, path_mtu))
    service.report(0)
    return service


@pytest.fixture(scope="module")
def behind(bench: Bench) -> Bench:
    """The same switch as the last hop to member 0's node."""
    bench.client.insert(*tunnel_end(bench))
    return bench


def tunnel_end(bench: Bench) -> list[Any]:
    """The entries of a tunnel's end at member 0's node."""
    address, source = node_address(0), f"{SOURCE}/32"
    return [
        entry("tunnels", "decapsulate", match={"address": address, "source": source}, port=BETWEEN_SWITCHES),
        entry("tunnels", "no_tunnel", match={"address": address, "source": ANY}),
    ]


def inside(packet: Packet, **outer: Any) -> Packet:
    """An IPv4 packet in a tunnel to member 0's node, as another switch sends it."""
    fields = {"src": SOURCE, "dst": node_address(0), "proto": 4, "flags": "DF", "id": 0, **outer}
    return Ether(src="02:00:00:00:ff:02", dst=SWITCH_MAC) / IP(**fields) / packet


def test_the_packet_is_wrapped_and_otherwise_the_clients_own(bench: Bench) -> None:
    service = far(bench)
    sent = service.datagram(b"hello" * 20)
    sent[IP].tos = 0xB9
    answer = bench.exchange(CLIENT_PORT, sent)
    assert answer is not None
    port, frame = answer
    assert (port, frame.src, frame.dst) == (node_port(0), SWITCH_MAC, node_mac(0))
    outer = frame[IP]
    expected = IP(src=SOURCE, dst=node_address(0), proto=4, flags="DF", id=0, ttl=64, tos=0xB9, len=len(sent) - 14 + 20)
    assert bytes(outer)[:20] == bytes(expected)
    sent[IP].ttl -= 1
    assert bytes(outer)[20:] == bytes(sent[IP])
    assert service.probe(0)["sent"] == 1


def test_a_flow_goes_through_the_tunnel_too(bench: Bench) -> None:
    service = far(bench, protocol="tcp", affinity=1)
    for flags in ("S", "A", "FA"):
        answer = bench.exchange(CLIENT_PORT, service.segment(flags))
        assert answer is not None
        assert answer[1][IP].dst == node_address(0)
        assert answer[1][TCP].dport == service.port
    assert service.probe(0)["sent"] == 1


def test_of_two_instances_only_the_remote_one_is_behind_a_tunnel(bench: Bench) -> None:
    service = bench.service(policy=("round_robin", {}))
    bench.client.modify(remote(service, 1))
    service.report(0)
    service.report(1)
    protocols = []
    for _ in range(4):
        answer = bench.exchange(CLIENT_PORT, service.datagram())
        assert answer is not None
        protocols.append(answer[1][IP].proto)
    assert protocols == [17, 4, 17, 4]


def test_a_remote_instance_of_another_generation_is_gone(bench: Bench) -> None:
    service = far(bench)
    bench.client.modify(remote(service, 0, generation=2))
    with bench.drops_one("NO_LIVE"):
        bench.send(CLIENT_PORT, service.datagram())


def test_what_went_in_comes_out(behind: Bench) -> None:
    service = far(behind)
    sent = service.datagram(b"there and out again")
    answer = behind.exchange(CLIENT_PORT, sent)
    assert answer is not None
    wrapped = answer[1]
    wrapped.dst = SWITCH_MAC
    answer = behind.exchange(BETWEEN_SWITCHES, wrapped)
    assert answer is not None
    port, frame = answer
    assert (port, frame.src, frame.dst) == (node_port(0), SWITCH_MAC, node_mac(0))
    sent[IP].ttl -= 2
    assert bytes(frame[IP]) == bytes(sent[IP])
    assert service.probe(0)["sent"] == 1, "it was not steered again"


def test_it_is_never_steered_again(behind: Bench) -> None:
    service = behind.service()
    service.report(1)
    answer = behind.exchange(BETWEEN_SWITCHES, inside(service.datagram()[IP]))
    assert answer is not None
    assert (answer[0], answer[1].dst) == (node_port(0), node_mac(0))
    assert service.probe(1)["sent"] == 0


@pytest.mark.parametrize("fields", [{"flags": "MF"}, {"frag": 9}])
def test_fragments_of_the_inner_packet_are_the_nodes_business(behind: Bench, fields: dict[str, Any]) -> None:
    packet = IP(src=CLIENT, dst="10.96.7.7", proto=17, **fields) / Raw(b"0123456789abcdef")
    answer = behind.exchange(BETWEEN_SWITCHES, inside(packet))
    assert answer is not None
    packet.ttl -= 1
    assert bytes(answer[1][IP]) == bytes(packet)


def test_only_ip_in_ip_and_only_to_a_node_behind_this_switch(behind: Bench) -> None:
    packet = IP(src=CLIENT, dst="10.96.7.7") / ICMP()
    for dst, proto in ((node_address(1), 4), (node_address(0), 41), (node_address(0), 47)):
        sent = inside(packet, dst=dst, proto=proto)
        answer = behind.exchange(BETWEEN_SWITCHES, sent)
        assert answer is not None
        sent[IP].ttl -= 1
        assert bytes(answer[1][IP]) == bytes(sent[IP]), "as any other packet"


# The packet's own mark, the tunnel's, and the packet's afterwards; RFC 6040, section 4.2.
MARKS = [(NOT, NOT, NOT), (NOT, ECT0, NOT), (NOT, ECT1, NOT)]
MARKS += [(ECT0, NOT, ECT0), (ECT0, ECT0, ECT0), (ECT0, ECT1, ECT1), (ECT0, CE, CE)]
MARKS += [(ECT1, NOT, ECT1), (ECT1, ECT0, ECT1), (ECT1, ECT1, ECT1), (ECT1, CE, CE)]
MARKS += [(CE, NOT, CE), (CE, ECT0, CE), (CE, ECT1, CE), (CE, CE, CE)]


@pytest.mark.parametrize(("own", "outer", "afterwards"), MARKS)
def test_congestion_in_the_tunnel_is_told(behind: Bench, own: int, outer: int, afterwards: int) -> None:
    packet = IP(src=CLIENT, dst="10.96.7.7", proto=17, tos=EXPEDITED | own) / Raw(b"0123456789")
    answer = behind.exchange(BETWEEN_SWITCHES, inside(packet, tos=EXPEDITED | outer))
    assert answer is not None
    packet.ttl -= 1
    packet.tos = EXPEDITED | afterwards
    assert bytes(answer[1][IP]) == bytes(packet)


BAD = {
    "congestion that its sender cannot be told of": ("CONGESTION", {"tos": CE}, {}),
    "an outer fragment": ("FRAGMENT", {"flags": "MF"}, {}),
    "a later outer fragment": ("FRAGMENT", {"frag": 3}, {}),
    "inner options": ("OPTIONS", {}, {"ihl": 6}),
    "inner version": ("OPTIONS", {}, {"version": 6}),
    "inner checksum": ("CHECKSUM", {}, {"chksum": 0x1234}),
    "inner length beyond the outer": ("LENGTH", {}, {"len": 200}),
    "inner length below its header": ("LENGTH", {}, {"len": 19}),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_come_out_whole_is_dropped_and_counted(behind: Bench, name: str) -> None:
    reason, outer, inner = BAD[name]
    inner = {"src": CLIENT, "dst": "10.96.7.7", "proto": 17, **inner}
    with behind.drops_one(reason):
        behind.send(BETWEEN_SWITCHES, inside(IP(**inner) / Raw(b"0123456789"), **outer))


def test_what_ends_in_a_tunnel_is_told_to_its_sender(behind: Bench) -> None:
    packet = IP(src=CLIENT, dst="10.96.7.7", proto=17, ttl=1, tos=EXPEDITED | ECT0) / Raw(b"0123456789")
    told = behind.told(BETWEEN_SWITCHES, inside(packet), "TTL")
    assert (told.dst, told[IP].src, told[IP].dst) == ("02:00:00:00:ff:02", GATEWAY, CLIENT)
    assert (told[ICMP].type, told[ICMP].code) == (11, 0)
    assert bytes(told[ICMP])[8:] == bytes(packet)[:28]
    later, short = {"frag": 1}, {"len": 27}
    for fields in (later, short):
        silent = IP(src=CLIENT, dst="10.96.7.7", proto=17, ttl=1, **fields) / Raw(b"0123456789")
        with behind.drops_one("TTL"):
            behind.send(BETWEEN_SWITCHES, inside(silent))


@pytest.mark.parametrize("stranger", ["port", "source"])
def test_a_tunnel_opens_only_for_its_other_end(behind: Bench, stranger: str) -> None:
    packet = inside(IP(src=CLIENT, dst="10.96.7.7") / ICMP())
    port = BETWEEN_SWITCHES
    if stranger == "port":
        port = CLIENT_PORT
    else:
        packet[IP].src = CLIENT
    with behind.drops_one("TUNNEL"):
        behind.send(port, packet)
