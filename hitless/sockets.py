"""UDP sockets for the invocation protocol."""

from __future__ import annotations

import contextlib
import socket

BUFFER = 4 * 1024 * 1024
"""Bytes asked for in each direction: some hundred messages of ten fragments that arrive together."""

# linux/in.h; Python's socket module does not name them.
_IP_MTU_DISCOVER = 10
_IP_PMTUDISC_DO = 2
# linux/socket.h: go past net.core.rmem_max, allowed to CAP_NET_ADMIN.
_SO_RCVBUFFORCE = 33
_SO_SNDBUFFORCE = 32


def udp_socket(
    address: str = "0.0.0.0", port: int = 0, *, receive: int = BUFFER, shared: bool = False
) -> socket.socket:
    """A bound IPv4 socket with large buffers that never lets IP fragment. Raises OSError when it cannot be bound.

    `receive`: bytes asked for to receive in; without CAP_NET_ADMIN the system's limit holds (net.core.rmem_max).
    `shared`: several sockets of this user that say so have the same address and port (SO_REUSEPORT).
    """
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _IP_PMTUDISC_DO)
        for plain, force, size in (
            (socket.SO_RCVBUF, _SO_RCVBUFFORCE, receive),
            (socket.SO_SNDBUF, _SO_SNDBUFFORCE, BUFFER),
        ):
            sock.setsockopt(socket.SOL_SOCKET, plain, size)
            with contextlib.suppress(PermissionError):
                sock.setsockopt(socket.SOL_SOCKET, force, size)
        sock.bind((address, port))
    except OSError:
        sock.close()
        raise
    return sock
