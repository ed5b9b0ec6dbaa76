"""An ICMP error about a packet that a service sent goes to the instance that sent it."""

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw

from tests.packet.bench import Bench
from tests.packet.layout import CLIENT, CLIENT_MAC, CLIENT_PORT, SWITCH_MAC
from tests.packet.service import Service
from tests.packet.test_tunnel import remote

ROUTER = "10.0.0.77"
ERRORS = {"fragmentation needed": (3, 4), "port unreachable": (3, 3), "time exceeded": (11, 0), "parameter": (12, 0)}
pytestmark = pytest.mark.frozen


def answer_of(service: Service, sport: int) -> Packet:
    """A packet from the service to its client, as an instance sends it."""
    ip = IP(src=service.address, dst=CLIENT, ttl=3, id=99)
    if service.protocol == "tcp":
        return ip / TCP(sport=service.port, dport=sport, flags="PA") / Raw(b"0123456789")
    return ip / UDP(sport=service.port, dport=sport) / Raw(b"0123456789")


def error_about(service: Service, sport: int, kind: tuple[int, int] = (3, 4), quoted: int = 28) -> Packet:
    """A router's complaint about it; `quoted` bytes of it are in it."""
    return (
        Ether(src=CLIENT_MAC, dst=SWITCH_MAC)
        / IP(src=ROUTER, dst=service.address, id=5)
        / ICMP(type=kind[0], code=kind[1])
        / Raw(bytes(answer_of(service, sport))[:quoted])
    )


def split(bench: Bench, protocol: str) -> Service:
    """A service with client port 1's flow at member 0 and new work going to member 1."""
    service = bench.service(protocol=protocol, affinity=1)
    service.report(0)
    service.report(1)
    assert service.member_of(start(service, 1)) == 0
    service.report(1)
    service.report(0, cpu=1000)
    assert service.member_of(start(service, 2)) == 1
    return service


def start(service: Service, sport: int) -> Packet:
    """The first packet of a flow."""
    return service.segment("S", sport=sport) if service.protocol == "tcp" else service.datagram(sport=sport)


@pytest.mark.parametrize("name", ERRORS)
@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_it_goes_to_the_flows_instance_unchanged(bench: Bench, protocol: str, name: str) -> None:
    service = split(bench, protocol)
    for sport, member in ((1, 0), (2, 1)):
        sent = error_about(service, sport, ERRORS[name], quoted=28 if sport == 1 else 38)
        assert service.member_of(sent) == member
        answer = bench.exchange(CLIENT_PORT, sent)
        assert answer is not None
        sent[IP].ttl -= 1
        assert bytes(answer[1][IP]) == bytes(sent[IP])
    assert [service.probe(member)["sent"] for member in (0, 1)] == [1, 1], "errors are no work"


def test_without_an_entry_it_goes_to_the_host(bench: Bench) -> None:
    service = split(bench, "tcp")
    with bench.counts("events", "NO_ENTRY"):
        assert service.member_of(error_about(service, 3)) == 1
    assert service.probe(1)["sent"] == 1


def test_when_its_instance_has_gone_it_goes_to_the_host_and_is_no_work(bench: Bench) -> None:
    service = split(bench, "tcp")
    bench.client.modify(service.instance(0, generation=2), service.binding(0, generation=2))
    service.report(0, cpu=1000)
    assert service.member_of(error_about(service, 1)) == 1
    assert service.probe(1)["sent"] == 1


def test_without_affinity_it_goes_to_the_host(bench: Bench) -> None:
    for affinity in (0, 2):
        service = bench.service(affinity=affinity)
        service.report(2)
        assert service.member_of(error_about(service, 1)) == 2
        assert service.probe(2)["sent"] == 0


def test_it_is_no_sign_of_life_of_its_flow(bench: Bench) -> None:
    service = bench.service(affinity=1, idle_after=0.5)
    service.report(0)
    service.report(1)
    assert service.ask(sport=1) == 0
    service.report(0, cpu=1000)
    for _ in range(3):
        bench.pass_time(0.2)
        assert service.member_of(error_about(service, 1)) == 0
    assert service.ask(sport=1) == 1


def test_a_remote_instance_gets_it_through_its_tunnel(bench: Bench) -> None:
    service = split(bench, "tcp")
    bench.client.modify(remote(service, 0))
    answer = bench.exchange(CLIENT_PORT, error_about(service, 1))
    assert answer is not None
    assert answer[1][IP].proto == 4
    assert answer[1][IP].payload.dst == service.address


@pytest.mark.parametrize("what", ["another source", "another port", "a fragment", "options", "short", "echo reply"])
def test_what_quotes_no_service_flow_is_dropped_and_counted(bench: Bench, what: str) -> None:
    service = split(bench, "tcp")
    packet = error_about(service, 1)
    quoted = answer_of(service, 1)
    reason = "ICMP"
    if what == "another source":
        quoted.src = "10.0.0.5"
    elif what == "another port":
        quoted[TCP].sport, reason = service.port + 1, "NO_PORT"
    elif what == "a fragment":
        quoted.frag = 5
    elif what == "options":
        quoted.ihl = 6
    elif what == "echo reply":
        packet[ICMP].type = 0
    packet[Raw].load = bytes(quoted)[: 24 if what == "short" else 28]
    packet = Ether(bytes(packet))
    del packet[ICMP].chksum
    with bench.drops_one(reason):
        bench.send(CLIENT_PORT, packet)


def test_an_error_about_somebody_elses_packet_is_routed(bench: Bench) -> None:
    service = split(bench, "tcp")
    packet = error_about(service, 1)
    packet[IP].dst = "10.0.1.5"
    answer = bench.exchange(CLIENT_PORT, packet)
    assert answer is not None
    assert answer[1].dst == "02:00:00:00:01:05"
