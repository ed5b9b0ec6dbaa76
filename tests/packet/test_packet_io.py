"""Packet-out and packet-in: send, inject, probe, and what is routed to the CPU port."""

import pytest
from scapy.layers.inet import IP, UDP, IPOption_NOP
from scapy.layers.l2 import Ether

from tests.packet.bench import Bench
from tests.packet.layout import CLIENT, CLIENT_PORT, SWITCH_MAC, node_address, node_mac, node_port
from tests.packet.p4runtime import entry
from tests.packet.test_tunnel import tunnel_end

SEND, PROBE, INJECT = 0, 1, 2
CPU_PORT = 510


def test_send_puts_a_frame_out_of_a_port_as_it_is(bench: Bench) -> None:
    frame = bytes(range(60))
    bench.wires.flush()
    bench.client.packet_out(frame, op=SEND, port=3, service=0, member=0)
    assert bench.receive() == (3, frame)


@pytest.mark.parametrize("what", ["a wrong checksum", "options", "a tunnel's packet"])
def test_send_mends_steers_and_unwraps_nothing(bench: Bench, what: str) -> None:
    packet = IP(src="10.0.0.253", dst=node_address(0), ttl=9)
    if what == "a wrong checksum":
        packet = packet / UDP() / bytes(20)
        packet.chksum = 0x1234
    elif what == "options":
        packet.options = [IPOption_NOP()] * 4
    else:
        bench.client.insert(*tunnel_end(bench))
        packet = packet / IP(src=CLIENT, dst=node_address(1)) / bytes(20)
    frame = bytes(Ether(src=SWITCH_MAC, dst=SWITCH_MAC) / packet)
    bench.wires.flush()
    bench.client.packet_out(frame, op=SEND, port=3, service=0, member=0)
    assert bench.receive() == (3, frame)


def test_inject_treats_a_frame_as_if_it_had_come_from_a_port(bench: Bench) -> None:
    service = bench.service()
    bench.client.packet_out(
        bytes(service.report_frame(1, service.payload(1))), op=INJECT, port=node_port(1), service=0, member=0
    )
    bench.wires.flush()
    bench.client.packet_out(bytes(service.datagram()), op=INJECT, port=CLIENT_PORT, service=0, member=0)
    out = bench.receive()
    assert out is not None
    assert (out[0], out[1][:6].hex(":")) == (node_port(1), node_mac(1))
    with bench.drops_one("REPORT_UNBOUND"):
        bench.client.packet_out(
            bytes(service.report_frame(1, service.payload(1))), op=INJECT, port=CLIENT_PORT, service=0, member=0
        )


def test_an_injected_packet_can_go_round(bench: Bench) -> None:
    service = bench.service()
    service.report(0)
    service.report(1)
    bench.client.delete(service.instance(0))
    bench.wires.flush()
    bench.client.packet_out(bytes(service.datagram()), op=INJECT, port=CLIENT_PORT, service=0, member=0)
    out = bench.receive()
    assert out is not None
    assert (out[0], out[1][:6].hex(":")) == (node_port(1), node_mac(1))
    assert out[1][34:] == bytes(service.datagram())[34:]


def test_an_injected_frame_is_checked_like_any_other(bench: Bench) -> None:
    service = bench.service()
    service.report(0)
    with bench.drops_one("LENGTH"):
        bench.client.packet_out(bytes(service.datagram(b"12345"))[:-1], op=INJECT, port=1, service=0, member=0)


@pytest.mark.parametrize(
    "metadata",
    [
        (3, 1, 0, 0),
        (255, 1, 0, 0),
        (SEND, CPU_PORT + 1, 0, 0),
        (SEND, 512 + CLIENT_PORT, 0, 0),
        (INJECT, 512 + CLIENT_PORT, 0, 0),
        (PROBE, 0, 256, 0),
        (PROBE, 0, 1, 64),
    ],
)
def test_a_packet_out_that_asks_for_nothing_known_is_dropped(bench: Bench, metadata: tuple[int, int, int, int]) -> None:
    op, port, service, member = metadata
    with bench.drops_one("PACKET_OUT"):
        bench.client.packet_out(b"x" * 60, op=op, port=port, service=service, member=member)


def test_a_probe_of_nobody_says_so(bench: Bench) -> None:
    told = bench.probe(255, 63)
    assert told.pop("now") > 0
    assert told == {
        "op": 1, "port": 0, "service": 255, "member": 63, "status": 0, "eligible": 0, "rank": 0, "age": 2**48 - 1,
        "epoch": 0, "sequence": 0, "sent": 0, "own": 0, "received": 0, "held": 0, "host": 0xFFFF,
        "best": 0xFFFF, "best_rank": 0, "evidence": 0, "since": 0, "cpu": 0, "cpu_own": 0, "memory": 0,
        "queue_depth": 0, "backlog": 0, "service_interval": 0,
    }  # fmt: skip


def test_a_probe_tells_what_the_switch_believes(bench: Bench) -> None:
    service = bench.service()
    service.report(2, epoch=7, sequence=70, cpu=10)
    service.report(3, epoch=8, sequence=80, cpu=20, received=9, queue_depth=65535, in_flight=2)
    assert [service.ask() for _ in range(3)] == [2, 2, 2]
    told = service.probe(3)
    assert (told["epoch"], told["sequence"], told["rank"], told["sent"]) == (8, 80, 65535 - 20, 0)
    assert (told["received"], told["held"]) == (9, 65537)
    assert (told["host"], told["best"], told["best_rank"]) == (2, 2, 65535 - 10)
    assert service.probe(2)["sent"] == 3
    assert service.probe(3)["now"] > told["now"]


@pytest.mark.parametrize("payload", [b"", b"token", bytes(100)])
def test_a_probe_brings_its_payload_back(bench: Bench, payload: bytes) -> None:
    bench.probe(1, 1, payload)


def test_a_route_to_the_cpu_port_hands_packets_to_the_client(bench: Bench) -> None:
    service = bench.service()
    frame = service.datagram()
    frame["IP"].dst = "10.77.0.1"
    bench.client.insert(
        entry(
            "routes",
            "forward",
            match={"address": "10.77.0.0/16"},
            port=CPU_PORT,
            source=SWITCH_MAC,
            destination=SWITCH_MAC,
        )
    )
    bench.send(3, frame)
    told = bench.client.packet_in()
    assert told is not None
    assert (told["op"], told["port"], told["status"]) == (0, 3, 0)
    assert told.payload[34:] == bytes(frame)[34:]
