"""The switch answers ARP for gateways, services and hosts behind other ports, and for nothing else."""

import pytest
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Packet

from tests.packet.bench import Bench
from tests.packet.layout import CLIENT, CLIENT_MAC, CLIENT_PORT, GATEWAY, SWITCH_MAC, node_address, node_mac


def request(target: str, *, source: str = CLIENT, mac: str = CLIENT_MAC) -> Packet:
    """An ARP request."""
    return Ether(src=mac, dst="ff:ff:ff:ff:ff:ff") / ARP(op=1, hwsrc=mac, psrc=source, pdst=target)


@pytest.mark.parametrize("target", [GATEWAY, "10.96.1.77", node_address(3)])
def test_it_answers_for_what_is_not_behind_the_askers_port(bench: Bench, target: str) -> None:
    answer = bench.exchange(CLIENT_PORT, request(target))
    assert answer is not None
    port, frame = answer
    assert port == CLIENT_PORT
    assert (frame[Ether].src, frame[Ether].dst) == (SWITCH_MAC, CLIENT_MAC)
    assert (frame[ARP].op, frame[ARP].hwsrc, frame[ARP].psrc) == (2, SWITCH_MAC, target)
    assert (frame[ARP].hwdst, frame[ARP].pdst) == (CLIENT_MAC, CLIENT)


def test_a_host_answers_for_itself_on_its_own_port(bench: Bench) -> None:
    with bench.drops_one("ARP"):
        bench.send(CLIENT_PORT, request(CLIENT, source="10.0.0.2"))
    # From another port the same question is answered.
    assert bench.exchange(2, request(CLIENT, source=node_address(0), mac=node_mac(0))) is not None


@pytest.mark.parametrize(
    "packet",
    [
        request("10.9.9.9"),
        request(CLIENT, source=CLIENT),
        Ether(src=CLIENT_MAC, dst=SWITCH_MAC)
        / ARP(op=2, hwsrc=CLIENT_MAC, psrc=CLIENT, pdst=GATEWAY, hwdst=SWITCH_MAC),
    ],
    ids=["unknown address", "gratuitous", "reply"],
)
def test_anything_else_is_dropped_and_counted(bench: Bench, packet: Packet) -> None:
    with bench.drops_one("ARP"):
        bench.send(2, packet)


@pytest.mark.parametrize(
    ("offset", "value"),
    [(15, 6), (16, 0x86), (18, 8), (19, 16)],
    ids=["hardware type", "protocol", "hardware size", "protocol size"],
)
def test_only_for_ipv4_over_ethernet(bench: Bench, offset: int, value: int) -> None:
    frame = bytearray(bytes(request(GATEWAY)))
    frame[offset] = value
    with bench.drops_one("ARP"):
        bench.send(CLIENT_PORT, bytes(frame))
