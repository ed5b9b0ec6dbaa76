"""How values are written for people: addresses as such, everything else in hexadecimal.

A program that says so in P4Info (`@format(IPV4_ADDRESS)`) is believed; else width and name decide, and what is not sure
stays hexadecimal.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from enum import Enum, auto

MAC_BITS, IPV4_BITS, IPV6_BITS = 48, 32, 128


class Format(Enum):
    """How a value is written."""

    HEX = auto()
    MAC = auto()
    IPV4 = auto()
    IPV6 = auto()


ANNOTATED = {
    "MAC_ADDRESS": (Format.MAC, MAC_BITS),
    "IPV4_ADDRESS": (Format.IPV4, IPV4_BITS),
    "IPV6_ADDRESS": (Format.IPV6, IPV6_BITS),
}
"""Arguments of `@format` that mean an address, and its width in bits."""

Formats = Mapping[tuple[str, str], Format]
"""What P4Info says: by the name of a table or action, and that of its key field or parameter."""

_WORD = re.compile(r"ipv[46]|[A-Z]+(?![a-z])|[A-Z]?[a-z]+\d*|\d+")
_VERSION = re.compile(r"ipv?([46])", re.IGNORECASE)
_SIDES = frozenset(["src", "dst", "source", "destination", "sender", "target", "s", "d"])
_JOINED = frozenset(["srcaddr", "dstaddr", "saddr", "daddr"])
_ADDRESSES = frozenset(["addr", "address"]) | _JOINED
_IP = frozenset(["ip", "ipv4", "ipv6", "srcip", "dstip", "sip", "dip", "spa", "tpa"])
_BESIDE = frozenset(
    ["next", "hop", "nhop", "nexthop", "gateway", "gw", "virtual", "local", "remote", "client", "server"]
)
_MAC = frozenset(["mac", "smac", "dmac", "srcmac", "dstmac", "hwaddr", "lladdr", "sha", "tha"])
_TIME = frozenset(["time", "timestamp", "tstamp", "ts"])


def format_of(width: int, name: str, owner: str = "") -> Format:
    """A guess from a name and that of the header or key it belongs to."""
    words = _words(name)
    if width == MAC_BITS:
        named = words & (_MAC | _SIDES | _ADDRESSES)
        return Format.MAC if named and not words & _TIME else Format.HEX
    if width not in (IPV4_BITS, IPV6_BITS) or not words <= _SIDES | _ADDRESSES | _IP | _BESIDE:
        return Format.HEX
    of_ip = words & _IP or _words(owner) & _IP
    of_one_side = (words & _ADDRESSES and words & _SIDES) or words & _JOINED
    if not of_one_side and not (of_ip and words & (_SIDES | _ADDRESSES | _IP)):
        return Format.HEX
    return Format.IPV4 if width == IPV4_BITS else Format.IPV6


def show(value: int, form: Format) -> str:
    """A value as text."""
    match form:
        case Format.MAC:
            return value.to_bytes(MAC_BITS // 8, "big").hex(":")
        case Format.IPV4:
            return str(ipaddress.IPv4Address(value))
        case Format.IPV6:
            return str(ipaddress.IPv6Address(value))
        case Format.HEX:
            return f"{value:#x}"


def _words(name: str) -> frozenset[str]:
    spelled = _VERSION.sub(r"_ipv\1_", name)
    return frozenset(word.lower() for word in _WORD.findall(spelled))
