"""What a server wants of a TCP connection and asyncio has no word for."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct

_NO_LINGER = struct.pack("ii", 1, 0)
"""SO_LINGER: on, no time (socket(7))."""
_TCP_CLOSE = 7
"""State of a TCP socket that was reset (include/net/tcp_states.h), first byte of TCP_INFO."""


def reset(transport: asyncio.Transport) -> None:
    """End the connection at once, by a reset and not in order."""
    with contextlib.suppress(OSError):  # it was reset by the client
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    transport.abort()


def was_reset(transport: asyncio.Transport) -> bool:
    """Whether a client that has closed its half has closed the other one too."""
    sock = transport.get_extra_info("socket")
    return bool(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == _TCP_CLOSE)
