"""Whose process is at the other end of a connection over loopback, by the kernel's word.

Loopback is shared by all that runs on a node. Source: sock_diag(7), and the kernel's linux/inet_diag.h.
"""

from __future__ import annotations

import os
import socket
import struct

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_NETLINK = struct.Struct("=IHHII")
"""nlmsghdr: length, type, flags, sequence, port."""
_ASKED = struct.Struct("=BBBxI")
"""inet_diag_req_v2 up to its socket: family, protocol, extensions, states."""
_PORTS = struct.Struct("!HH")
_NO_COOKIE = struct.pack("=III", 0, 0xFFFFFFFF, 0xFFFFFFFF)
"""Any interface, any socket of these addresses."""
_OWNER = struct.Struct("=I")
_OWNER_AT = _NETLINK.size + 4 + 48 + 12
"""Of idiag_uid in the answer: behind the header, four octets, the socket's identity and three counters."""

Address = tuple[str, int]


def owner_of(peer: Address, local: Address) -> int | None:
    """The user (uid) whose socket is at `peer` of an IPv4 connection with `local`, both on this machine.

    None when it is there no more. Raises OSError when the kernel does not tell.
    """
    sockets = _PORTS.pack(peer[1], local[1]) + _octets(peer[0]) + _octets(local[0]) + _NO_COOKIE
    asked = _ASKED.pack(socket.AF_INET, socket.IPPROTO_TCP, 0, 0xFFFFFFFF) + sockets
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as kernel:
        # One socket, not a list of all: that would take longer the more there are.
        kernel.send(_NETLINK.pack(_NETLINK.size + len(asked), _SOCK_DIAG_BY_FAMILY, 1, 1, 0) + asked)
        answer = kernel.recv(8192)
    if _NETLINK.unpack_from(answer)[1] != _SOCK_DIAG_BY_FAMILY:
        number = -struct.unpack_from("=i", answer, _NETLINK.size)[0]
        if number == 2:  # ENOENT
            return None
        raise OSError(number, os.strerror(number))
    owner: int = _OWNER.unpack_from(answer, _OWNER_AT)[0]
    return owner


def _octets(address: str) -> bytes:
    return socket.inet_aton(address) + bytes(12)
