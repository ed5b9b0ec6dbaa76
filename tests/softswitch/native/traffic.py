"""Packets that drive the programs of `../programs` through all they do; the same seed gives the same packets."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from dataclasses import dataclass, field

from finsy.proto import p4i, p4r
from softswitch.bmv2.match import Exact, Lpm, Ternary

from tests.softswitch.native.writes import Entry, Replicas, Writes
from tests.softswitch.p4runtime.client import Names
from tests.softswitch.p4runtime.entities import insert, modify
from tests.softswitch.p4runtime.test_action_profiles import entry, group, member
from tests.softswitch.p4runtime.test_meters import config
from tests.softswitch.p4runtime.test_value_sets import members

PORT = 1


@dataclass(frozen=True)
class Traffic:
    """Packets with their ports, and the multicast groups and clone sessions they need."""

    packets: list[tuple[int, bytes]]
    groups: Replicas = field(default_factory=dict)
    sessions: Replicas = field(default_factory=dict)


def internet_checksum(data: bytes) -> int:
    """RFC 1071."""
    padded = data + bytes(len(data) % 2)
    total: int = sum(struct.unpack(f">{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def parsing(rng: random.Random, count: int) -> Traffic:
    """Every parser state, short packets, full stacks, bad lengths."""
    types = [0x1000, 0x2000, 0x20FF, 0x3000, 0x30FF, 0x4000, 0x5000, 0x6000, 0x6010, 0x6123, 0x6124, 0x6456, 0x7000]
    packets = []
    for _ in range(count):
        kind, source = rng.choice(types), rng.choice([0, 1, 2, 3, 6])
        body = rng.randbytes(rng.choice([0, 1, 2, 3, 5, 8, 12, 20, 40]))
        if kind == 0x1000 or rng.random() < 0.3:
            hops = [rng.choice([0x7F, 0x3F, 5, 0x7FFF]) for _ in range(rng.randrange(1, 6))]
            hops[-1] |= 0x8000
            body = struct.pack(f">{len(hops)}H", *hops) + body
        if kind >> 8 == 0x20:
            body = bytes([rng.randrange(11)]) + body
        if kind >> 8 == 0x30 and rng.random() < 0.5:
            body = b"\xbe\xef\x07" + body
        if kind == 0x5000 and rng.random() < 0.5:
            body = rng.randbytes(2) + b"\x07" + body
        data = rng.randbytes(6) + bytes(5) + bytes([source]) + struct.pack(">H", kind) + body
        packets.append((PORT, data[: rng.randrange(1, 14)] if rng.random() < 0.1 else data))
    return Traffic(packets)


def matching(rng: random.Random, count: int) -> Traffic:
    """Keys around the edges of the const entries."""
    prefixes = [0x0A000000, 0x0A0A0000, 0x0A0A0A01, 0x0A0B0000, 0x0B000000, 0, 5, 10, 11]
    wide = [0x0123456789ABCDEF0011223344556677, 0, 2**128 - 1]
    packets = []
    for _ in range(count):
        b = rng.choice([0x1234, 0x1200, 0x12FF, 99, 100, 150, 175, 200, 250, 300, 301])
        head = struct.pack(
            ">BBHI", rng.choice([0, 1, 2, 3, 4]), rng.choice([0, 1, 2, 3, 5, 7, 8]), b, rng.choice(prefixes)
        )
        packets.append((PORT, head + rng.choice(wide).to_bytes(16, "big") + rng.randbytes(rng.randrange(5))))
    return Traffic(packets)


def copies(rng: random.Random, count: int) -> Traffic:
    """Every way to copy, repeat, cut or drop a packet."""
    packets = []
    for _ in range(count):
        op = rng.randrange(12)
        limits = {1: (1, 4), 2: (0, 6), 6: (0, 60), 7: (0, 6), 8: (1, 4), 10: (1, 4)}
        head = struct.pack(">BBH", op, rng.randrange(*limits.get(op, (0, 256))), rng.randrange(4))
        packets.append((PORT, head + rng.randbytes(rng.randrange(40))))
    return Traffic(packets, {1: [(2, 10), (3, 11), (4, 12)], 2: [(2, 0)]}, {1: [(5, 0)], 2: [(6, 3), (7, 4)]})


def state(rng: random.Random, count: int) -> Traffic:
    """Registers, counters, hashes, checksums right and wrong, exit, odd widths. No index out of range: a BMv2 built
    without assertions does not check it."""
    packets = []
    for _ in range(count):
        op, index = rng.choice([1, 2, 3, 4, 6, 7, 9, 10, 20, 21, 22, 30]), rng.choice([0, 1, 2, 3])
        value = rng.choice([rng.randbytes(6), bytes(6), b"\xff" * 6, b"\0\0\0\0\0\x05"])
        head = struct.pack(">BI", op, index) + value + rng.randbytes(1)
        if op in (20, 21, 22):
            payload = rng.randbytes(rng.randrange(30))
            wrong = int(rng.random() < 0.3)
            sums = internet_checksum(head) ^ wrong, internet_checksum(head[:5] + payload) ^ wrong * 2
            packets.append((PORT, head + struct.pack(">HHB", *sums, 0) + payload))
        else:
            packets.append((PORT, head + rng.randbytes(rng.choice([39, 40, 50]) if op == 30 else rng.randrange(10))))
    return Traffic(packets)


def indirect(rng: random.Random, count: int) -> Traffic:
    """Hits and misses in every indirect table, and many hashes."""
    return Traffic(
        [
            (
                PORT,
                struct.pack(">BBHI", rng.randrange(1, 5), rng.randrange(6), rng.getrandbits(16), rng.getrandbits(32)),
            )
            for _ in range(count)
        ]
    )


def metered(rng: random.Random, count: int) -> Traffic:
    """Every meter, the ageing table, members of value sets and others, short packets."""
    packets = []
    for _ in range(count):
        head = bytes([rng.randrange(1, 9), rng.randrange(4)])
        rest = rng.choice([b"", b"\x11", b"\x11\x11", b"\x22\x22", b"\x22\x2f", b"\x34\x56"])
        packets.append((PORT, head + rest + rng.randbytes(rng.randrange(30))))
    return Traffic(packets)


def _indirect_entries(names: Names) -> list[p4r.Update]:
    writes = Writes(names.p4info)
    made = [insert(member(names, "shared", 1 + i, "send", 4 + i, 50 + i)) for i in range(8)]
    made += [insert(member(names, "spread", 1 + i, "answer", i)) for i in range(6)]
    made += [insert(member(names, "skewed", 1 + i, "send", 4 + i, 90 + i)) for i in range(7)]
    made.append(insert(group(names, 1, (1, 1), (2, 1), (3, 1), (6, 2), size=6)))
    made.append(modify(group(names, 1, *((1 + i, 1) for i in range(6)), size=6)))
    made.append(insert(group(names, 2)))
    made.append(insert(group(names, 1, *((1 + i, 1) for i in range(7)), profile="skewed")))
    second = writes.entity(Entry("I.second", (Ternary(0, 1),), 3))
    second.table_entry.action.action_profile_member_id = 6
    skewing = writes.entity(Entry("I.skewing", (Lpm(0, 6),)))
    skewing.table_entry.action.action_profile_group_id = 1
    made += [insert(entry(names, "first", 1, to_member=8)), insert(second), insert(skewing)]
    made += [insert(entry(names, "spreading", key, to_group=key)) for key in (1, 2)]
    return [*made, insert(entry(names, "spreading", 3, to_member=4))]


def _metered_entries(names: Names) -> list[p4r.Update]:
    for value_set in names.p4info.value_sets:
        for field_ in value_set.match:
            field_.match_type = p4i.MatchField.TERNARY
    writes = Writes(names.p4info)
    first, second = (writes.entity(Entry("I.metered", (Exact(key),), 0, "I.mark", (10 - key,))) for key in (1, 2))
    first.table_entry.counter_data.packet_count, first.table_entry.counter_data.byte_count = 3, 4
    first.table_entry.meter_config.CopyFrom(config((0, 10, 0, 20)))
    second.table_entry.meter_counter_data.SetInParent()
    return [
        insert(first),
        insert(second),
        insert(writes.entity(Entry("I.ageing", (Ternary(1, 1),), 2, "I.answer", (7,)))),
        modify(members(names, "deep", ((5, 255),), ((6, 254),))),
        modify(members(names, "pairs", ((2, 15), (0x222, 0xFFF)), ((3, 15), None))),
    ]


def written(program: str) -> tuple[Names, list[p4r.Update]]:
    """A program, and what its tables hold for its traffic."""
    names = Names.of(program)
    make = {"indirect": _indirect_entries, "metered": _metered_entries}.get(program)
    return names, make(names) if make is not None else []


MAGIC = 0x123456789ABCDEF00FEDCBA9876543210000111122223333444455556666777


def wide(rng: random.Random, count: int) -> Traffic:
    """Numbers of hundreds of bits: random, and at the ends of what fits."""

    def number(width: int, *special: int) -> int:
        few = [0, 1, 3, (1 << width) - 1, 1 << (width - 1), (1 << (width - 1)) - 1, 1 << 64, (1 << 128) - 1, *special]
        return rng.choice([rng.getrandbits(width), rng.getrandbits(width), rng.choice(few) % (1 << width)])

    packets = []
    for _ in range(count):
        op = rng.randrange(1, 18)
        amount = rng.choice([0, 1, 7, 63, 64, 65, 128, 159, 160, 202, 203, 255, rng.randrange(256)])
        b = number(256, MAGIC, 0x77, 0x12 << 248)
        bits = rng.choice([0, 1, 2, 5]) << 203 | number(203, 1 << 150)
        bits = (bits << 10 | rng.getrandbits(10)) << 160 | number(160)
        head = bytes([op, amount]) + (bits << 256 | b).to_bytes(79, "big")
        packets.append(
            (PORT, head + (bytes(16) + b"\1" if rng.random() < 0.3 else b"") + rng.randbytes(rng.randrange(40)))
        )
    return Traffic(packets)


def unions(rng: random.Random, count: int) -> Traffic:
    """Every operation on every kind of packet, options of every length, too many of them, cut packets."""

    def option() -> bytes:
        kind = rng.choice([1, 2, 3])
        if kind == 1:
            return bytes([1, rng.choice([0xEE, rng.randrange(256)])])
        if kind == 2:
            return b"\2" + rng.randbytes(4)
        return text()

    def text() -> bytes:
        length = rng.choice([0, 1, 2, 3, 8, 9])
        return bytes([3, length]) + rng.choice([bytes(length), b"\7" * length, rng.randbytes(length)]) + b"\xee"

    packets = []
    for _ in range(count):
        op, kind, arg = rng.choice([*range(1, 16), 19]), rng.randrange(1, 8), rng.randrange(5)
        body = b"".join(option() for _ in range(arg)) + rng.randbytes(rng.choice([0, 1, 9]))
        if op >= 10 or kind == 6:
            kind, one = 6, text()
            body = one + rng.choice([one, text(), bytes([3, one[1] + 1, 0]) + one[2:]])
        if kind in (3, 8, 9):
            body = text() + body
        data = bytes([op, kind, arg]) + body
        packets.append((PORT, data[: rng.randrange(1, 8)] if rng.random() < 0.1 else data))
    return Traffic(packets)


def absent(rng: random.Random, count: int) -> Traffic:
    """Headers that are there, and soon after are not."""
    fields = b"".join
    packets = []
    for _ in range(count):
        kind = rng.choice([0, 0, 1, 2, 3, 4])
        numbers = [
            [rng.choice([0, 7, rng.getrandbits(8 * size)]).to_bytes(size, "big") for size in (2, 3, 16)] for _ in "ab"
        ]
        body = {
            0: b"",
            1: fields(numbers[0]),
            2: fields(numbers[0] + numbers[1]),
            3: fields(numbers[0]),
            4: numbers[0][0][1:],
        }
        packets.append((PORT, bytes([kind, rng.choice([0, 1])]) + body[kind] + rng.randbytes(4)))
    return Traffic(packets)


GENERATORS: dict[str, Callable[[random.Random, int], Traffic]] = {
    "parsing": parsing,
    "matching": matching,
    "copies": copies,
    "state": state,
    "wide": wide,
    "unions": unions,
    "absent": absent,
}


MANAGED: dict[str, Callable[[random.Random, int], Traffic]] = {"indirect": indirect, "metered": metered}
"""Programs that do nothing much without what is `written`."""


def traffic(program: str, seed: int, count: int) -> Traffic:
    """The packets for one of the programs."""
    return (GENERATORS | MANAGED)[program](random.Random(seed), count)
