"""What is not a whole, well-formed frame is dropped and counted; good traffic goes on."""

from collections.abc import Callable

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_NOP
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Packet, Raw

from tests.packet.bench import Bench
from tests.packet.layout import CLIENT, CLIENT_MAC, CLIENT_PORT, GATEWAY, SWITCH_MAC, node_address

ETHERNET = Ether(src=CLIENT_MAC, dst=SWITCH_MAC)


def udp(**fields: object) -> Packet:
    """A datagram that is fine but for the IPv4 fields given."""
    return (
        ETHERNET / IP(**{"src": CLIENT, "dst": node_address(1), **fields}) / UDP(sport=1, dport=2) / Raw(b"0123456789")
    )


def tcp(**fields: object) -> Packet:
    """A segment that is fine but for the TCP fields given."""
    return ETHERNET / IP(src=CLIENT, dst=node_address(1)) / TCP(**{"sport": 1, "dport": 2, **fields})


def datagram(length: int) -> Packet:
    """A datagram of 10 bytes that claims a UDP length."""
    return ETHERNET / IP(src=CLIENT, dst=node_address(1)) / UDP(sport=1, dport=2, len=length) / Raw(b"0123456789")


def cut(packet: Packet, length: int) -> bytes:
    """The first bytes of a frame."""
    return bytes(packet)[:length]


PING = ETHERNET / IP(src=CLIENT, dst=GATEWAY) / ICMP()
QUESTION = Ether(src=CLIENT_MAC, dst="ff:ff:ff:ff:ff:ff") / ARP(op=1, hwsrc=CLIENT_MAC, psrc=CLIENT, pdst=GATEWAY)

BAD: dict[str, tuple[str, Callable[[], Packet | bytes]]] = {
    "Ethernet header alone": ("PARSER", lambda: cut(udp(), 14)),
    "cut in the IPv4 header": ("PARSER", lambda: cut(udp(), 33)),
    "cut in the UDP header": ("PARSER", lambda: cut(udp(), 41)),
    "cut in the TCP header": ("PARSER", lambda: cut(tcp(), 53)),
    "cut in the ICMP header": ("PARSER", lambda: cut(PING, 41)),
    "cut in the ARP body": ("PARSER", lambda: cut(QUESTION, 41)),
    "cut in the payload": ("LENGTH", lambda: cut(udp(), 51)),
    "wrong checksum": ("CHECKSUM", lambda: udp(chksum=0x1234)),
    "IPv6": ("ETHERTYPE", lambda: bytes(Ether(src=CLIENT_MAC, dst=SWITCH_MAC, type=0x86DD)) + bytes(60)),
    "802.3 length": ("ETHERTYPE", lambda: bytes(Ether(src=CLIENT_MAC, dst=SWITCH_MAC, type=46)) + bytes(46)),
    "a VLAN tag": ("ETHERTYPE", lambda: bytes(Ether(src=CLIENT_MAC, dst=SWITCH_MAC, type=0x8100)) + bytes(46)),
    "IP version 6": ("OPTIONS", lambda: udp(version=6)),
    "IP options": ("OPTIONS", lambda: udp(options=[IPOption_NOP()] * 4)),
    "an IP header of 16 bytes": ("OPTIONS", lambda: udp(ihl=4)),
    "total length below the header": ("LENGTH", lambda: udp(len=19)),
    "total length beyond the frame": ("LENGTH", lambda: udp(len=39)),
    "total length 65535": ("LENGTH", lambda: udp(len=65535)),
    "no room for the UDP header": ("LENGTH", lambda: udp(len=27)),
    "UDP length below its header": ("LENGTH", lambda: datagram(7)),
    "UDP length beyond the datagram": ("LENGTH", lambda: datagram(19)),
    "UDP length 65535": ("LENGTH", lambda: datagram(65535)),
    "total length below the header, nothing known above": ("LENGTH", lambda: udp(len=19, proto=41)),
    "no room for the TCP header": ("LENGTH", lambda: ETHERNET / IP(src=CLIENT, dst=node_address(1), len=39) / TCP()),
    "TCP data offset 4": ("LENGTH", lambda: tcp(dataofs=4)),
    "TCP data offset beyond the datagram": ("LENGTH", lambda: tcp(dataofs=6)),
    "no room for the ICMP header": ("LENGTH", lambda: ETHERNET / IP(src=CLIENT, dst=GATEWAY, len=27) / ICMP()),
    "broadcast IPv4": ("MULTICAST", lambda: Ether(src=CLIENT_MAC, dst="ff:ff:ff:ff:ff:ff") / udp()[IP]),
    "multicast IPv4": ("MULTICAST", lambda: Ether(src=CLIENT_MAC, dst="01:00:5e:00:00:01") / udp()[IP]),
}


@pytest.mark.parametrize("name", BAD)
def test_it_is_dropped_and_counted(bench: Bench, name: str) -> None:
    reason, make = BAD[name]
    with bench.drops_one(reason):
        bench.send(CLIENT_PORT, make())


@pytest.mark.parametrize("size", [0, 7])
def test_no_packet_is_too_short_where_nothing_is_known_above_ipv4(bench: Bench, size: int) -> None:
    answer = bench.exchange(CLIENT_PORT, ETHERNET / IP(src=CLIENT, dst=node_address(1), proto=41) / Raw(bytes(size)))
    assert answer is not None
    assert answer[1][IP].len == 20 + size


@pytest.mark.parametrize("size", [42 + 42, 42 + 52 - 1])
def test_a_truncated_invocation_or_report_goes_nowhere(bench: Bench, size: int) -> None:
    service = bench.service(affinity=2)
    service.report(0)
    if size == 42 + 42:
        frame = bytes(service.fragment(1))[: size - 1]
    else:
        frame = bytes(service.report_frame(0, service.payload(0)))[:size]
    with bench.drops_one("PARSER"):
        bench.send(2, frame)


def test_a_fragment_to_a_service_is_not_steered(bench: Bench) -> None:
    service = bench.service()
    service.report(0)
    packet = service.datagram()
    packet[IP].flags = 1
    bench.told(CLIENT_PORT, packet, "FRAGMENT")


def test_good_traffic_goes_on_between_bad(bench: Bench) -> None:
    service = bench.service()
    service.report(0)
    for _, make in BAD.values():
        bench.send(2, bytes(make()))
        assert service.ask() == 0
