"""The lanes of an address that is served: clients are spread over several sockets, so that a flood fills only its own.

All of them are bound to one address and port. The kernel chooses by the client's address, as with receive-side scaling,
and by a number of this process that no client knows. The lanes have their turns one after the other, and one that
brings too much for nothing is left unread for a while: the kernel drops what does not fit into it, at hardly any cost.
"""

from __future__ import annotations

import logging
import secrets
import socket

from greengrass_agent.gateway import classic_bpf, request_filter
from greengrass_agent.gateway.classic_bpf import NETWORK_HEADER, Purpose
from hitless.sockets import udp_socket
from hitless.wire.pacing import Pacer

log = logging.getLogger(__name__)

_LANE_BITS = 6
LANES = 1 << _LANE_BITS
"""A client shares its lane with a given other one in one case of so many."""
RECEIVE_BUFFER = 2 * 1024 * 1024
"""Bytes asked for to receive in: a thousand small datagrams, or the longest request of one client, that come while the
gateway does something else."""
BATCH = 32
"""Datagrams read from a lane before others have their turn."""
OWN_BURST, OWN_RATE = 64, 50.0
"""Datagrams, and datagrams a second, that a lane may bring for nothing: what a bad path repeats of good requests."""
COMMON_BURST, COMMON_RATE = 256, 2000.0
"""... that all lanes together may bring for nothing beyond that: a twentieth of a core."""
PAUSE_S = 0.01
_SOURCE_ADDRESS = 12
"""Offset in an IPv4 header."""


class Lane:
    """One of the sockets, and what it may cost without bringing anything to execute."""

    def __init__(self, sock: socket.socket, common: Pacer) -> None:
        """`common` is what all lanes have together beyond their own."""
        self.sock = sock
        self._own = Pacer(OWN_BURST, OWN_RATE)
        self._common = common
        self._owed = 0

    def pause(self, useless: int, now: float) -> float:
        """Seconds not to read after so many datagrams that brought nothing, and then to ask again; 0 to read on."""
        owed = self._owed + useless
        owed -= self._own.take(owed, now)
        self._owed = owed - self._common.take(owed, now)
        return PAUSE_S if self._owed else 0.0


def common_allowance() -> Pacer:
    """What all lanes of a server may bring for nothing together."""
    return Pacer(COMMON_BURST, COMMON_RATE)


def open_lanes(address: str, port: int, common: Pacer) -> list[Lane]:
    """Bind the lanes of an address. Port 0 takes a free one. Raises OSError, also when somebody else has it."""
    # Sockets that share their address would join those of another gateway; one that does not finds out.
    with udp_socket(address, port) as alone:
        port = alone.getsockname()[1]
    sockets: list[socket.socket] = []
    try:
        for _ in range(LANES):
            sockets.append(udp_socket(address, port, receive=RECEIVE_BUFFER, shared=True))
            sockets[-1].setblocking(False)
            _filter(sockets[-1])
        classic_bpf.attach(sockets[0], Purpose.CHOOSE, _by_source(secrets.randbits(32) | 1, secrets.randbits(32) | 1))
    except OSError:
        for sock in sockets:
            sock.close()
        raise
    return [Lane(sock, common) for sock in sockets]


def _filter(sock: socket.socket) -> None:
    try:
        request_filter.attach(sock)
    except OSError as error:
        log.info("no filter in the kernel for UDP: %s: what is no request is dropped here", error)


def _by_source(first: int, second: int) -> list[classic_bpf.Instruction]:
    """The lane: by the client's address, times two secret odd numbers with its halves mixed in between.

    After the first alone, neighbours' addresses would all meet in a few lanes for one secret in forty.
    """
    return [
        (classic_bpf.LOAD_32, 0, 0, NETWORK_HEADER + _SOURCE_ADDRESS),
        (classic_bpf.MULTIPLY, 0, 0, first),
        (classic_bpf.REMEMBER, 0, 0, 0),
        (classic_bpf.SHIFT_RIGHT, 0, 0, 16),
        (classic_bpf.XOR_REMEMBERED, 0, 0, 0),
        (classic_bpf.MULTIPLY, 0, 0, second),
        (classic_bpf.SHIFT_RIGHT, 0, 0, 32 - _LANE_BITS),
        (classic_bpf.RETURN_RESULT, 0, 0, 0),
    ]
