"""What is no service, report or control packet is IPv4 routing; the switch answers pings to its own addresses."""

from typing import Any

import pytest
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw

from tests.packet.bench import Bench
from tests.packet.layout import CLIENT, CLIENT_MAC, CLIENT_PORT, GATEWAY, SWITCH_MAC, node_address, node_mac, node_port


def datagram(destination: str, *, payload: bytes = b"payload", **fields: Any) -> Packet:
    """A datagram from the client."""
    ip = IP(src=CLIENT, dst=destination, **{"id": 1, "ttl": 9, **fields})
    return Ether(src=CLIENT_MAC, dst=SWITCH_MAC) / ip / UDP(sport=1, dport=2) / Raw(payload)


def echo(destination: str, **fields: int) -> Packet:
    """An ICMP echo request from the client."""
    ip = IP(src=CLIENT, dst=destination, id=1, ttl=1)
    return Ether(src=CLIENT_MAC, dst=SWITCH_MAC) / ip / ICMP(**{"type": 8, "id": 3, "seq": 4, **fields}) / Raw(b"abcde")


def test_a_routed_packet_has_new_macs_one_hop_less_and_nothing_else_changed(bench: Bench) -> None:
    sent = datagram(node_address(2))
    answer = bench.exchange(CLIENT_PORT, sent)
    assert answer is not None
    port, frame = answer
    assert port == node_port(2)
    expected = Ether(src=SWITCH_MAC, dst=node_mac(2)) / sent[IP].copy()
    expected[IP].ttl = 8
    del expected[IP].chksum
    assert bytes(frame) == bytes(expected)


@pytest.mark.parametrize(
    "fields", [{"flags": 1}, {"flags": 1, "frag": 100}, {"frag": 200}, {"flags": 2}, {"tos": 0x2E}]
)
def test_fragments_and_marks_pass_as_they_are(bench: Bench, fields: dict[str, Any]) -> None:
    sent = datagram(node_address(1), **fields)
    answer = bench.exchange(CLIENT_PORT, sent)
    assert answer is not None
    frame = answer[1]
    assert (frame[IP].flags, frame[IP].frag, frame[IP].tos) == (sent[IP].flags, sent[IP].frag, sent[IP].tos)
    assert bytes(frame[IP].payload) == bytes(sent[IP].payload)


def test_ethernet_padding_does_no_harm(bench: Bench) -> None:
    sent = bytes(datagram(node_address(1), payload=b"")).ljust(60, b"\0")
    answer = bench.exchange(CLIENT_PORT, sent)
    assert answer is not None
    assert bytes(answer[1])[34:] == sent[34:]


def test_packets_to_the_client_come_out_of_its_port(bench: Bench) -> None:
    back = Ether(src=node_mac(1), dst=SWITCH_MAC) / IP(src=node_address(1), dst=CLIENT) / UDP(sport=2, dport=1)
    answer = bench.exchange(node_port(1), back)
    assert answer is not None
    assert (answer[0], answer[1].dst) == (CLIENT_PORT, CLIENT_MAC)


@pytest.mark.parametrize("checksum", [None, 0xF7FF, 0xFFFF, 0x0000])
def test_gateway_and_services_answer_pings(bench: Bench, checksum: int | None) -> None:
    for address in (GATEWAY, bench.service().address):
        sent = echo(address) if checksum is None else echo(address, chksum=checksum)
        answer = bench.exchange(CLIENT_PORT, sent)
        assert answer is not None
        port, frame = answer
        assert (port, frame.src, frame.dst) == (CLIENT_PORT, SWITCH_MAC, CLIENT_MAC)
        assert (frame[IP].src, frame[IP].dst, frame[IP].ttl) == (address, CLIENT, 64)
        assert (frame[ICMP].type, frame[ICMP].id, frame[ICMP].seq, frame[Raw].load) == (0, 3, 4, b"abcde")
        told = frame[ICMP].chksum
        before = Ether(bytes(sent))[ICMP].chksum
        # RFC 1624, equation 3, with the one word that changed.
        total = (~before & 0xFFFF) + (~0x0800 & 0xFFFF)
        while total >> 16:
            total = (total & 0xFFFF) + (total >> 16)
        assert told % 0xFFFF == (~total & 0xFFFF) % 0xFFFF
        if checksum is None:
            fresh = frame.copy()
            del fresh[IP].chksum, fresh[ICMP].chksum
            assert bytes(fresh) == bytes(frame)


def test_a_ping_to_a_host_is_routed(bench: Bench) -> None:
    sent = Ether(src=CLIENT_MAC, dst=SWITCH_MAC) / IP(src=CLIENT, dst=node_address(1)) / ICMP(id=3) / Raw(b"x")
    answer = bench.exchange(CLIENT_PORT, sent)
    assert answer is not None
    assert (answer[0], answer[1][ICMP].type) == (node_port(1), 8)


@pytest.mark.parametrize("fields", [{"type": 0}, {"type": 13}, {"type": 8, "code": 1}, {"type": 3, "code": 4}])
def test_other_icmp_to_the_switch_is_dropped(bench: Bench, fields: dict[str, int]) -> None:
    with bench.drops_one("ICMP"):
        bench.send(CLIENT_PORT, echo(GATEWAY, **fields))


def test_a_fragment_of_a_ping_is_dropped_whatever_came_before(bench: Bench) -> None:
    whole = Ether(src=CLIENT_MAC, dst=SWITCH_MAC) / IP(src=CLIENT, dst=node_address(1)) / ICMP(id=3) / Raw(b"abcde")
    assert bench.exchange(CLIENT_PORT, whole) is not None
    fragment = echo(GATEWAY)
    fragment[IP].flags = 1
    with bench.drops_one("ICMP"):
        bench.send(CLIENT_PORT, fragment)
