"""Fragments, IPv4 options and padding: passed on as they came, or dropped and counted, never mangled."""

from typing import Any

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_Router_Alert
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw

from tests.packet.bench import Bench
from tests.packet.layout import CLIENT, CLIENT_MAC, CLIENT_PORT, GATEWAY, REPORTS, SWITCH_MAC, node_address, node_port
from tests.packet.test_tunnel import far

ETHERNET = Ether(src=CLIENT_MAC, dst=SWITCH_MAC)
PIECES: dict[str, dict[str, Any]] = {
    "first": {"flags": "MF"},
    "middle": {"flags": "MF", "frag": 10},
    "last": {"frag": 20},
    "with the evil bit": {"flags": "MF+evil", "frag": 1},
}


@pytest.mark.parametrize("piece", PIECES)
@pytest.mark.parametrize(
    "layer", [UDP(sport=1, dport=9000), TCP(sport=1, dport=80), ICMP(), Raw()], ids=lambda x: x.name
)
def test_fragments_between_hosts_pass_unchanged(bench: Bench, piece: str, layer: Packet) -> None:
    sent = Ether(bytes(ETHERNET / IP(src=CLIENT, dst=node_address(1), id=77, **PIECES[piece]) / layer / Raw(bytes(32))))
    answer = bench.exchange(CLIENT_PORT, sent)
    assert answer is not None
    sent[IP].ttl -= 1
    del sent[IP].chksum
    assert bytes(answer[1][IP]) == bytes(sent[IP])


@pytest.mark.parametrize("piece", PIECES)
@pytest.mark.parametrize("affinity", [0, 1, 2])
def test_fragments_to_a_service_are_dropped_and_the_first_is_answered(bench: Bench, affinity: int, piece: str) -> None:
    service = bench.service(affinity=affinity)
    service.report(0)
    packet = service.fragment(1)
    for name, value in PIECES[piece].items():
        setattr(packet[IP], name, value)
    if piece == "first":
        told = bench.told(CLIENT_PORT, packet, "FRAGMENT")
        assert (told[IP].src, told[ICMP].type, told[ICMP].code) == (service.address, 3, 13), "not taken"
    else:
        with bench.drops_one("FRAGMENT"):
            bench.send(CLIENT_PORT, packet)
    assert service.probe(0)["sent"] == 0


def test_a_fragmented_report_is_dropped_and_counted(bench: Bench) -> None:
    service = bench.service()
    packet = service.report_frame(0, service.payload(0))
    packet[IP].flags = "MF"
    bench.told(node_port(0), packet, "FRAGMENT")
    assert service.probe(0)["status"] == 0


@pytest.mark.parametrize("piece", PIECES)
def test_a_fragmented_ping_to_the_switch_is_dropped_and_counted(bench: Bench, piece: str) -> None:
    with bench.drops_one("ICMP"):
        bench.send(CLIENT_PORT, ETHERNET / IP(src=CLIENT, dst=GATEWAY, **PIECES[piece]) / ICMP() / Raw(bytes(32)))


@pytest.mark.parametrize("destination", ["a host", "a service", "the reports", "the gateway"])
def test_options_are_dropped_and_counted_wherever_they_go(bench: Bench, destination: str) -> None:
    service = bench.service()
    service.report(0)
    address = {
        "a host": node_address(1),
        "a service": service.address,
        "the reports": REPORTS[0],
        "the gateway": GATEWAY,
    }[destination]
    with bench.drops_one("OPTIONS"):
        bench.send(
            CLIENT_PORT,
            ETHERNET / IP(src=CLIENT, dst=address, options=[IPOption_Router_Alert()]) / UDP(sport=1, dport=9000),
        )


def test_padding_is_no_part_of_a_datagram(bench: Bench) -> None:
    service = bench.service()
    service.report(0)
    remote = far(bench)
    for packet in (
        service.datagram(b""),
        remote.datagram(b"x"),
        ETHERNET / IP(src=CLIENT, dst=node_address(0)) / UDP(sport=1, dport=2),
    ):
        padded = bytes(packet).ljust(60, b"\xa5")
        answer = bench.exchange(CLIENT_PORT, padded)
        assert answer is not None
        frame = answer[1]
        inner = frame[IP].payload if frame[IP].proto == 4 else frame[IP]
        expected = packet.copy()
        expected[IP].ttl -= 1
        length = len(expected[IP])
        assert bytes(inner)[:length] == bytes(expected[IP])
        assert frame[IP].len == length + (20 if frame[IP].proto == 4 else 0)


def test_a_padded_ping_and_its_answer(bench: Bench) -> None:
    packet = ETHERNET / IP(src=CLIENT, dst=GATEWAY) / ICMP(id=3, seq=4)
    answer = bench.exchange(CLIENT_PORT, bytes(packet).ljust(60, b"\xa5"))
    assert answer is not None
    frame = answer[1]
    assert (frame[IP].len, frame[ICMP].type, frame[ICMP].id, frame[ICMP].seq) == (28, 0, 3, 4)
    mended = frame[ICMP].copy()
    mended.remove_payload()
    del mended.chksum
    assert ICMP(bytes(mended)).chksum == frame[ICMP].chksum, "the padding is not in the checksum"
