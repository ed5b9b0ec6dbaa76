"""The flow store is two-way with the exact key: what hashes alike does not mix, and a live entry stays."""

import socket
import struct
import time
import zlib

from tests.packet.bench import CLIENT, Bench, Service

SECOND = 1_000_000
FREE_BITS = 48
"""Of a flow's key: the source's address and port, which whoever sends can choose."""


def crc16(data: bytes) -> int:
    """CRC-16/ARC."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xA001 if crc & 1 else 0)
    return crc


def slots(service: Service, source: int) -> int:
    """Where a flow hashes to, in both ways; `source` is its address and port."""
    address, port = source >> 16, source & 0xFFFF
    protocol = {"udp": 17, "tcp": 6}[service.protocol]
    key = struct.pack(
        "!BBI4sHH", service.index, protocol, address, socket.inet_aton(service.address), port, service.port
    )
    return (zlib.crc32(key) & 0xFFFF) << 16 | crc16(key)


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


def ask(service: Service, source: int) -> int | None:
    """The member that a datagram from this source is steered to."""
    packet = service.datagram(source=socket.inet_ntoa(struct.pack("!I", source >> 16)), sport=source & 0xFFFF)
    return service.member_of(packet)


def test_three_flows_that_hash_alike(bench: Bench) -> None:
    service = bench.service(affinity=1, policy=("spread", {"load_penalty": 31}), members=8, idle_after=1.0)
    for member in (0, 1):
        service.report(member, backlog=SECOND + member * SECOND // 2, service_interval=SECOND)
    first = int.from_bytes(socket.inet_aton(CLIENT), "big") << 16 | 5000
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
        time.sleep(0.45)
        assert ask(service, second) == 1
    assert ask(service, third) in (0, 1)
    assert service.probe(0)["sent"] + service.probe(1)["sent"] == 3
    with bench.counts("events", "NO_SLOT"):
        ask(service, first)
    assert ask(service, second) == 1
