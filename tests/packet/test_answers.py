"""What instances answer is counted where it comes in, and whose word is doubted is a last resort."""

from __future__ import annotations

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw

from hitless.words import MEMBER_BITS, OnNoLive
from tests.packet.bench import Bench
from tests.packet.layout import CLIENT, SWITCH_MAC, node_address, node_mac, node_port
from tests.packet.service import Service

SPREAD = ("spread", {"load_penalty": 31})


def answer(service: Service, member: int, *, source: str | None = None, sport: int | None = None) -> Packet:
    """What a member answers a client as its service."""
    sport = service.port if sport is None else sport
    transport = UDP(sport=sport, dport=5000) if service.protocol == "udp" else TCP(sport=sport, dport=5000, flags="A")
    packet = IP(src=source or service.address, dst=CLIENT) / transport / Raw(b"answer")
    return Ether(src=node_mac(member), dst=SWITCH_MAC) / packet


def answered(bench: Bench, service: Service, member: int) -> int:
    """How many answers of a member were counted."""
    return bench.client.counters("answered").get(service.index << MEMBER_BITS | member, 0)


@pytest.mark.parametrize("protocol", ["udp", "tcp"])
def test_answers_are_counted_by_instance_and_reach_the_client(bench: Bench, protocol: str) -> None:
    service = bench.service(protocol=protocol)
    bench.client.insert(service.answers(0), service.answers(1))
    for _ in range(3):
        out = bench.exchange(node_port(1), answer(service, 1))
        assert out is not None
        assert out[0] == 1
    assert answered(bench, service, 1) == 3
    assert answered(bench, service, 0) == 0


@pytest.mark.parametrize("how", ["another address", "another port of the service", "the port of another node"])
def test_what_is_no_answer_of_the_instance_is_not_counted(bench: Bench, how: str) -> None:
    service = bench.service()
    bench.client.insert(service.answers(0))
    frame, port = answer(service, 0), node_port(0)
    if how == "another address":
        frame = answer(service, 0, source=node_address(0))
    elif how == "another port of the service":
        frame = answer(service, 0, sport=service.port + 1)
    else:
        port = node_port(1)
    assert bench.exchange(port, frame) is not None
    assert answered(bench, service, 0) == 0


def test_accepted_reports_are_counted_by_instance(bench: Bench) -> None:
    service = bench.service()
    for _ in range(3):
        service.report(1)
    with bench.drops_one("REPORT_OLD"):
        bench.send(node_port(1), service.report_frame(1, service.payload(1, sequence=service.sequence)))
    assert bench.client.counters("reported").get(service.index << MEMBER_BITS | 1) == 3


@pytest.mark.parametrize(
    "policy", [SPREAD, ("two_choices", {}), ("round_robin", {}), ("random_choice", {})], ids=lambda policy: policy[0]
)
def test_who_is_doubted_gets_no_share_whatever_it_claims(bench: Bench, policy: tuple[str, dict[str, int]]) -> None:
    service = bench.service(policy=policy)
    service.report(0, backlog=50_000, service_interval=1000)
    service.report(1)
    bench.client.modify(service.binding(1, doubted=True))
    service.report(1)
    assert {service.ask(sport) for sport in range(5000, 5020)} == {0}
    bench.client.modify(service.binding(1))
    service.report(1)
    assert 1 in {service.ask(sport) for sport in range(5000, 5040)}


def test_the_host_moves_away_from_who_is_doubted(bench: Bench) -> None:
    service = bench.service(policy=("single", {"margin": 400, "dwell": 10_000_000}))
    service.report(1)
    service.report(0, cpu=900)
    assert service.ask() == 1
    bench.client.modify(service.binding(1, doubted=True))
    service.report(1)
    assert service.ask() == 0


def test_who_is_doubted_serves_when_nobody_else_does(bench: Bench) -> None:
    service = bench.service(policy=SPREAD, on_no_live=OnNoLive.DROP)
    bench.client.modify(service.binding(1, doubted=True))
    service.report(1)
    assert service.ask() == 1


@pytest.mark.parametrize("protocol", ["udp", "tcp"])
def test_what_its_own_node_had_sent_is_told_apart(bench: Bench, protocol: str) -> None:
    service = bench.service(protocol=protocol, affinity=1)
    service.report(1)

    def request(source: str, sport: int) -> Packet:
        return (
            service.datagram(source=source, sport=sport)
            if protocol == "udp"
            else service.segment("S", source=source, sport=sport)
        )

    for sport in (5000, 5000, 5001):
        assert bench.exchange(node_port(1), request(node_address(1), sport)) is not None
    assert bench.exchange(node_port(0), request(node_address(0), 5000)) is not None
    assert (service.probe(1)["own"], service.probe(0)["own"]) == (3, 0)
