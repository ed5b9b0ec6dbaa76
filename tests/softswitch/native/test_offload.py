"""What hosts leave to a network card, done by the runtime: against scapy, which builds the same packets whole."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from ctypes import POINTER, c_bool, c_char_p, c_uint8, c_uint16, c_uint32
from typing import ClassVar

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrHopByHop
from scapy.layers.l2 import Dot1Q, Ether
from scapy.layers.sctp import SCTP, SCTPChunkData
from scapy.layers.vxlan import VXLAN
from scapy.packet import Packet, Raw
from scapy.utils import checksum
from softswitch.codegen.cc import Compiler

NEEDS_CHECKSUM = 1
TCPV4, TCPV6, UDP_L4 = 1, 4, 5
PLACES = {TCP: (16, 2), UDP: (6, 2), SCTP: (8, 4)}
"""Of a transport's checksum: offset and length."""


class Offloads(ctypes.Structure):
    """`struct virtio_net_hdr`."""

    _fields_: ClassVar = [
        ("flags", c_uint8),
        ("gso_type", c_uint8),
        *((name, c_uint16) for name in ("hdr_len", "gso_size", "csum_start", "csum_offset")),
    ]


class LongFrame(ctypes.Structure):
    """`struct ss_long_frame`."""

    _fields_: ClassVar = [
        ("data", c_char_p),
        *((name, c_uint32) for name in ("length", "network", "transport", "payload", "share", "packets", "given")),
        ("version", c_uint8),
        ("protocol", c_uint8),
        ("checksum", c_bool),
    ]


@pytest.fixture(scope="module")
def native() -> ctypes.CDLL:
    library = ctypes.CDLL(str(Compiler().runtime()))
    library.ss_complete_checksum.argtypes = [c_char_p, c_uint32, c_uint32, c_uint32]
    library.ss_complete_checksum.restype = c_bool
    library.ss_long_frame_open.argtypes = [POINTER(LongFrame), c_char_p, c_uint32, POINTER(Offloads)]
    library.ss_long_frame_open.restype = c_bool
    library.ss_long_frame_next.argtypes = [POINTER(LongFrame)]
    library.ss_long_frame_next.restype = c_uint32
    library.ss_long_frame_take.argtypes = [POINTER(LongFrame), c_char_p]
    library.ss_long_frame_take.restype = None
    return library


addresses = st.integers(0, 2**32 - 1).map(lambda n: f"{n >> 24}.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}")
groups = st.lists(st.integers(0, 0xFFFF), min_size=8, max_size=8)
addresses_v6 = groups.map(lambda words: ":".join(f"{word:x}" for word in words))


@st.composite
def networks(draw: st.DrawFn) -> Packet:
    """Ethernet, perhaps tags of VLANs, and IP of either version with what may stand before the transport."""
    head = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
    for _ in range(draw(st.integers(0, 2))):
        head /= Dot1Q(vlan=draw(st.integers(0, 4095)))
    if draw(st.booleans()):
        head /= IP(src=draw(addresses), dst=draw(addresses), id=draw(st.integers(0, 0xFFFF)))
        head[IP].options = [b"\x01\x01\x01\x01"] * draw(st.integers(0, 2))
        return head
    head /= IPv6(src=draw(addresses_v6), dst=draw(addresses_v6))
    return head / IPv6ExtHdrHopByHop() if draw(st.booleans()) else head


PLAIN = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / IP(src="10.0.0.1", dst="10.0.0.2", id=0xFFFF)
PLAIN_V6 = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / IPv6(src="fd00::1", dst="fd00::2")


def start_of(packet: Packet, transport: type[Packet]) -> int:
    """Where the transport begins."""
    return len(packet) - len(packet[transport])


def whole(packet: Packet) -> tuple[bytes, Packet]:
    """A packet as bytes, all its fields filled in by scapy; and read again."""
    data = bytes(packet)
    return data, Ether(data)


def left_to_the_card(data: bytes, start: int, transport: type[Packet]) -> bytes:
    """The same with the sum of the pseudo header alone where the checksum goes, as Linux sends it."""
    offset, length = PLACES[transport]
    at = start + offset
    if transport is SCTP:
        return data[:at] + b"\x12\x34\x56\x78" + data[at + length :]
    cleared = data[:at] + bytes(length) + data[at + length :]
    body = checksum(cleared[start:]) ^ 0xFFFF
    pseudo = (int.from_bytes(data[at : at + length], "big") ^ 0xFFFF) - body
    return cleared[:at] + (pseudo % 0xFFFF).to_bytes(2, "big") + cleared[at + length :]


@given(head=networks(), transport=st.sampled_from([TCP, UDP, SCTP]), body=st.binary(max_size=1500))
def test_a_checksum_is_completed_as_scapy_computes_it(
    native: ctypes.CDLL, head: Packet, transport: type[Packet], body: bytes
) -> None:
    inner = SCTPChunkData(data=body) if transport is SCTP else Raw(body)
    wanted, packet = whole(head / transport(sport=1000, dport=2000) / inner)
    start = start_of(packet, transport)
    frame = ctypes.create_string_buffer(left_to_the_card(wanted, start, transport), len(wanted))
    assert native.ss_complete_checksum(frame, len(wanted), start, PLACES[transport][0])
    assert frame.raw == wanted


def test_a_sum_of_zero_is_sent_as_ones(native: ctypes.CDLL) -> None:
    """A UDP checksum of zero would say that there is none."""
    head = Ether() / IP(src="10.0.0.1", dst="10.0.0.2") / UDP(sport=1, dport=2)
    balance = bytes(head / bytes(2))[40:42]
    data = bytes(head / balance)
    assert data[40:42] == b"\xff\xff"
    frame = ctypes.create_string_buffer(left_to_the_card(data, 34, UDP), len(data))
    assert native.ss_complete_checksum(frame, len(data), 34, 6)
    assert frame.raw[40:42] == b"\xff\xff"


@given(data=st.binary(max_size=100), start=st.integers(0, 2**16 - 1), offset=st.integers(0, 2**16 - 1))
def test_a_place_outside_the_frame_is_refused(native: ctypes.CDLL, data: bytes, start: int, offset: int) -> None:
    frame = ctypes.create_string_buffer(data, len(data) + 1)
    inside = start + offset + 2 <= len(data)
    assert native.ss_complete_checksum(frame, len(data), start, offset) is inside
    assert inside or frame.raw[:-1] == data


def cut(native: ctypes.CDLL, data: bytes, offloads: Offloads) -> Iterator[bytes]:
    """The packets of a long frame."""
    frame = LongFrame()
    assert native.ss_long_frame_open(frame, data, len(data), offloads)
    yield from packets_of(native, frame)


def packets_of(native: ctypes.CDLL, frame: LongFrame) -> Iterator[bytes]:
    """What an open frame stands for."""
    while length := native.ss_long_frame_next(frame):
        packet = ctypes.create_string_buffer(length)
        native.ss_long_frame_take(frame, packet)
        yield packet.raw


def expected(packet: Packet, transport: type[Packet], share: int) -> Iterator[bytes]:
    """The packets by RFC 9293 and by what Linux does with flags and identification, built by scapy."""
    body = bytes(packet[transport].payload)
    parts = [body[at : at + share] for at in range(0, len(body), share)] or [b""]
    for number, part in enumerate(parts):
        one = packet.copy()
        one[transport].remove_payload()
        one = one / Raw(part) if part else one
        del one[transport].chksum
        if IP in one:
            one[IP].id = (packet[IP].id + number) & 0xFFFF
            del one[IP].len, one[IP].chksum
        else:
            del one[IPv6].plen
        if transport is TCP:
            one[TCP].seq = (packet[TCP].seq + number * share) % 2**32
            dropped = ("C" if number else "") + ("" if number == len(parts) - 1 else "FP")
            one[TCP].flags = "".join(flag for flag in str(packet[TCP].flags) if flag not in dropped)
        else:
            del one[UDP].len
        yield bytes(one)


@given(
    head=networks(),
    transport=st.sampled_from([TCP, UDP]),
    flags=st.sampled_from(["A", "PA", "FPA", "CA", "FPCEA"]),
    seq=st.integers(0, 2**32 - 1),
    share=st.integers(1, 3000),
    body=st.builds(lambda seed, times: ((seed + b"x") * times)[:8000], st.binary(max_size=60), st.integers(0, 300)),
)
@example(head=PLAIN, transport=TCP, flags="FPCEA", seq=2**32 - 1000, share=1448, body=bytes(range(256)) * 20)
@example(head=PLAIN_V6, transport=UDP, flags="A", seq=0, share=1200, body=bytes(2401))
def test_a_long_frame_is_cut_into_what_scapy_builds(
    native: ctypes.CDLL, head: Packet, transport: type[Packet], flags: str, seq: int, share: int, body: bytes
) -> None:
    share = max(share, len(body) // 40 + 1)
    options = [("Timestamp", (1, 2)), ("NOP", None), ("NOP", None)]
    upper = TCP(flags=flags, seq=seq, options=options) if transport is TCP else UDP()
    data, packet = whole(head / upper / Raw(body))
    start = start_of(packet, transport)
    kind = (TCPV4 if IP in packet else TCPV6) if transport is TCP else UDP_L4
    offloads = Offloads(NEEDS_CHECKSUM, kind, 0, share, start, PLACES[transport][0])
    partial = left_to_the_card(data, start, transport)
    assert list(cut(native, partial, offloads)) == list(expected(packet, transport, share))


def test_a_tunnels_long_frame_is_refused(native: ctypes.CDLL) -> None:
    inner = Ether() / IP(src="10.0.0.1", dst="10.0.0.2") / TCP() / Raw(bytes(5000))
    data, packet = whole(Ether() / IP(src="192.0.2.1", dst="192.0.2.2") / UDP(dport=4789) / VXLAN() / inner)
    offloads = Offloads(NEEDS_CHECKSUM, TCPV4, 0, 1400, start_of(packet, TCP), 16)
    assert not native.ss_long_frame_open(LongFrame(), data, len(data), offloads)


@given(data=st.binary(max_size=120), kind=st.integers(0, 6), share=st.integers(0, 9), start=st.integers(0, 120))
def test_a_damaged_long_frame_is_refused_or_cut_within_its_bounds(
    native: ctypes.CDLL, data: bytes, kind: int, share: int, start: int
) -> None:
    frame = LongFrame()
    if native.ss_long_frame_open(frame, data, len(data), Offloads(NEEDS_CHECKSUM, kind, 0, share, start, 16)):
        assert frame.network < frame.transport < frame.payload <= len(data)
        assert sum(len(one) - frame.payload for one in packets_of(native, frame)) == len(data) - frame.payload
