"""Capture files: what other programs wrote is read, what we write others can read, and what is broken is said."""

from __future__ import annotations

import struct
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from scapy.utils import PcapNgWriter, RawPcapNgReader, RawPcapReader, rdpcap
from softswitch.commands.pcap import PcapError, PcapReader, PcapWriter

FRAMES = [(1_700_000_000_123_456_789, b"\x02" * 60), (1_700_000_001_000_000_000, b"x"), (5_000, bytes(range(256)) * 6)]


def read(path: Path) -> list[tuple[int, bytes]]:
    """Times and bytes of a file."""
    with PcapReader(path) as packets:
        return [(p.time_ns, p.data) for p in packets]


def classic(order: str, magic: int, unit_ns: int) -> bytes:
    """A pcap file of FRAMES, by the format's text."""
    data = struct.pack(f"{order}IHHiIII", magic, 2, 4, 0, 0, 65535, 1)
    for time_ns, frame in FRAMES:
        seconds, rest = divmod(time_ns, 10**9)
        data += struct.pack(f"{order}IIII", seconds, rest // unit_ns, len(frame), len(frame)) + frame
    return data


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize(("magic", "unit"), [(0xA1B2C3D4, 1000), (0xA1B23C4D, 1)])
def test_pcap_of_either_byte_order_and_resolution(tmp_path: Path, order: str, magic: int, unit: int) -> None:
    path = tmp_path / "in.pcap"
    path.write_bytes(classic(order, magic, unit))
    assert read(path) == [(time_ns // unit * unit, frame) for time_ns, frame in FRAMES]


def test_pcapng_of_scapy(tmp_path: Path) -> None:
    path = tmp_path / "in.pcapng"
    with PcapNgWriter(str(path)) as writer:
        writer.linktype = 1
        writer.write_header(None)
        for time_ns, frame in FRAMES:
            writer.write_packet(frame, sec=Decimal(time_ns) / 10**9)
    assert len(list(RawPcapNgReader(str(path)))) == 3
    assert read(path) == [(time_ns // 1000 * 1000, frame) for time_ns, frame in FRAMES]


def block(order: str, kind: int, body: bytes) -> bytes:
    """A pcapng block."""
    body += bytes(-len(body) % 4)
    return struct.pack(f"{order}II", kind, len(body) + 12) + body + struct.pack(f"{order}I", len(body) + 12)


SECTION = block("<", 0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))


@pytest.mark.parametrize("order", "<>")
def test_pcapng_with_options_sections_and_strange_clocks(tmp_path: Path, order: str) -> None:
    def section() -> bytes:
        return block(order, 0x0A0D0D0A, struct.pack(f"{order}IHHq", 0x1A2B3C4D, 1, 0, -1))

    def interface(resolution: int, offset: int) -> bytes:
        options = struct.pack(f"{order}HHB3x", 9, 1, resolution) + struct.pack(f"{order}HHq", 14, 8, offset)
        return block(order, 1, struct.pack(f"{order}HHI", 1, 0, 0) + options + bytes(4))

    def packet(number: int, stamp: int, data: bytes, whole: int) -> bytes:
        head = struct.pack(f"{order}IIIII", number, stamp >> 32, stamp & 0xFFFFFFFF, len(data), whole)
        return block(order, 6, head + data + bytes(-len(data) % 4))

    path = tmp_path / "in.pcapng"
    content = section() + interface(9, 0) + interface(0x80 | 10, 100)
    content += packet(0, 7 * 10**9 + 1, b"nano", 4) + packet(1, 3 * 1024 + 512, b"binary", 9)
    content += block(order, 5, b"statistics..") + block(order, 3, struct.pack(f"{order}I", 6) + b"simple")
    content += section() + interface(3, 0) + packet(0, 1500, b"milli", 5)
    path.write_bytes(content)
    with PcapReader(path) as packets:
        found = [(p.time_ns, p.data, p.cut) for p in packets]
    assert found == [
        (7 * 10**9 + 1, b"nano", 0),
        (103_500_000_000, b"binary", 3),
        (103_500_000_000, b"simple", 0),
        (1_500_000_000, b"milli", 0),
    ]


def test_what_is_written_is_read_by_scapy_and_by_us(tmp_path: Path) -> None:
    path = tmp_path / "out.pcap"
    writer = PcapWriter(path)
    for time_ns, frame in FRAMES:
        writer.write(time_ns, frame)
    writer.close()
    assert read(path) == FRAMES
    reader: Any = RawPcapReader(str(path))
    assert reader.nano and reader.linktype == 1
    assert [bytes(p) for p in rdpcap(str(path))] == [frame for _, frame in FRAMES]
    assert str(rdpcap(str(path))[0].time) == "1700000000.123456789"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "neither a pcap nor a pcapng file"),
        (b"GIF89a", "neither a pcap nor a pcapng file"),
        (classic("<", 0xA1B2C3D4, 1000)[:20], "ends too early"),
        (classic("<", 0xA1B2C3D4, 1000)[:30], "ends inside a packet's header, at byte 30"),
        (classic("<", 0xA1B2C3D4, 1000)[:50], "ends too early, at byte 50"),
        (classic("<", 0xA1B2C3D4, 1000)[:24] + b"\xff" * 16, "a packet of 4294967295 bytes"),
        (b"\x0a\x0d\x0d\x0a" + bytes(40), "broken section header"),
        (SECTION + block("<", 6, bytes(20)),
         "interface 0 and no description"),
        (SECTION + block("<", 1, b""), "too short"),
        (SECTION + block("<", 1, struct.pack("<HHI", 1, 0, 0))
         + block("<", 6, struct.pack("<IIIII", 0, 0, 0, 9, 9) + b"12345678"), "a packet of 9 bytes in a block of 40"),
    ],
)  # fmt: skip
def test_broken_files_are_said(tmp_path: Path, content: bytes, sentence: str) -> None:
    path = tmp_path / "broken.pcap"
    path.write_bytes(content)
    with pytest.raises(PcapError, match=sentence) as error:
        read(path)
    assert str(path) in str(error.value)
