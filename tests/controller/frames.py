"""Frames as nodes send them."""

import struct
from ipaddress import IPv4Address

from controller.fabric.file import Fabric
from hitless.wire.report import Report


def udp_frame(
    source: IPv4Address,
    source_mac: str,
    target: IPv4Address,
    target_mac: str,
    port: int,
    data: bytes,
    source_port: int = 40000,
) -> bytes:
    """Ethernet, IPv4 and UDP around a payload; the UDP checksum is left out, as IPv4 allows."""
    udp = struct.pack("!HHHH", source_port, port, 8 + len(data), 0) + data
    header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0, source.packed, target.packed)
    total = sum(struct.unpack("!10H", header))
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    header = header[:10] + struct.pack("!H", ~total & 0xFFFF) + header[12:]
    macs = bytes.fromhex((target_mac + source_mac).replace(":", ""))
    return macs + b"\x08\x00" + header + udp


def report_frame(fabric: Fabric, node: str, report: Report) -> bytes:
    """A report as its node sends it."""
    host = fabric.hosts[node]
    return udp_frame(
        host.address,
        host.mac,
        fabric.reports.address,
        fabric.gateway.mac,
        fabric.reports.port,
        report.encode(),
    )
