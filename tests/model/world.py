"""A small fabric for the model and the targets: entries, and frames made of bytes, which costs nothing."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from controller.switches.entries import Act, Place
from hitless.steering.flows import Share
from hitless.wire.layout import Header
from hitless.wire.report import Key, Report, tagged
from hitless.words import (
    BROADCAST,
    CPU_PORT,
    DROP_PORT,
    ETHERNET_BYTES,
    ETHERTYPE_ARP,
    ETHERTYPE_IPV4,
    ETHERTYPE_VLAN,
    INVOCATION_LAYOUT,
    INVOCATION_MAGIC,
    INVOCATION_ONCE,
    INVOCATION_VERSION,
    MEMBER_BITS,
    REPORT_ADDRESS,
    REPORT_PORT,
    SERVICE_PREFIX,
    SERVICE_PREFIX_LENGTH,
    Affinity,
)
from hitless.words import PROTOCOL_ICMP as ICMP
from hitless.words import PROTOCOL_TCP as TCP
from hitless.words import PROTOCOL_UDP as UDP
from tests.model.frames import checksum

SWITCH_MAC = 0x02000000FFFE
CLIENT_MAC = 0x020000000001
GATEWAY = 0x0A0000FE
CLIENT = 0x0A000001
FALLBACK = 0x0A000009
REPORTS = int(REPORT_ADDRESS)
CLIENT_PORT = 1
PORTS = (1, 2, 3, 4)
TO_CPU = 0x0A000300
COPIES = {1: (4,), 2: (3, 4)}
MEMBERS = (0, 1, 2, 31, 32, 63)
REMOTE, PATH_MTU = 63, 112
TUNNEL_ROOM = PATH_MTU - 20
"""Bytes of the longest packet that the path to the remote node takes."""
ETHERNET, PAYLOAD = ETHERNET_BYTES, 42
"""Where IPv4 and what is in UDP begin in a frame."""
KEYS = (Key(1, bytes(range(16))), Key(200, bytes(range(100, 116))))
SERVICE_PORT = 9000
SECOND = 1_000_000


@dataclass(frozen=True)
class Kind:
    """A service as its address has it; all else may change."""

    index: int
    protocol: int
    affinity: Affinity

    @property
    def address(self) -> int:
        """Its virtual address."""
        return int(SERVICE_PREFIX) + 0x100 + self.index

    @property
    def service_id(self) -> int:
        """Its id in reports."""
        return 1000 + self.index


BY_REQUEST = Kind(3, UDP, Affinity.REQUEST)
SERVICES = (
    Kind(1, UDP, Affinity.NONE),
    Kind(2, UDP, Affinity.FLOW),
    BY_REQUEST,
    Kind(255, TCP, Affinity.FLOW),
    Kind(4, TCP, Affinity.NONE),
)
INVOCATION = Header(INVOCATION_LAYOUT)
WAYS: tuple[dict[str, int], ...] = (
    {"fragment_count": 3},
    {"fragment_count": 1, "flags": INVOCATION_ONCE},
    {"fragment_count": 3, "flags": INVOCATION_ONCE, "deadline": 100},
    {"fragment_count": 1, "deadline": 1000},
    {"fragment_count": 1, "flags": 0xFF ^ INVOCATION_ONCE, "deadline": 2**32 - 1},
)
"""How a client may mean a request."""


def node_address(member: int) -> int:
    """Of the node that has every service's instance `member`."""
    return 0x0A000100 + member


def node_port(member: int) -> int:
    """Behind which that node is."""
    return 2 + member % 3


def fixed_entries() -> list[tuple[Place, Act]]:
    """What stays."""
    entries: list[tuple[Place, Act]] = [
        (endpoint(REPORTS, UDP, REPORT_PORT), Act("to_reports")),
        (endpoint(GATEWAY, ICMP, 0), Act("to_ping")),
        (lpm("arp", GATEWAY, 32), reply(DROP_PORT)),
        (lpm("arp", int(SERVICE_PREFIX), SERVICE_PREFIX_LENGTH), reply(DROP_PORT)),
        (lpm("arp", CLIENT, 32), reply(CLIENT_PORT)),
        (lpm("routes", CLIENT, 32), forward(CLIENT_PORT, CLIENT_MAC)),
        (lpm("routes", FALLBACK, 32), forward(4, 0x020000000009)),
        (lpm("routes", TO_CPU, 24), forward(CPU_PORT, 0x020000000300)),
        (lpm("routes", 0x0A000000, 8), Act("no_route")),
        (lpm("routes", int(SERVICE_PREFIX), SERVICE_PREFIX_LENGTH), Act("no_host")),
        *((lpm("routes", own, 32), Act("own")) for own in (GATEWAY, REPORTS)),
        (tunnel(node_address(0), GATEWAY, 32), Act("decapsulate", (("port", 4),))),
        (tunnel(node_address(0), 0, 0), Act("no_tunnel")),
        # Behind port 1 is whoever sits nowhere else, behind the others are nodes, and behind port 4 another switch.
        (speaks(CLIENT_PORT, 0, 0), speak()),
        (speaks(CLIENT_PORT, node_address(0), 24), Act("no_speaker")),
        (speaks(CLIENT_PORT, GATEWAY, 32), Act("no_speaker")),
        (speaks(4, GATEWAY, 32), speak()),
        (speaks(CPU_PORT, 0, 0), speak()),
        *((speaks(port, node_address(0), 24), speak()) for port in PORTS[1:]),
    ]
    for member in MEMBERS:
        entries.append((lpm("routes", node_address(member), 32), forward(node_port(member), 0x020000000100 + member)))
        entries.append((lpm("arp", node_address(member), 32), reply(node_port(member))))
    for service in SERVICES:
        entries.append(
            (
                endpoint(service.address, service.protocol, SERVICE_PORT),
                Act("to_service", (("service", service.index),)),
            )
        )
        entries.append((endpoint(service.address, ICMP, 0), Act("to_ping")))
        entries.append((lpm("routes", service.address, 32), Act("own")))
        for member in MEMBERS:
            key = (
                ("port", node_port(member)),
                ("address", service.address),
                ("protocol", service.protocol),
                ("service_port", SERVICE_PORT + member // 3),
            )
            entries.append(
                (Place("answers", key), Act("from_instance", (("service", service.index), ("member", member))))
            )
    return entries


def endpoint(address: int, protocol: int, port: int) -> Place:
    """A place in `endpoints`."""
    return Place("endpoints", (("address", address), ("protocol", protocol), ("port", port)))


def lpm(table: str, address: int, length: int) -> Place:
    """A place in `routes` or `arp`."""
    return Place(table, (("address", (address, length)),))


def tunnel(address: int, source: int, length: int) -> Place:
    """A place in `tunnels`: of a node, and the prefix that its packets come from."""
    return Place("tunnels", (("address", address), ("source", (source, length))))


def speaks(port: int, source: int, length: int) -> Place:
    """A place in `sources`."""
    return Place("sources", (("port", port), ("source", (source, length))))


def speak() -> Act:
    """Take what comes from there, in frames for the switch's MAC."""
    return Act("speak", (("mac", SWITCH_MAC), ("address", GATEWAY)))


def reply(home: int) -> Act:
    """Answer ARP with the switch's MAC."""
    return Act("reply", (("mac", SWITCH_MAC), ("home", home)))


def forward(port: int, mac: int) -> Act:
    """Route."""
    return Act("forward", (("port", port), ("source", SWITCH_MAC), ("destination", mac)))


def of_service(table: str, service: Kind) -> Place:
    """A service's place in one of its tables."""
    return Place(table, (("service", service.index),))


def instance(service: Kind, member: int) -> Place:
    """An instance's place."""
    return Place("instances", (("instance", service.index << MEMBER_BITS | member),))


def at_node(member: int, generation: int, path_cost: int = 0) -> Act:
    """Where an instance lives: the last one's node is behind a tunnel."""
    params, cost = (("node", node_address(member)), ("generation", generation)), ("path_cost", path_cost)
    if member == REMOTE:
        return Act("at_remote_node", (*params, ("tunnel_source", GATEWAY), ("path_mtu", PATH_MTU), cost))
    return Act("at_node", (*params, cost))


def binding(service: Kind, member: int) -> Place:
    """A binding's place."""
    key = (
        ("port", node_port(member)),
        ("source", node_address(member)),
        ("service_id", service.service_id),
        ("node_id", member + 1),
    )
    return Place("bindings", key)


def bind(
    service: Kind,
    member: int,
    generation: int,
    path_cost: int,
    copy_group: int,
    authenticate: int,
    doubted: int = 0,
) -> Act:
    """Whose reports they are."""
    return Act(
        "bind",
        (
            ("service", service.index),
            ("member", member),
            ("generation", generation),
            ("path_cost", path_cost),
            ("copy_group", copy_group),
            ("key_id", KEYS[0].id),
            ("key", int.from_bytes(KEYS[0].secret, "big")),
            ("next_key_id", KEYS[1].id),
            ("next_key", int.from_bytes(KEYS[1].secret, "big")),
            ("authenticate", authenticate),
            ("doubted", doubted),
        ),
    )


# Frames


def ethernet(ether_type: int, body: bytes, destination: int = SWITCH_MAC) -> bytes:
    """A frame from the client."""
    return struct.pack("!6s6sH", destination.to_bytes(6, "big"), CLIENT_MAC.to_bytes(6, "big"), ether_type) + body


def ipv4(source: int, destination: int, protocol: int, body: bytes, ttl: int = 64, whole: bool = False) -> bytes:
    """A frame with an IPv4 packet."""
    head = struct.pack("!BBHHHBBHII", 0x45, 0, 20 + len(body), 0, whole << 14, ttl, protocol, 0, source, destination)
    head = head[:10] + checksum(head).to_bytes(2, "big") + head[12:]
    return ethernet(ETHERTYPE_IPV4, head + body)


def udp(source_port: int, destination_port: int, payload: bytes) -> bytes:
    """A datagram without a checksum."""
    return struct.pack("!HHHH", source_port, destination_port, 8 + len(payload), 0) + payload


def tcp(source_port: int, destination_port: int, flags: int) -> bytes:
    """A segment."""
    return struct.pack("!HHIIBBHHH", source_port, destination_port, 1, 2, 0x50, flags, 1024, 0, 0)


def echo(destination: int, kind: int = 8, code: int = 0, sum_: int = 0xF7FF) -> bytes:
    """An ICMP message."""
    return ipv4(CLIENT, destination, ICMP, struct.pack("!BBHI", kind, code, sum_, 0) + b"abcd")


def arp(target: int, sender: int = CLIENT, operation: int = 1, destination: int = BROADCAST) -> bytes:
    """An ARP frame."""
    body = struct.pack("!HHBBH6sI6sI", 1, 0x0800, 6, 4, operation, bytes(6), sender, bytes(6), target)
    return ethernet(ETHERTYPE_ARP, body + bytes(18), destination)


def tagged_frame(frame: bytes, tag: int, ether_type: int | None = None) -> bytes:
    """The same with an 802.1Q tag, and perhaps with another type behind it."""
    inside = frame[12:14] if ether_type is None else ether_type.to_bytes(2)
    return frame[:12] + ETHERTYPE_VLAN.to_bytes(2) + tag.to_bytes(2) + inside + frame[14:]


def report_frame(report: Report, member: int, key: Key | None = None, flaw: int = 0) -> bytes:
    """A report as its node sends it, authenticated by a key; `flaw` is added to its last byte."""
    payload = report.encode() if key is None else tagged(report, key)
    payload = payload[:-1] + bytes([(payload[-1] + flaw) & 0xFF])
    return ipv4(node_address(member), REPORTS, UDP, udp(40000, REPORT_PORT, payload))


def mended(frame: bytes) -> bytes:
    """The same with a right checksum in what may be an IPv4 header."""
    head = frame[ETHERNET : ETHERNET + 10] + bytes(2) + frame[ETHERNET + 12 : ETHERNET + 20]
    if len(head) < 20:
        return frame
    return frame[: ETHERNET + 10] + checksum(head).to_bytes(2, "big") + frame[ETHERNET + 12 :]


def fragment(frame: bytes, part: int) -> bytes:
    """The same as if only a part of its packet: `part` is 0x2000 if there is more, plus the offset."""
    return mended(frame[: ETHERNET + 6] + part.to_bytes(2, "big") + frame[ETHERNET + 8 :])


def marked(frame: bytes, congestion: int) -> bytes:
    """The same IPv4 packet with this in the field of congestion notification."""
    return mended(frame[: ETHERNET + 1] + bytes([congestion]) + frame[ETHERNET + 2 :])


def error(frame: bytes, kind: int, code: int = 1) -> bytes:
    """An ICMP error about the answer to a request."""
    flow = frame[30:34], frame[26:30]
    quoted = frame[14:26] + flow[0] + flow[1] + frame[36:38] + frame[34:36] + frame[38:42]
    return ipv4(CLIENT, int.from_bytes(flow[0], "big"), ICMP, struct.pack("!BBHI", kind, code, 0, 0) + quoted)


def tunnelled(frame: bytes, destination: int, room: int = 0, source: int = GATEWAY) -> bytes:
    """IPv4 in IPv4, with bytes after it."""
    return ipv4(source, destination, 4, frame[14:] + bytes(room))


def flow_key(service: Kind, source: int, source_port: int) -> bytes:
    """The store's key of a flow."""
    ends = struct.pack("!IIHH", source, service.address, source_port, SERVICE_PORT)
    return bytes([service.index, service.protocol]) + ends


def alike(service: Kind, source: int, source_port: int, count: int) -> list[tuple[int, int]]:
    """Other sources whose flows hash to the same slots: checksums are linear, so they can be computed."""

    def effect(bits: int) -> int:
        a, b = Share().slots_of(flow_key(service, bits >> 16, bits & 0xFFFF))
        return a << 17 | b

    here = source << 16 | source_port
    basis: dict[int, tuple[int, int]] = {}
    found: list[tuple[int, int]] = []
    for bit in range(48):
        change, difference = 1 << bit, effect(here ^ 1 << bit) ^ effect(here)
        while difference:
            lead = difference.bit_length()
            if lead not in basis:
                basis[lead] = change, difference
                break
            change, difference = change ^ basis[lead][0], difference ^ basis[lead][1]
        else:
            found.append(((here ^ change) >> 16, (here ^ change) & 0xFFFF))
    assert len(found) >= count
    return found[:count]


def flows(service: Kind) -> list[tuple[int, int]]:
    """The clients of a service: three whose flows hash alike, and some more."""
    first = (CLIENT, 5000)
    return [first, *alike(service, *first, 2), (CLIENT, 5001), (CLIENT + 1, 80)]


def request(
    service: Kind, flow: tuple[int, int], shape: int, ttl: int = 64, room: int = 0, whole: bool = False
) -> bytes:
    """A packet to a service with `room` bytes more, not to be fragmented if `whole`; `shape` is TCP's flags, or for a
    service with request affinity, what it may be of WAYS << 16 | type << 8 | fragment."""
    source, port = flow
    if service.protocol == TCP:
        return ipv4(source, service.address, TCP, tcp(port, SERVICE_PORT, shape & 0xFF) + bytes(room), ttl, whole)
    payload = b"x" * (shape & 0xFF) + bytes(room)
    if service.affinity is Affinity.REQUEST:
        fields = dict.fromkeys(dict(INVOCATION_LAYOUT), 0) | {
            "magic": INVOCATION_MAGIC,
            "version": INVOCATION_VERSION,
            "type": shape >> 8 & 0xFF,
            "service_id": service.service_id,
            "client_id": source,
            "request_id": port,
            "fragment_index": shape & 0xFF,
            **WAYS[shape >> 16],
        }
        payload = INVOCATION.pack(fields) + bytes(room)
    return ipv4(source, service.address, UDP, udp(port, SERVICE_PORT, payload), ttl, whole)
