"""A packet that the tunnel to its instance cannot carry is not lost in silence."""

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Packet

from tests.packet.bench import Bench
from tests.packet.layout import CLIENT, CLIENT_MAC, CLIENT_PORT, SWITCH_MAC
from tests.packet.test_icmp_errors import error_about
from tests.packet.test_packet_io import CPU_PORT, INJECT
from tests.packet.test_tunnel import far

MTU = 600
ROOM = MTU - 20


def sized(packet: Packet, length: int, *, may_fragment: bool = False) -> Packet:
    """The packet, padded with data to an IPv4 length."""
    packet = packet / bytes(length - len(packet[IP]))
    packet[IP].flags = 0 if may_fragment else "DF"
    return Ether(bytes(packet))


@pytest.mark.parametrize("protocol", ["udp", "tcp"])
def test_the_sender_is_told_what_fits(bench: Bench, protocol: str) -> None:
    service = far(bench, MTU, protocol=protocol)
    packet = service.datagram() if protocol == "udp" else service.segment("S")
    sent = sized(packet, ROOM + 1)
    with bench.counts("events", "TOO_BIG"):
        answer = bench.exchange(CLIENT_PORT, sent)
    assert answer is not None
    port, frame = answer
    assert (port, frame.src, frame.dst) == (CLIENT_PORT, SWITCH_MAC, CLIENT_MAC)
    assert (frame[IP].src, frame[IP].dst, frame[IP].proto) == (service.address, CLIENT, 1)
    assert (frame[ICMP].type, frame[ICMP].code, frame[ICMP].nexthopmtu) == (3, 4, ROOM)
    assert bytes(frame[ICMP])[8:] == bytes(sent[IP])[:28], "the packet's own first bytes, for its sender to know it by"
    for layer in (IP, ICMP):
        told = frame[layer].chksum
        again = frame[layer].copy()
        del again.chksum
        assert layer(bytes(again)).chksum == told
    assert frame[IP].len == len(frame) - 14 == 56
    assert service.probe(0)["sent"] == 0, "no work was steered"


@pytest.mark.parametrize("protocol", ["udp", "tcp"])
def test_what_just_fits_goes_through(bench: Bench, protocol: str) -> None:
    service = far(bench, MTU, protocol=protocol)
    packet = service.datagram() if protocol == "udp" else service.segment("S")
    answer = bench.exchange(CLIENT_PORT, sized(packet, ROOM))
    assert answer is not None
    assert answer[1][IP].len == MTU
    assert answer[1][UDP if protocol == "udp" else TCP].dport == service.port


@pytest.mark.parametrize("protocol", ["udp", "tcp"])
def test_what_might_be_fragmented_is_a_counted_drop(bench: Bench, protocol: str) -> None:
    service = far(bench, MTU, protocol=protocol)
    packet = service.datagram() if protocol == "udp" else service.segment("S")
    with bench.drops_one("MTU"), bench.counts("events", "TOO_BIG", 0):
        bench.send(CLIENT_PORT, sized(packet, ROOM + 1, may_fragment=True))


def test_nobody_is_told_of_an_error_that_is_too_big(bench: Bench) -> None:
    service = far(bench, MTU)
    with bench.drops_one("MTU"):
        bench.send(CLIENT_PORT, sized(error_about(service, 5000), ROOM + 1))


def test_what_a_p4runtime_client_sent_in_its_own_name_is_answered_in_full(bench: Bench) -> None:
    service = far(bench, MTU)
    sent = sized(service.datagram(), ROOM + 1)
    bench.client.packet_out(bytes(sent), op=INJECT, port=CPU_PORT, service=0, member=0)
    answer = bench.client.packet_in()
    assert answer is not None
    frame = Ether(answer.payload)
    assert frame[ICMP].nexthopmtu == ROOM
    assert bytes(frame[ICMP])[8:] == bytes(sent[IP])[:28]


def test_a_connection_learns_it_in_mid_flow_and_stays(bench: Bench) -> None:
    service = far(bench, MTU, protocol="tcp", affinity=1)
    assert bench.exchange(CLIENT_PORT, service.segment("S")) is not None
    answer = bench.exchange(CLIENT_PORT, sized(service.segment("PA"), 1400))
    assert answer is not None
    assert answer[1][ICMP].nexthopmtu == ROOM
    answer = bench.exchange(CLIENT_PORT, sized(service.segment("PA"), ROOM))
    assert answer is not None
    assert answer[1][IP].proto == 4


def test_an_adjacent_node_has_no_tunnel_and_no_limit(bench: Bench) -> None:
    service = bench.service()
    service.report(0)
    assert service.member_of(sized(service.datagram(), 1500)) == 0
