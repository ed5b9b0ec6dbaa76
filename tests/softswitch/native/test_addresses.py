"""Which values of a trace are taken for addresses, by width and name."""

from __future__ import annotations

import pytest
from softswitch.engine.addresses import Format, format_of, show


@pytest.mark.parametrize(
    ("form", "width", "names"),
    [
        (Format.MAC, 48, "dstAddr src mac dst_mac srcMAC eth_src ethernet_dst_addr sha hw_addr dmac"),
        (Format.HEX, 48, "ingress_global_timestamp src_timestamp seq key value"),
        (Format.IPV4, 32, "srcAddr dst_addr ip ipv4_dst dst_ip nhop_ipv4 dstIP IPv4Src saddr tpa"),
        (Format.HEX, 32, "src addr seq sum nexthop ip_id ipv4_checksum ip_hash enq_timestamp source_port"),
        (Format.IPV6, 128, "srcAddr dst_addr ipv6_dst dstIP"),
        (Format.HEX, 128, "digest src segment_id"),
        (Format.HEX, 16, "srcAddr ip"),
    ],
)
def test_what_a_name_says(form: Format, width: int, names: str) -> None:
    assert {name: format_of(width, name) for name in names.split()} == dict.fromkeys(names.split(), form)


def test_what_the_owner_says() -> None:
    """`hdr.ipv4.dst` is an address, the same name elsewhere need not be one, and not all that IP has are addresses."""
    assert [format_of(32, "dst", owner) for owner in ("ipv4", "hdr.inner_ipv4", "ip_t", "hdr.arp", "tcp")] == [
        *(Format.IPV4,) * 3,
        *(Format.HEX,) * 2,
    ]
    assert format_of(128, "src", "hdr.ipv6") is Format.IPV6
    assert format_of(32, "options", "ipv4") is Format.HEX


def test_how_addresses_are_written() -> None:
    assert show(0x02FC00000005, Format.MAC) == "02:fc:00:00:00:05"
    assert (show(0x0A000109, Format.IPV4), show(1, Format.IPV6), show(255, Format.HEX)) == ("10.0.1.9", "::1", "0xff")
