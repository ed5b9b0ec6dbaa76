"""The sender of a packet that goes no further is told why, as by any router, and not too often."""

import pytest
from scapy.layers.inet import GRE, ICMP, IP, TCP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw

from hitless.words import ERROR_INTERVAL, ERROR_SPAN, MEMBER_BITS
from tests.packet.bench import Bench
from tests.packet.layout import CLIENT, CLIENT_MAC, CLIENT_PORT, GATEWAY, REPORTS, SWITCH_MAC, node_address, node_mac
from tests.packet.p4runtime import entry
from tests.packet.test_icmp_errors import error_about

pytestmark = pytest.mark.frozen
ETHERNET = Ether(src=CLIENT_MAC, dst=SWITCH_MAC)
NOWHERE = "192.0.2.1"
NOBODY = "10.96.77.77"
BURST = ERROR_SPAN // ERROR_INTERVAL
UDP_LAYER = UDP(sport=40000, dport=33434) / Raw(b"probe")
TCP_LAYER = TCP(sport=40000, dport=81, flags="S", seq=0x01020304)
UNKNOWN = Raw(b"eight or more bytes")
LAYERS = (UDP_LAYER, TCP_LAYER, ICMP(id=3), GRE() / UNKNOWN, UNKNOWN)


@pytest.fixture(autouse=True)
def rested(bench: Bench) -> None:
    """Nobody has been told anything lately."""
    bench.pass_time(1)


def packet(destination: str, layer: Packet, **fields: object) -> Packet:
    """A packet from the client."""
    return Ether(bytes(ETHERNET / IP(**{"src": CLIENT, "dst": destination, "id": 7, **fields}) / layer))


def check(told: Packet, sent: Packet, source: str, kind: int, code: int) -> None:
    """What a sender was told is an ICMP error that stacks take, about its own packet."""
    assert (told.src, told.dst) == (SWITCH_MAC, CLIENT_MAC)
    assert (told[IP].src, told[IP].dst, told[IP].ttl) == (source, CLIENT, 64)
    assert (told[ICMP].type, told[ICMP].code) == (kind, code)
    assert bytes(told[ICMP])[8:] == bytes(sent[IP])[:28], "the packet's own first bytes"
    assert len(told) == 14 + 56
    for layer in (IP, ICMP):
        again = told[layer].copy()
        del again.chksum
        assert layer(bytes(again)).chksum == told[layer].chksum


@pytest.mark.parametrize("ttl", [0, 1])
@pytest.mark.parametrize("layer", LAYERS, ids=["udp", "tcp", "ping", "gre", "unknown"])
def test_that_its_time_is_over(bench: Bench, layer: Packet, ttl: int) -> None:
    fields = {"proto": 132} if layer is UNKNOWN else {}
    sent = packet(node_address(1), layer, ttl=ttl, **fields)
    with bench.counts("events", "TIME_EXCEEDED"):
        told = bench.told(CLIENT_PORT, sent, "TTL")
    check(told, sent, GATEWAY, 11, 0)


@pytest.mark.parametrize("protocol", ["udp", "tcp"])
def test_that_its_time_is_over_on_the_way_to_a_service_which_gets_no_work(bench: Bench, protocol: str) -> None:
    service = bench.service(protocol=protocol)
    service.report(0)
    sent = service.datagram() if protocol == "udp" else service.segment("S")
    sent[IP].ttl = 1
    told = bench.told(CLIENT_PORT, sent, "TTL")
    check(told, Ether(bytes(sent)), GATEWAY, 11, 0)
    assert service.probe(0)["sent"] == 0
    sent[IP].ttl = 2
    del sent[IP].chksum
    assert service.member_of(sent) == 0, "the next hop is its end"


@pytest.mark.parametrize(("address", "code"), [(NOWHERE, 0), (NOBODY, 1)])
def test_that_there_is_no_way_or_nobody(bench: Bench, address: str, code: int) -> None:
    sent = packet(address, UDP_LAYER)
    with bench.counts("events", "UNREACHABLE"):
        told = bench.told(CLIENT_PORT, sent, "NO_ROUTE")
    check(told, sent, GATEWAY, 3, code)


@pytest.mark.parametrize("ttl", [1, 64])
@pytest.mark.parametrize("where", ["service", "gateway", "reports"])
def test_that_nothing_takes_it_where_it_has_come(bench: Bench, where: str, ttl: int) -> None:
    address = {"service": bench.service().address, "gateway": GATEWAY, "reports": REPORTS[0]}[where]
    for layer, code in ((UDP_LAYER, 3), (TCP_LAYER, 3), (GRE() / UNKNOWN, 2)):
        sent = packet(address, layer, ttl=ttl)
        with bench.counts("events", "UNREACHABLE"):
            check(bench.told(CLIENT_PORT, sent, "NO_PORT"), sent, address, 3, code)


def test_about_a_first_fragment_and_what_a_tunnel_holds(bench: Bench) -> None:
    for layer in (UDP_LAYER, IP(src=CLIENT, dst=GATEWAY) / UNKNOWN):
        for flags in ("MF", ""):
            sent = packet(NOWHERE, layer, flags=flags)
            check(bench.told(CLIENT_PORT, sent, "NO_ROUTE"), sent, GATEWAY, 3, 0)


def test_about_a_packet_that_was_to_go_through_a_tunnel(bench: Bench) -> None:
    service = bench.service()
    bench.client.modify(
        entry(
            "instances",
            "at_remote_node",
            match={"instance": service.index << MEMBER_BITS},
            node=NOWHERE,
            generation=1,
            tunnel_source=GATEWAY,
            path_mtu=1500,
            path_cost=0,
        )
    )
    service.report(0)
    sent = service.datagram()
    check(bench.told(CLIENT_PORT, sent, "NO_ROUTE"), Ether(bytes(sent)), GATEWAY, 3, 0)


SILENT = {
    "an ICMP error": (ICMP(type=3, code=1) / Raw(bytes(28)), {}),
    "an answer to a ping": (ICMP(type=0), {}),
    "the first fragment of one": (ICMP(type=11) / Raw(bytes(28)), {"flags": "MF"}),
    "a later fragment": (UDP_LAYER, {"frag": 5}),
    "the last of a packet": (UDP_LAYER, {"flags": "MF", "frag": 5}),
    "less than is quoted": (Raw(bytes(7)), {"proto": 132}),
    "a packet to a group": (UDP_LAYER, {"dst": "224.0.0.5"}),
    "a packet to everybody": (UDP_LAYER, {"dst": "255.255.255.255"}),
}


@pytest.mark.parametrize("what", SILENT)
def test_never_about(bench: Bench, what: str) -> None:
    layer, fields = SILENT[what]
    with bench.counts("events", "UNREACHABLE", 0), bench.counts("events", "LIMITED", 0), bench.drops_one("NO_ROUTE"):
        bench.send(CLIENT_PORT, packet(NOWHERE, layer, **fields))


def test_never_about_an_error_to_a_service(bench: Bench) -> None:
    service = bench.service()
    service.report(0)
    sent = error_about(service, 5000)
    sent[IP].ttl = 1
    with bench.drops_one("TTL"):
        bench.send(CLIENT_PORT, sent)


def told_of(bench: Bench, count: int, port: int = CLIENT_PORT) -> int:
    """How many of so many hopeless packets are answered."""
    source, mac = (CLIENT, CLIENT_MAC) if port == CLIENT_PORT else (node_address(0), node_mac(0))
    sent = Ether(src=mac, dst=SWITCH_MAC) / IP(src=source, dst=NOWHERE) / UDP_LAYER
    bench.wires.flush()
    with bench.counts("drops", "NO_ROUTE", count):
        for _ in range(count):
            bench.send(port, sent)
    return len(bench.sent())


def test_not_more_often_than_a_port_has_a_share(bench: Bench) -> None:
    with bench.counts("events", "UNREACHABLE", BURST), bench.counts("events", "LIMITED", 5):
        assert told_of(bench, BURST + 5) == BURST
    assert told_of(bench, 2, port=2) == 2, "another port has its own"
    bench.pass_time(3 * ERROR_INTERVAL / 1e6)
    assert told_of(bench, 5) == 3
    bench.pass_time(60)
    assert told_of(bench, BURST + 1) == BURST


def test_a_clock_that_is_set_back_silences_nobody(bench: Bench) -> None:
    assert told_of(bench, BURST + 1) == BURST
    bench.pass_time(-100)
    assert told_of(bench, BURST + 1) == BURST
    bench.pass_time(100)


def test_a_request_that_goes_round_takes_nothing_of_the_share(bench: Bench) -> None:
    service = bench.service()
    service.report(0)
    service.report(1)
    bench.client.delete(service.instance(0))
    assert service.ask() == 1
    assert told_of(bench, BURST) == BURST
