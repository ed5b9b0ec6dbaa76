"""The flow store is two-way with the exact key: what hashes alike does not mix, and a live entry stays."""

import itertools
import socket
import struct
import zlib

import pytest

from tests.packet.bench import Bench
from tests.packet.layout import CLIENT
from tests.packet.service import Service

SECOND = 1_000_000
FIRST = int.from_bytes(socket.inet_aton(CLIENT), "big") << 16 | 5000
FREE_BITS = 48
"""Of a flow's key: the source's address and port, which whoever sends can choose."""
pytestmark = pytest.mark.frozen


def key(service: Service, source: int) -> bytes:
    """A flow's key; `source` is its address and port."""
    address, port = source >> 16, source & 0xFFFF
    protocol = {"udp": 17, "tcp": 6}[service.protocol]
    return struct.pack(
        "!BBI4sHH", service.index, protocol, address, socket.inet_aton(service.address), port, service.port
    )


def slots(service: Service, source: int) -> int:
    """Where a flow hashes to, in both ways."""
    return zlib.crc32(key(service, source))


def alike(service: Service, source: int, count: int) -> list[int]:
    """Other sources whose flows hash to the same slots in both ways: checksums are linear, so they can be computed."""
    basis: dict[int, tuple[int, int]] = {}
    found: list[int] = []
    for bit in range(FREE_BITS):
        change, effect = 1 << bit, slots(service, source ^ 1 << bit) ^ slots(service, source)
        while effect:
            lead = effect.bit_length()
            if lead not in basis:
                basis[lead] = change, effect
                break
            change, effect = change ^ basis[lead][0], effect ^ basis[lead][1]
        else:
            found.append(source ^ change)
    assert all(slots(service, other) == slots(service, source) for other in found[:count])
    return found[:count]


def hashing_to(service: Service, slot: int) -> int:
    """A source whose flow hashes to this slot in the first way."""
    return next(source for source in itertools.count(FIRST) if zlib.crc32(key(service, source)) & 0xFFFF == slot)


def ask(service: Service, source: int) -> int | None:
    """The member that a datagram from this source is steered to."""
    packet = service.datagram(source=socket.inet_ntoa(struct.pack("!I", source >> 16)), sport=source & 0xFFFF)
    return service.member_of(packet)


def test_three_flows_that_hash_alike(bench: Bench) -> None:
    service = bench.service(affinity=1, policy=("spread", {"load_penalty": 31}), members=8, idle_after=1.0)
    for member in (0, 1):
        service.report(member, backlog=SECOND + member * SECOND // 2, service_interval=SECOND)
    first = FIRST
    second, third = alike(service, first, 2)
    assert [ask(service, first), ask(service, second)] == [0, 1]
    with bench.counts("events", "NO_SLOT", 4):
        drawn = {ask(service, third) for _ in range(4)}
    assert len(drawn) == 1, "all packets of a flow without a slot go alike"
    assert (service.probe(0)["sent"], service.probe(1)["sent"]) == (1, 1)
    # Neither was pushed out, nor taken for the other.
    assert [ask(service, first), ask(service, second)] == [0, 1]
    # The third gets the place of one that has expired, and is new work then.
    for _ in range(3):
        bench.pass_time(0.45)
        assert ask(service, second) == 1
    assert ask(service, third) in (0, 1)
    assert service.probe(0)["sent"] + service.probe(1)["sent"] == 3
    with bench.counts("events", "NO_SLOT"):
        ask(service, first)
    assert ask(service, second) == 1


@pytest.mark.parametrize("ending", ["FA", "R"])
def test_an_ended_connection_gives_its_place_away_after_ten_seconds(bench: Bench, ending: str) -> None:
    service = bench.service(protocol="tcp", affinity=1, idle_after=30, stale_after=90)
    service.report(0)

    def say(source: int, flags: str) -> None:
        address = socket.inet_ntoa(struct.pack("!I", source >> 16))
        assert service.member_of(service.segment(flags, source=address, sport=source & 0xFFFF)) == 0

    ended, open_, *newcomers = FIRST, *alike(service, FIRST, 4)
    for source in (ended, open_):
        say(source, "S")
        say(source, "A")
    say(ended, ending)
    bench.pass_time(9.9)
    with bench.counts("events", "NO_SLOT"):
        say(newcomers[0], "S")
    bench.pass_time(0.2)
    with bench.counts("events", "NO_SLOT", 0):
        say(newcomers[1], "S")
    with bench.counts("events", "NO_SLOT"):
        say(newcomers[2], "S")


def test_what_is_not_remembered_takes_nobodys_place(bench: Bench) -> None:
    # Slot 0 is where anything would go that has been given none.
    service = bench.service(affinity=1)
    service.report(0)
    service.report(1)
    source = hashing_to(service, 0)
    assert ask(service, source) == 0
    service.report(1)
    service.report(0, cpu=1000)
    loose = bench.service(affinity=0)
    loose.report(1)
    assert loose.ask() == 1
    taken, other, third = FIRST, *alike(service, FIRST, 2)
    with bench.counts("events", "NO_SLOT"):
        assert [ask(service, flow) for flow in (taken, other, third)] == [1, 1, 1]
    assert ask(service, source) == 0
