"""Frames as the switch reads and writes them.

In the program: parser.p4, guard.p4, checksums.p4, tunnel.p4, ping.p4, arp.p4, icmp_error.p4.
"""

import struct
from dataclasses import dataclass, replace

from hitless import words
from hitless.steering.flows import Segment
from hitless.words import (
    CAPABLE_0,
    CAPABLE_1,
    CONGESTION_EXPERIENCED,
    ETHERTYPE_ARP,
    ETHERTYPE_IPV4,
    ETHERTYPE_VLAN,
    ICMP_BYTES,
    ICMP_ECHO,
    ICMP_ERROR_BYTES,
    ICMP_PARAMETER,
    ICMP_TIME_EXCEEDED,
    ICMP_UNREACHABLE,
    INVOCATION_BYTES,
    NOT_CAPABLE,
    OWN_TTL,
    QUOTED_BYTES,
    REPORT_BYTES,
    UDP_BYTES,
    VLAN_BYTES,
    Unreachable,
)
from hitless.words import ETHERNET_BYTES as ETHERNET
from hitless.words import IPV4_BYTES as IPV4
from hitless.words import PROTOCOL_ICMP as ICMP
from hitless.words import PROTOCOL_IPIP as IPIP
from hitless.words import PROTOCOL_TCP as TCP
from hitless.words import PROTOCOL_UDP as UDP

_TRANSPORT = {ICMP: ICMP_BYTES, IPIP: IPV4, TCP: 20, UDP: UDP_BYTES}
ICMP_ERRORS = (ICMP_UNREACHABLE, ICMP_TIME_EXCEEDED, ICMP_PARAMETER)
REPORT_MAGIC = words.REPORT_MAGIC.to_bytes(2)
INVOCATION_MAGIC = words.INVOCATION_MAGIC.to_bytes(2)


class Refused(Exception):
    """The frame is dropped; the argument is the drop reason's name."""


class Told(Refused):
    """The frame is dropped, and its sender is told why, if it may be."""

    def __init__(self, reason: str, packet: "Packet", code: Unreachable | None = None) -> None:
        super().__init__(reason)
        self.packet = packet
        """What could not go on."""
        self.code = code
        """Of "destination unreachable"; None: time exceeded."""


@dataclass(frozen=True, slots=True)
class Quote:
    """The packet that an ICMP error is about."""

    protocol: int
    source: int
    destination: int
    source_port: int
    destination_port: int


@dataclass(frozen=True, slots=True)
class Packet:
    """A frame with IPv4 in it that Guard let pass."""

    frame: bytes
    protocol: int
    source: int
    destination: int
    ttl: int
    source_port: int = 0
    """Of TCP or UDP, zero for others and for fragments."""
    destination_port: int = 0
    segment: Segment | None = None
    payload: bytes | None = None
    """From a report's or an invocation's header on, if there is one."""
    datagram: bool = False
    """A whole UDP datagram."""
    echo: bool = False
    """An ICMP echo request."""
    quote: Quote | None = None
    """What an ICMP error quotes."""
    fragment: bool = False
    later: bool = False
    """A fragment that is not the first."""
    total: int = IPV4
    """Bytes from the IPv4 header on, by the header."""
    whole: bool = False
    """It must not be fragmented."""

    @property
    def report(self) -> bytes | None:
        """A report's 52 bytes."""
        return self.payload[:REPORT_BYTES] if self.payload and self.payload[:2] == REPORT_MAGIC else None

    @property
    def invocation(self) -> bytes | None:
        """An invocation's header."""
        return self.payload[:INVOCATION_BYTES] if self.payload and self.payload[:2] == INVOCATION_MAGIC else None


def ether_type(frame: bytes) -> int:
    """The frame's type. Raises Refused for a frame without one."""
    _need(frame, ETHERNET)
    return int.from_bytes(frame[12:14], "big")


def untagged(frame: bytes) -> bytes:
    """The frame without a tag for VLAN 0 (IEEE 802.1Q) in front of ARP or IPv4. Raises Refused."""
    if ether_type(frame) != ETHERTYPE_VLAN:
        return frame
    _need(frame, ETHERNET + VLAN_BYTES)
    vlan, inside = int.from_bytes(frame[14:16]) & 0xFFF, int.from_bytes(frame[16:18])
    return frame[:12] + frame[16:] if vlan == 0 and inside in (ETHERTYPE_ARP, ETHERTYPE_IPV4) else frame


def _need(frame: bytes, size: int) -> None:
    if len(frame) < size:
        raise Refused("PARSER")


def parse(frame: bytes) -> Packet:
    """Read a frame with IPv4. Raises Refused for all that is not whole and well-formed."""
    _need(frame, ETHERNET + IPV4)
    header = frame[ETHERNET : ETHERNET + IPV4]
    total, flags, ttl, protocol = struct.unpack("!2xH2xHBB10x", header)
    plain = header[0] == 0x45 and not flags & 0x3FFF
    at = ETHERNET + IPV4
    source, destination = struct.unpack("!12xII", header)
    packet = Packet(
        frame,
        protocol,
        source,
        destination,
        ttl,
        fragment=bool(flags & 0x3FFF),
        later=bool(flags & 0x1FFF),
        total=total,
        whole=bool(flags & 0x4000),
    )
    if plain and protocol in _TRANSPORT:
        _need(frame, at + _TRANSPORT[protocol])
        packet = _transport(packet, frame[at:])
    elif header[0] == 0x45 and not packet.later and total >= IPV4 + QUOTED_BYTES:
        _need(frame, at + QUOTED_BYTES)
    if header[0] != 0x45:
        raise Refused("OPTIONS")
    if checksum(header) != 0 or header[10:12] == b"\xff\xff":
        raise Refused("CHECKSUM")
    if total < IPV4 or total + ETHERNET > len(frame) or (plain and not _fits(protocol, total, frame[at:])):
        raise Refused("LENGTH")
    if frame[0] & 1:
        raise Refused("MULTICAST")
    return packet


def _transport(packet: Packet, body: bytes) -> Packet:
    """With what steering sees above IPv4."""
    if packet.protocol == IPIP:
        if packet.total >= IPV4 + IPV4 + QUOTED_BYTES:
            _need(body, IPV4 + QUOTED_BYTES)
        return packet
    if packet.protocol == ICMP:
        return replace(packet, echo=body[:2] == b"\x08\x00", quote=_quote(packet, body))
    source, destination = struct.unpack_from("!HH", body)
    packet = replace(packet, source_port=source, destination_port=destination)
    if packet.protocol == TCP:
        return replace(packet, segment=Segment(bool(body[13] & 2), bool(body[13] & 16), bool(body[13] & 5)))
    packet = replace(packet, datagram=True)
    length = int.from_bytes(body[4:6], "big")
    if length < 8 + INVOCATION_BYTES:
        return packet
    _need(body, 10)
    size = {REPORT_MAGIC: REPORT_BYTES * (length == 8 + REPORT_BYTES), INVOCATION_MAGIC: INVOCATION_BYTES}.get(
        body[8:10]
    )
    if not size:
        return packet
    _need(body, 8 + size)
    return replace(packet, payload=body[8:])


def _quote(packet: Packet, body: bytes) -> Quote | None:
    if body[0] not in ICMP_ERRORS or packet.total < ICMP_ERROR_BYTES:
        return None
    _need(body, 8 + IPV4)
    fragment, protocol = struct.unpack_from("!HxB", body, 8 + 6)
    if body[8] != 0x45 or fragment & 0x1FFF or protocol not in (TCP, UDP):
        return None
    _need(body, 8 + IPV4 + 8)
    return Quote(protocol, *struct.unpack_from("!IIHH", body, 8 + 12))


def _fits(protocol: int, total: int, body: bytes) -> bool:
    """Whether the lengths agree with one another."""
    if protocol == ICMP:
        return total >= IPV4 + 8
    if protocol == TCP:
        words = body[12] >> 4
        return words >= 5 and total >= IPV4 + 4 * words
    if protocol == UDP:
        return 8 <= int.from_bytes(body[4:6], "big") <= total - IPV4
    return True


def checksum(data: bytes) -> int:
    """RFC 1071, of an even number of bytes."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _with_checksum(header: bytes) -> bytes:
    blank = header[:10] + bytes(2) + header[12:]
    return blank[:10] + checksum(blank).to_bytes(2, "big") + blank[12:]


def forwarded(packet: Packet, source_mac: int, destination_mac: int) -> Packet:
    """The packet after a routed hop: MACs set, TTL less one, layer 4 untouched."""
    header = packet.frame[ETHERNET : ETHERNET + IPV4]
    header = _with_checksum(header[:8] + bytes([packet.ttl - 1]) + header[9:])
    macs = destination_mac.to_bytes(6, "big") + source_mac.to_bytes(6, "big")
    frame = macs + packet.frame[12:ETHERNET] + header + packet.frame[ETHERNET + IPV4 :]
    return replace(packet, frame=frame)


def echo_reply(packet: Packet) -> bytes:
    """The answer to an echo request. Raises Refused for anything else."""
    if not packet.echo:
        raise Refused("ICMP")
    frame = packet.frame
    header = frame[ETHERNET : ETHERNET + IPV4]
    header = _with_checksum(header[:8] + bytes([OWN_TTL]) + header[9:12] + header[16:20] + header[12:16])
    total = int.from_bytes(frame[36:38], "big") + 0x0800
    mended = (total + (total >> 16)) & 0xFFFF
    return frame[6:12] + frame[:6] + frame[12:14] + header + b"\0\0" + mended.to_bytes(2, "big") + frame[38:]


def encapsulated(packet: Packet, source: int, destination: int) -> bytes:
    """The frame with an outer header (RFC 2003); nothing else changed."""
    tos = packet.frame[ETHERNET + 1]
    outer = struct.pack("!BBHHHBBHII", 0x45, tos, packet.total + IPV4, 0, 0x4000, OWN_TTL, IPIP, 0, source, destination)
    return packet.frame[:ETHERNET] + _with_checksum(outer) + packet.frame[ETHERNET:]


def decapsulated(packet: Packet) -> Packet:
    """What the outer header held. Raises Refused."""
    if packet.fragment:
        raise Refused("FRAGMENT")
    header = packet.frame[ETHERNET + IPV4 : ETHERNET + 2 * IPV4]
    total, flags, ttl, protocol, source, destination = struct.unpack("!2xH2xHBB2xII", header)
    if header[0] != 0x45:
        raise Refused("OPTIONS")
    if checksum(header) != 0:
        raise Refused("CHECKSUM")
    if total < IPV4 or total + IPV4 > packet.total:
        raise Refused("LENGTH")
    inner = Packet(
        packet.frame[:ETHERNET] + _with_checksum(header) + packet.frame[ETHERNET + 2 * IPV4 :],
        protocol,
        source,
        destination,
        ttl,
        fragment=bool(flags & 0x3FFF),
        later=bool(flags & 0x1FFF),
        total=total,
    )
    if ttl <= 1:
        raise Told("TTL", inner)
    marked = _with_checksum(_marked(header, packet.frame[ETHERNET + 1] & 3))
    return replace(inner, frame=inner.frame[:ETHERNET] + marked + inner.frame[ETHERNET + IPV4 :])


def _marked(header: bytes, mark: int) -> bytes:
    """An IPv4 header with what was marked on its tunnel's (RFC 6040). Raises Refused."""
    own = header[1] & 3
    if mark == CONGESTION_EXPERIENCED and own == NOT_CAPABLE:
        raise Refused("CONGESTION")
    if mark == CONGESTION_EXPERIENCED or (mark, own) == (CAPABLE_1, CAPABLE_0):
        own = mark
    return header[:1] + bytes([header[1] & ~3 | own]) + header[2:]


def may_be_told(packet: Packet) -> bool:
    """Whether a router may send an ICMP error about it (RFC 1812, 4.3.2.7)."""
    quoted = packet.frame[ETHERNET + IPV4 :]
    return (
        packet.total >= IPV4 + QUOTED_BYTES
        and not packet.later
        and packet.destination >> 29 != 7
        and (packet.protocol != ICMP or quoted[0] == ICMP_ECHO)
    )


def icmp_error(packet: Packet, source: int, code: Unreachable | None, rest: int = 0) -> bytes:
    """What the packet's sender is told by `source`: its destination is unreachable, or without a code its time over."""
    frame = packet.frame
    outer = struct.pack("!BBHHHBBHII", 0x45, 0, ICMP_ERROR_BYTES, 0, 0, OWN_TTL, ICMP, 0, source, packet.source)
    kind = ICMP_TIME_EXCEEDED if code is None else ICMP_UNREACHABLE
    notice = struct.pack("!BBHI", kind, code or 0, 0, rest) + frame[ETHERNET : ETHERNET + IPV4 + QUOTED_BYTES]
    notice = notice[:2] + checksum(notice).to_bytes(2, "big") + notice[4:]
    return frame[6:12] + frame[:6] + frame[12:14] + _with_checksum(outer) + notice


@dataclass(frozen=True, slots=True)
class Question:
    """An ARP request for IPv4 over Ethernet."""

    frame: bytes
    sender: int
    target: int

    def answer(self, mac: int) -> bytes:
        """The reply that `mac` has the address."""
        hardware = mac.to_bytes(6, "big")
        frame = self.frame
        body = frame[14:20] + b"\0\x02" + hardware + frame[38:42] + frame[22:28] + frame[28:32] + frame[42:]
        return frame[6:12] + hardware + frame[12:14] + body


def sender(frame: bytes) -> int:
    """Who sends an ARP frame. Raises Refused."""
    _need(frame, ETHERNET + 28)
    return int.from_bytes(frame[28:32])


def question(frame: bytes) -> Question:
    """Read an ARP frame. Raises Refused for what is no request, or only announces its sender."""
    asked = Question(frame, *struct.unpack_from("!I6xI", frame, 28))
    if frame[14:22] != b"\0\x01\x08\0\x06\x04\0\x01" or asked.sender == asked.target:
        raise Refused("ARP")
    return asked
