"""A flood of new connections from spoofed sources moves no live one, and what finds the store full works too.

The flood is worse than one at random: its sources are computed, so that each falls on the two slots that some live flow
may have.
"""

import random
import socket
import struct

import pytest
from scapy.layers.l2 import Ether

from tests.packet.bench import Bench
from tests.packet.layout import CLIENT, CLIENT_PORT
from tests.packet.service import Service
from tests.packet.test_affinity_store import alike

SECOND = 1_000_000
LIVE = 60
PER_SLOT = 10
"""Flood packets for each of the two slots that a live flow may have: ten times the store's size, where it matters."""
FIRST = int.from_bytes(socket.inet_aton(CLIENT), "big") << 16 | 5000
POLICIES = [("spread", {"load_penalty": 31}), ("single", {"margin": 400, "dwell": 0}), ("round_robin", {})]
pytestmark = pytest.mark.frozen


def segment(service: Service, source: int, flags: str = "S") -> bytes:
    """A segment from this source (address and port)."""
    address, port = socket.inet_ntoa(struct.pack("!I", source >> 16)), source & 0xFFFF
    return bytes(service.segment(flags, source=address, sport=port))


def member(service: Service, source: int, flags: str) -> int | None:
    """Where a segment from this source goes."""
    return service.member_of(Ether(segment(service, source, flags)))


def open_service(bench: Bench, policy: tuple[str, dict[str, int]]) -> Service:
    """A TCP service with eight members all of them ready."""
    service = bench.service(protocol="tcp", affinity=1, policy=policy, members=8)
    for number in range(8):
        service.report(number, service_interval=SECOND)
    return service


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy[0])
def test_no_live_flow_is_moved(bench: Bench, policy: tuple[str, dict[str, int]]) -> None:
    service = open_service(bench, policy)
    home = {}
    for source in range(FIRST, FIRST + LIVE):
        home[source] = member(service, source, "S")
        assert member(service, source, "A") == home[source]
    flood = [segment(service, other) for source in home for other in alike(service, source, 2 * PER_SLOT)]
    random.Random(6).shuffle(flood)
    full = bench.events("NO_SLOT")
    bench.wires.flush()
    for at in range(0, len(flood), 50):
        for frame in flood[at : at + 50]:
            bench.wires.send(CLIENT_PORT, frame)
        assert all(bench.receive() for _ in flood[at : at + 50]), "each is steered to somebody"
    # Of a live flow's two slots it has one and the flood took the other: all but one of its sources found no place.
    assert bench.events("NO_SLOT") - full >= len(flood) - LIVE
    for source, before in home.items():
        assert member(service, source, "PA") == before
    assert sum(service.probe(number)["sent"] for number in range(8)) <= 2 * LIVE


def test_a_new_connection_finds_the_store_full_and_works(bench: Bench) -> None:
    service = open_service(bench, POLICIES[0])
    service.report(3, draining=True)
    service.report(5, ready=False)
    newcomers = []
    for source in range(FIRST, FIRST + 12):
        taking, *others = alike(service, source, 4)
        assert member(service, source, "S") is not None
        assert member(service, taking, "S") is not None
        newcomers += others
    homes = set()
    for source in newcomers:
        with bench.counts("events", "NO_SLOT"):
            home = member(service, source, "S")
        homes.add(home)
        with bench.counts("events", "NO_ENTRY", 4):
            assert [member(service, source, flags) for flags in ("A", "PA", "A", "FA")] == [home] * 4
    assert homes == {0, 1, 2, 4, 6, 7}, "eligible members, and all of them"
